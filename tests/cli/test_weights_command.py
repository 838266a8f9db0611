"""`mytalk info` and `mytalk weights`: presets, sizes, checking, publishing and fetching whole models."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hub_server import COMMITS, TOKEN

from mytalk_core.appearance.networks.generator import AppearanceConfig, AppearanceGenerator
from mytalk_core.checkpoint.pretrained import BUNDLED
from mytalk_core.cli.main import main
from mytalk_core.expert.sync_expert import ExpertConfig, SyncExpert
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.models import preset, sizes
from mytalk_core.models.parts import DataSource, model_card, read_sources
from mytalk_core.models.preset import Preset
from mytalk_core.motion.denoiser import MotionConfig, MotionDenoiser
from mytalk_core.motion.identity import IdentityConfig, IdentityExtractor
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig

TABLE_9 = {
    "audio encoder": 24_599_040,
    "audio downsample": 786_944,
    "identity extractor": 4_310_272,
    "conformer backbone": 188_051_766,
    "lip appearance encoder": 237_999_878,
    "non-lip appearance encoder": 237_999_878,
    "landmark encoder": 237_999_878,
    "fusion net": 4_794_630,
    "appearance quant. conv.": 42,
    "landmark quant. conv.": 42,
    "appearance-landmark quant. conv.": 21,
    "post-quant. conv.": 12,
    "decoder": 280_452_611,
    "discriminator": 17_481_793,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A whole small model whose speech encoder is another's."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("small") / "model"
    small = {"audio_width": 8, "audio_layers": 1, "audio_heads": 2, "audio_ffn_width": 8, "audio_kernel": 3}
    backbone = {"width": 8, "layers": 1, "heads": 2, "ffn_width": 8, "kernel": 3, "time_width": 8}
    config = MotionConfig(
        lower=4,
        upper=3,
        landmark_layout="mesh478",
        speech_encoder="mini",
        speech_width=384,
        speech_layers=(2,),
        identity_width=6,
        condition_mlp=0,
        **small,
        **backbone,
    )
    MotionDenoiser(config).save_pretrained(folder / "motion")
    LandmarkSpace(SpaceConfig(lower=4, upper=3)).save_pretrained(folder / "space")
    identity = IdentityConfig(956, "mesh478", width=8, hidden_layers=1, embedding=6)
    IdentityExtractor(identity).save_pretrained(folder / "identity")
    (folder / "checkpoint.pt").write_bytes(b"a pickle")
    return folder


@pytest.fixture
def copy(model, tmp_path):
    """The same model, to be spoilt."""
    for path in model.rglob("*.*"):
        if path.is_file():
            target = tmp_path / "copy" / path.relative_to(model)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path / "copy"


def test_paper_preset_is_table_9_and_10(capsys):
    assert main(["info", "--model", "paper", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {part["name"]: part["parameters"] for part in told["components"]} == TABLE_9
    assert all(part["agrees"] for part in told["components"])
    assert told["total"]["parameters"] == sum(TABLE_9.values()) == 1_234_476_807
    assert told["total"]["agrees"]
    assert told["total"]["published"] == "1.23B"
    assert told["configs"]["motion"]["landmark_layout"] == "dense669"
    # The estimates of an operation count by hand: 13.6 T a frame, 4.10 T an encoder.
    assert told["flops"]["frame: references cached"] == pytest.approx(13.6e12, rel=0.01)
    assert told["flops"]["references: once"] == pytest.approx(3 * 4.10e12, rel=0.01)
    assert told["flops"]["window: a sampling step"] == pytest.approx(90e9, rel=0.1)


def test_paper_preset_is_the_defaults_and_its_layout():
    paper = Preset.load("paper")
    assert paper.motion == MotionConfig()
    assert paper.identity == IdentityConfig()
    assert paper.appearance == AppearanceConfig()
    layout = LandmarkLayout.load("dense669")
    lower, upper = 2 * len(layout.lower), 2 * len(layout.upper)
    assert (paper.motion.lower, paper.motion.upper) == (lower, upper)
    assert (paper.space.lower, paper.space.upper) == (lower, upper)
    assert lower + upper == 822
    assert paper.identity.channels == 2 * layout.points


def test_presets_load_and_a_wrong_name_names_them():
    assert preset.preset_names() == ("mini", "paper")
    for name in preset.preset_names():
        loaded = Preset.load(name)
        assert loaded.name == name
        assert loaded.motion.identity_width == loaded.identity.embedding
        assert loaded.motion.landmark_layout == loaded.space.layout == loaded.identity.landmark_layout
    with pytest.raises(FileNotFoundError, match="one of mini, paper; got 'huge'"):
        Preset.load("huge")


@pytest.mark.skipif(not (BUNDLED / "mini" / "motion").is_dir(), reason="no bundled motion weights yet")
def test_mini_preset_is_the_bundled_model():
    bundled, loaded = Preset.of_model("mini"), Preset.load("mini")
    for part in ("motion", "space", "identity", "sync"):
        assert getattr(bundled, part) == getattr(loaded, part)


def test_info_of_a_folder(model, capsys):
    assert main(["info", "--model", str(model), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    counts = {part["name"]: part["parameters"] for part in told["components"]}
    saved = MotionDenoiser.from_pretrained(model, "motion")
    assert counts["conformer backbone"] == sum(p.numel() for p in saved.backbone.parameters())
    assert {part["agrees"] for part in told["components"]} == {None}
    assert main(["info", "--model", str(model)]) == 0
    assert "conformer backbone" in capsys.readouterr().out
    assert main(["info", "--model", str(model / "nothing")]) == 1


def test_sizes_are_printed_as_the_tables_do():
    printed = {42: "42", 786_944: "786K", 4_310_272: "4.3M", 237_999_878: "237M", 1_234_476_807: "1.23B"}
    assert {number: sizes.summarise(number) for number in printed} == printed


def test_optional_parts_are_seen(copy, capsys):
    small = {"size": 32, "width": 4, "multipliers": (1, 2), "blocks": 1, "groups": 2, "fusion_width": 4}
    AppearanceGenerator(AppearanceConfig(**small)).save_pretrained(copy / "appearance")
    SyncExpert(ExpertConfig(motion=4, width=8, embedding=4)).save_pretrained(copy / "sync")
    assert main(["weights", "verify", str(copy)]) == 0
    assert capsys.readouterr().out.count("ok") == 5
    assert main(["info", "--model", str(copy), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "decoder" in {part["name"] for part in told["components"]}
    assert told["flops"]["frame: references cached"] > 0
    assert AppearanceGenerator.from_pretrained(copy, "appearance").config.size == 32


def test_verify_tells_what_is_wrong(model, copy, capsys):
    assert main(["weights", "verify", str(model)]) == 0
    assert capsys.readouterr().out.count("ok") == 3
    weights = copy / "motion" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    (copy / "space" / "model.safetensors").unlink()
    assert main(["weights", "verify", str(copy)]) == 1
    told = capsys.readouterr()
    assert told.out.count("FAILED") == 2
    assert "sha256" in told.err
    assert "model.safetensors is missing" in told.err


def test_verify_sees_wrong_shapes_and_missing_parts(copy, capsys):
    path = copy / "identity" / "config.json"
    description = json.loads(path.read_text())
    description["config"]["width"] = 9
    path.write_text(json.dumps(description))
    assert main(["weights", "verify", str(copy)]) == 1
    assert "the config asks for (9,)" in capsys.readouterr().err
    for file in (copy / "identity").iterdir():
        file.unlink()
    assert main(["weights", "verify", str(copy)]) == 1
    assert "lacks identity, which a model needs" in capsys.readouterr().err


def push(folder, *more: str) -> int:
    return main(["weights", "push", str(folder), "someone/lips", "--licence", "cc-by-nc-4.0", *more])


def test_push_then_download(server, copy, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    more = ["--data-source", "HDTF=CC BY 4.0", "--private", "--message", "First weights"]
    assert push(copy, *more) == 0
    assert f"{server.url}/someone/lips/commit/{COMMITS['main']}" in capsys.readouterr().out
    assert server.created == {"someone/lips": "private"}
    assert server.messages == ["First weights"]
    sent = {path for _, _, path in server.files}
    parts = {f"{part}/{f}" for part in ("motion", "space", "identity") for f in FILES}
    assert sent == parts | {"README.md"}
    card = server.files[("someone/lips", "main", "README.md")].decode()
    assert card.startswith("---\nlicense: cc-by-nc-4.0\n")
    assert "| HDTF | CC BY 4.0 |" in card
    # What was sent comes back whole, checked, into a folder and into the cache.
    assert main(["weights", "download", "someone/lips", "-o", str(tmp_path / "fetched")]) == 0
    for path in sent:
        content = server.files[("someone/lips", "main", path)]
        assert (tmp_path / "fetched" / path).read_bytes() == content
    assert main(["weights", "download", "someone/lips"]) == 0
    capsys.readouterr()
    assert main(["weights", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["hub:someone/lips"]["parts"] == ["motion", "space", "identity"]
    assert "mini" in rows
    # A second push overwrites its own card; one written by hand is left alone.
    assert push(copy, *more) == 0
    (copy / "README.md").write_text("# Mine")
    assert push(copy, *more) == 1
    assert "written by hand" in capsys.readouterr().err


FILES = ("config.json", "model.safetensors")


def test_downloaded_model_is_used_without_a_connection(server, model, capsys):
    for part in ("motion", "space", "identity"):
        server.publish("someone/lips", model / part, subfolder=f"{part}/")
    server.files[("someone/lips", "main", "motion/old.bin")] = b"a pickle"
    assert main(["weights", "download", "someone/lips"]) == 0
    assert not [path for method, path, _ in server.log if method == "GET" and path.endswith(".bin")]
    server.failing = True
    loaded = MotionDenoiser.from_pretrained("hub:someone/lips", "motion")
    saved = MotionDenoiser.from_pretrained(model, "motion")
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), saved.parameters(), strict=True))


def test_download_of_nothing(server, model, capsys):
    assert main(["weights", "download", "someone/lips"]) == 1
    assert "no repository someone/lips" in capsys.readouterr().err
    server.publish("someone/lips", model / "motion", subfolder="motion/")
    assert main(["weights", "download", "someone/lips", "--revision", "v7"]) == 1
    assert "no such revision" in capsys.readouterr().err
    assert main(["weights", "download", "someone/lips"]) == 1
    assert "lacks space, identity" in capsys.readouterr().err


def test_push_without_a_token(server, copy, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    assert push(copy, "--data-source", "HDTF=CC BY 4.0") == 1
    assert "HF_TOKEN" in capsys.readouterr().err
    assert server.files == {}


def test_push_that_is_refused(server, copy, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    server.publish("someone/lips", copy / "motion", subfolder="motion/")
    server.status = 403
    assert push(copy, "--data-source", "HDTF=CC BY 4.0") == 1
    assert "refused it (403): set HF_TOKEN" in capsys.readouterr().err
    assert main(["weights", "push", str(copy), "lips", "--licence", "mit", "--data-source", "HDTF=MIT"]) == 1
    assert "form OWNER/NAME" in capsys.readouterr().err
    assert not (copy / "README.md").exists()


def test_push_into_a_repository_with_files_of_its_own(server, copy, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    card = ("someone/lips", "main", "README.md")
    theirs = {("someone/lips", "main", "notes.txt"): b"mine", card: b"---\nlicense: mit\n---\n# By hand\n"}
    server.files |= theirs
    (copy / "track.safetensors").write_bytes(b"somebody's face")
    arguments = ["someone/lips", "--licence", "mit", "--data-source", "HDTF=MIT"]
    assert main(["weights", "push", str(copy), *arguments]) == 1
    assert "README.md of someone/lips was written by hand" in capsys.readouterr().err
    assert server.files == theirs
    assert not (copy / "README.md").exists()
    # The Hub's own page makes repositories with nothing but a licence in the card.
    server.files[card] = b"---\nlicense: mit\n---\n"
    assert main(["weights", "push", str(copy), "hub:someone/lips", *arguments[1:]]) == 0
    assert b"--model hub:someone/lips\n" in server.files[card]
    sent = {path for _, _, path in server.files}
    assert sent == {f"{part}/{f}" for part in ("motion", "space", "identity") for f in FILES} | {
        "README.md",
        "notes.txt",
    }


def test_the_card_of_a_branch_names_it(server, copy, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert push(copy, "--data-source", "HDTF=CC BY 4.0", "--revision", "v2") == 0
    assert b"hub:someone/lips --revision v2\n" in server.files[("someone/lips", "v2", "README.md")]


def test_nothing_damaged_or_without_sources_is_pushed(server, copy, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert push(copy) == 1
    assert "every source of their training data" in capsys.readouterr().err
    assert push(copy, "--data-source", "HDTF") == 1
    assert "must be NAME=LICENCE; got 'HDTF'" in capsys.readouterr().err
    (copy / "motion" / "model.safetensors").write_bytes(b"")
    assert push(copy, "--data-source", "HDTF=CC BY 4.0") == 1
    assert server.created == {}


def test_a_speech_encoder_that_nobody_else_has_is_not_pushed(server, copy, monkeypatch, capsys):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    path = copy / "motion" / "config.json"
    path.write_text(path.read_text().replace('"mini"', '"/home/me/encoder"'))
    assert push(copy, "--data-source", "HDTF=CC BY 4.0") == 1
    assert "only this machine has" in capsys.readouterr().err
    assert server.created == {}


def test_dry_run_only_shows_the_card(server, copy, capsys):
    before = sorted(copy.rglob("*"))
    assert push(copy, "--data-source", "HDTF=CC BY 4.0", "--dry-run") == 0
    assert "# someone/lips" in capsys.readouterr().out
    assert sorted(copy.rglob("*")) == before
    assert server.log == []


def test_sources_come_from_the_manifest(tmp_path):
    rows = [
        {"split": "train", "source": "a/b:one.mp4", "licence": "MIT", "seconds": 1800},
        {"split": "train", "source": "a/b:two.mp4", "licence": "MIT", "seconds": 1800},
        {"split": "train", "source": "c/d:x.mp4", "licence": "none found", "seconds": 36},
        {"split": "train", "source": "https://a.org/b:1.mp4", "licence": "MIT", "seconds": 36},
        {"split": "val", "source": "e/f:y.mp4", "licence": "MIT", "seconds": 36},
    ]
    path = tmp_path / "manifest.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    sources = read_sources(path, ("train",))
    assert sources == [
        DataSource("a/b", "MIT", 2, 1.0),
        DataSource("c/d", "none found", 1, 0.01),
        DataSource("https://a.org/b", "MIT", 1, 0.01),
    ]
    card = model_card("someone/lips", [], "cc-by-nc-4.0", sources, notes="## Figures\n\nr = 0.8")
    assert "**Research weights**" in card
    assert "- research\n" in card
    assert "| a/b | MIT | 2 | 1.0 |" in card
    assert "r = 0.8" in card
    assert "e/f" not in card
    assert "Research" not in model_card("someone/lips", [], "mit", sources[:1])
    with pytest.raises(ValueError, match="no row of split test"):
        read_sources(path, ("test",))


def test_meta_models_take_no_memory():
    """The configs' sizes never show: the same call with a thousandfold width would otherwise fail."""
    paper = Preset.load("paper")
    huge = dataclasses.replace(paper.identity, width=1_000_000)
    counted = sizes.measure(dataclasses.replace(paper, identity=huge, appearance=None, discriminator=None))
    assert counted.total.parameters > 4e12
