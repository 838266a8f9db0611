"""The pack on a real ComfyUI's page, both ways of drawing nodes, without an error in the console: needs
COMFYUI_DIR as the server tests do, the package playwright, and Chromium (CHROMIUM names it). COMFYUI_PICTURES
names a folder that keeps what was seen."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from comfy_server import ComfyServer, probe, write_clip
from pack_loader import ROOT

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome") or ""
DRAWN_SPEECH = (
    "document.querySelector('svg[preserveAspectRatio=none] path')?.getAttribute('d')?.length > 1000"
)
WORKFLOWS = sorted(path.stem for path in (ROOT / "workflows").glob("*.json"))

if not os.environ.get("COMFYUI_DIR"):
    pytest.skip("COMFYUI_DIR names no ComfyUI", allow_module_level=True)
if not CHROMIUM:
    pytest.skip("there is no Chromium: install it, or name it by CHROMIUM", allow_module_level=True)
comfy_page = pytest.importorskip("comfy_page", reason="the package playwright is missing")


@pytest.fixture(scope="module")
def comfy(tmp_path_factory):
    base = tmp_path_factory.mktemp("comfy") / "base"
    server = ComfyServer.start(Path(os.environ["COMFYUI_DIR"]), base)
    # A creator's first time: no sample lies there before a template is opened.
    for path in (ROOT / "examples").iterdir():
        (base / "input" / path.name).unlink(missing_ok=True)
    write_clip(base / "input" / "short.mp4")
    yield server
    server.stop()


@pytest.fixture(scope="module", params=["canvas", "nodes_2"])
def page(comfy, request):
    # A core of 0.8 tells a page nothing of what ran before it was opened; newer ones do (`test_servers.py`).
    comfy.call("/free", {"unload_models": True, "free_memory": True})
    with comfy_page.browser_page(comfy, CHROMIUM, request.param == "nodes_2") as page:
        yield page


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return Path(os.environ.get("COMFYUI_PICTURES") or tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def seen(page, folder, request):
    """Keep a picture when the test ends; the console must have been clean."""
    page.errors.clear()
    yield
    page.picture(folder, request.node.name)
    assert page.errors == []


def is_chinese(text: str) -> bool:
    return any("\u4e00" <= letter <= "\u9fff" for letter in text)


@pytest.mark.usefixtures("seen")
class TestLipSyncAVideo:
    """The first template, from opening it to a click on a face."""

    def test_it_opens_with_its_samples_and_its_speech_can_be_heard_and_seen(self, page, comfy):
        page.open("Lip sync a video")
        assert {"ai_woman.mp4", "speech_en.wav"} <= {path.name for path in (comfy.base / "input").iterdir()}
        page.wait("document.querySelector('audio')?.duration > 4.8")
        page.wait(DRAWN_SPEECH)
        assert page.overlaps() == []

    def test_a_file_too_large_to_draw_plays(self, page, comfy):
        samples = (comfy.base / "input" / "speech_en.wav").read_bytes()
        (comfy.base / "input" / "large.wav").write_bytes(samples)
        with (comfy.base / "input" / "large.wav").open("r+b") as file:
            file.truncate(2**28 + 1)
        page.set("MyTalkLoadSpeech", audio="large.wav")
        page.wait("document.querySelector('audio').duration > 4.8")
        page.page.evaluate("document.querySelector('audio').play()")
        page.wait("document.querySelector('audio').currentTime > 0.5", limit_s=20)
        assert not page.page.locator("svg[preserveAspectRatio=none]").first.is_visible()
        page.set("MyTalkLoadSpeech", audio="speech_en.wav")
        page.wait(DRAWN_SPEECH)

    def test_handles_trim_the_speech(self, page):
        wave = page.page.locator("svg[preserveAspectRatio=none]").first
        page.drag(wave, 0.01, 0.2)
        page.drag(wave, 0.98, 0.7)
        start_s, duration_s = (
            page.get("MyTalkLoadSpeech", "start_s"),
            page.get("MyTalkLoadSpeech", "duration_s"),
        )
        assert start_s == pytest.approx(0.2 * 4.87, abs=0.1)
        assert duration_s == pytest.approx(0.5 * 4.87, abs=0.15)

    def test_a_run_says_on_its_nodes_what_one_should_know(self, page, comfy):
        page.set("LoadVideo", file="short.mp4")
        page.set("MyTalkMotionDiffusionSampler", sync_mode="silence")
        page.run()
        said = " ".join(page.page.locator("pre").all_inner_texts())
        assert "s) is longer than the video (1.20 s)" in said
        *_, file = sorted((comfy.base / "output" / "MyTalk").glob("lip_sync*.mp4"))
        assert probe(file).frames == 30

    def test_of_a_list_each_item_s_lines_are_shown_once(self, page):
        page.page.evaluate(
            f"() => {{ {comfy_page.NODE} "
            "node('MyTalkVideoCombine').onExecuted({ text: ['', 'of two', 'of three', 'of two'] }); }"
        )
        assert page.page.locator("pre").get_by_text("of three").inner_text() == "of two\nof three"

    def test_a_click_on_a_face_chooses_it(self, page):
        assert page.get("MyTalkExtractLandmarks", "face") == "largest"
        page.page.locator("button[data-number]").first.click()
        assert page.get("MyTalkExtractLandmarks", "face") == "place"
        assert page.get("MyTalkExtractLandmarks", "place_x") > 50

    def test_help_is_a_button_away(self, page):
        page.page.evaluate(
            f"() => {{ {comfy_page.NODE} app.canvas.deselectAll(); "
            "app.canvas.selectNode(node('MyTalkExtractLandmarks')); }"
        )
        page.page.get_by_test_id("info-button").click()
        page.page.get_by_text("frames_without_face", exact=False).first.wait_for(timeout=20_000)


@pytest.mark.usefixtures("seen")
class TestBlueprint:
    def test_a_search_for_lip_sync_lists_it_first_among_local_nodes(self, page):
        page.open("Lip sync a video")
        page.page.evaluate("app.graph.clear()")
        entries = page.search("lip sync").all_inner_texts()
        assert entries[0].split("\n")[0].strip() == "Lip Sync" and "Lip Sync Folder" in entries[1]

    def test_dropped_from_the_list_it_makes_a_video(self, page, comfy):
        page.page.get_by_role("option").filter(has_text="Lip Sync").first.click()
        page.wait("app.graph.nodes.length === 1")
        page.page.mouse.click(800, 900)
        page.page.evaluate(
            """() => { const made = app.graph.nodes[0], [x, y] = made.pos, add = (type, left, top) => {
              const node = LiteGraph.createNode(type);
              app.graph.add(node); node.pos = [x + left, y + top]; return node; };
              const video = add("LoadVideo", -420, -300), speech = add("MyTalkLoadSpeech", -420, 150);
              const save = add("SaveVideo", 420, 0);
              const slot = (name) => made.inputs.findIndex((input) => input.name === name);
              video.connect(0, made, slot("video")); speech.connect(0, made, slot("speech"));
              made.connect(0, save, 0); }"""
        )
        page.set("LoadVideo", file="short.mp4")
        page.set("MyTalkLoadSpeech", audio="speech_en.wav", duration_s=1.0)
        page.fit()
        page.run()
        *_, file = sorted((comfy.base / "output" / "video").glob("*.mp4"))
        assert probe(file).frames == 30 and probe(file).sound_s > 0.9


@pytest.mark.parametrize("name", WORKFLOWS)
@pytest.mark.usefixtures("seen")
def test_a_template_s_nodes_do_not_lie_over_each_other(page, comfy, name):
    graph = comfy.call(f"/api/workflow_templates/ComfyUI-MyTalk/{quote(name)}.json")
    page.page.evaluate("(graph) => app.loadGraphData(graph)", graph)
    page.page.wait_for_timeout(2000)
    page.fit()
    assert page.overlaps() == []


@pytest.mark.usefixtures("seen")
def test_all_is_there_in_chinese(page):
    page.open("Lip sync a video", locale="zh")
    named = page.page.evaluate(
        "app.graph.nodes.filter((node) => node.type.startsWith('MyTalk')).flatMap((node) => [node.title, "
        "...[...node.inputs, ...node.outputs].map((slot) => slot.localized_name ?? slot.label)])"
    )
    assert len(named) > 40 and all(is_chinese(name) for name in named), named
    assert page.page.get_by_text("选择文件上传").count() or not page.nodes_2
