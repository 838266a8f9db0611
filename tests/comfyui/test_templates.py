"""A template that is opened brings its samples along."""

from __future__ import annotations

import asyncio
import json
import re
from types import SimpleNamespace

import pytest
from pack_loader import ROOT


def test_samples_are_laid_where_the_workflow_looks_for_them(part, folders):
    templates = part("nodes.templates")
    (folders / "input" / "speech_en.wav").write_bytes(b"my own")
    workflow = ROOT / "workflows" / "Lip sync a video.json"
    asyncio.run(templates.sender(workflow.with_suffix(".jpg"))(None))
    assert not (folders / "input" / "ai_woman.mp4").exists()
    asyncio.run(templates.sender(workflow)(None))
    laid = folders / "input" / "ai_woman.mp4"
    assert laid.read_bytes() == (ROOT / "examples" / "ai_woman.mp4").read_bytes()
    assert (folders / "input" / "speech_en.wav").read_bytes() == b"my own"
    assert sorted(path.name for path in laid.parent.iterdir()) == ["ai_woman.mp4", "speech_en.wav"]


def test_a_workflow_opens_where_no_sample_can_be_laid(part, folders, caplog):
    (folders / "input").rmdir()
    (folders / "input").write_bytes(b"no folder")
    workflow = ROOT / "workflows" / "Lip sync a video.json"
    assert asyncio.run(part("nodes.templates").sender(workflow)(None)).samefile(workflow)
    assert "the samples of Lip sync a video are not laid: " in caplog.text


def test_each_has_an_address_that_the_page_takes(part, monkeypatch):
    """?template=NAME of the page takes letters, digits, dots, dashes and underlines."""
    templates, served = part("nodes.templates"), {}
    routes = SimpleNamespace(get=lambda address: lambda send: served.setdefault(address, send))
    monkeypatch.setattr(templates, "PromptServer", SimpleNamespace(instance=SimpleNamespace(routes=routes)))
    templates.serve_workflows()
    begin = f"/workflow_templates/{templates.PACK.name}/"
    names = [address.removeprefix(begin).removesuffix(".json") for address in served if ".json" in address]
    plain = [name for name in names if re.fullmatch(r"[a-zA-Z0-9_.-]+", name)]
    assert len(plain) == len(list((ROOT / "workflows").glob("*.json"))) == len(names) / 2
    named = re.search(r"\?template=([^&]+)&source=ComfyUI-MyTalk", (ROOT / "README.md").read_text())
    assert named.group(1) in plain


@pytest.mark.parametrize(
    "node, language, page",
    [
        ("MyTalkLoadSpeech", "zh", "MyTalkLoadSpeech/zh.md"),
        ("MyTalkLoadSpeech", "en", "MyTalkLoadSpeech.md"),
        ("MyTalkLoadSpeech", "fr", "MyTalkLoadSpeech.md"),
        ("MyTalkLoadSpeech", "../../../pyproject", "MyTalkLoadSpeech.md"),
        ("KSampler", "en", None),
    ],
)
def test_help_is_there_in_every_language_of_the_page(part, node, language, page):
    """An address that is not there would be an error in the page's console."""
    send, request = (
        part("nodes.help_pages").send,
        SimpleNamespace(match_info={"node": node, "language": language}),
    )
    if page is None:
        with pytest.raises(LookupError):
            asyncio.run(send(request))
    else:
        assert asyncio.run(send(request)).samefile(ROOT / "web" / "docs" / page)


def test_a_folder_of_samples_is_laid_for_the_workflow_that_takes_one(part, folders):
    workflow = ROOT / "workflows" / "Lip sync a folder of videos.json"
    asyncio.run(part("nodes.templates").sender(workflow)(None))
    assert sorted(path.relative_to(folders / "input").as_posix() for path in folders.rglob("*.*")) == [
        "MyTalk samples/ai_woman.mp4",
        "MyTalk samples/cartoon_boy.mp4",
        "speech_en.wav",
    ]
    settings = json.loads((workflow.parent / "api" / workflow.name).read_text())["2"]["inputs"]
    assert part("nodes.folder").LipSyncFolder.validate_inputs(
        **{name: settings[name] for name in ("videos", "speeches", "output_folder", "format", "crf")}
    )


def test_the_page_knows_the_samples_names():
    """It lists the folder anew where a graph names one that it has not seen yet."""
    page = (ROOT / "web" / "samples.js").read_text(encoding="utf-8")
    named = re.findall(r'"([^"]+)"', re.search(r"const SAMPLES = \[(.*?)\]", page).group(1))
    assert sorted(named) == sorted(
        path.name for path in (ROOT / "examples").iterdir() if path.suffix != ".md"
    )


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").glob("*.json")), ids=lambda path: path.stem)
def test_the_row_of_advanced_inputs_has_room_under_the_model(path):
    """The newer page draws a row more than the older one's height, which the file has."""
    row, title = 32, 30
    nodes = json.loads(path.read_text(encoding="utf-8"))["nodes"]
    for model in (node for node in nodes if node["type"] == "MyTalkLoadModel"):
        (x, y), (width, height) = model["pos"], model["size"]
        below = [n["pos"][1] - title for n in nodes if x <= n["pos"][0] < x + width and n["pos"][1] > y]
        assert min(below) >= y + height + row


def test_the_entry_for_the_official_index_is_true():
    [category] = json.loads((ROOT / "docs" / "template_index.json").read_text(encoding="utf-8"))
    [entry] = category["templates"]
    assert re.fullmatch(r"[a-zA-Z0-9._-]+", entry["name"]) and entry["requiresCustomNodes"] == ["mytalk"]
    nodes = json.loads((ROOT / "workflows" / "api" / "Lip sync a video.json").read_text(encoding="utf-8"))
    for end in (*entry["io"]["inputs"], *entry["io"]["outputs"]):
        assert nodes[str(end["nodeId"])]["class_type"] == end["nodeType"]
    assert all((ROOT / "examples" / end["file"]).is_file() for end in entry["io"]["inputs"])
    weights = sum(path.stat().st_size for path in (ROOT / "mytalk_core/weights").rglob("*") if path.is_file())
    assert entry["size"] == pytest.approx(weights, rel=0.1)
