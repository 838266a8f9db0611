"""A folder of videos by one node: files named after them, a report each, and what fails stops nothing."""

from __future__ import annotations

import json
import shutil
import sys
import wave
from pathlib import Path

import pytest
from repository import EXAMPLES

from mytalk_core.media.remux import copy_untagged

SETTINGS = {"face": "largest", "sync_mode": "silence", "expression": 1.0, "manner": "own", "seed": 0}
SETTINGS |= {"renderer": "warp", "format": "h264 (.mp4)", "crf": 18, "resume": False}
FOLDERS = {"videos": "people", "speeches": "said.wav", "output_folder": "made/here"}


@pytest.fixture
def people(folders) -> Path:
    """A folder with a video that is cut off and a talking clip of four frames behind it, and a speech."""
    folder = folders / "input" / "people"
    folder.mkdir()
    copy_untagged(EXAMPLES / "ai_woman.mp4", folder / "anna.mp4", 0.12)
    whole = (folder / "anna.mp4").read_bytes()
    (folder / "abel.mp4").write_bytes(whole[: len(whole) // 2])
    with wave.open(str(EXAMPLES / "speech_en.wav")) as source:
        said, settings = source.readframes(source.getframerate() // 5), source.getparams()
    with wave.open(str(folders / "input" / "said.wav"), "wb") as target:
        target.setparams(settings)
        target.writeframes(said)
    return folder


@pytest.fixture
def run(part):
    """The node with some settings changed; what it gives."""
    node, model = part("nodes.folder").LipSyncFolder, part("nodes.memory").bundled_model()
    return lambda **changed: node.execute(model=model, **(FOLDERS | SETTINGS | changed))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_video_is_made_once_and_one_that_fails_stops_no_other(people, run, folders):
    bar = sys.modules["comfy.utils"].shown
    bar.clear()
    videos, paths, text = run().args
    steps = [value for _, value, _ in bar]
    assert steps == sorted(steps) and steps[-1] == 200 and {140, 150} <= set(steps)
    made = folders / "output" / "made" / "here"
    assert names(made) == ["abel.mp4.json", "anna.mp4", "anna.mp4.json"]
    assert [Path(path).name for path in paths] == ["anna.mp4"] and len(videos) == 1
    lines = text.splitlines()
    assert lines[0] == "1 made, 0 were there, 1 failed"
    assert any(line.startswith("abel.mp4: failed: a complete video was required") for line in lines)
    assert "anna.mp4 -> anna.mp4: 4 frames, 4 edited" in lines
    assert json.loads((made / "anna.mp4.json").read_text())["frames"] == 4
    assert "a complete video" in json.loads((made / "abel.mp4.json").read_text())["error"]

    before = {path: path.read_bytes() for path in made.glob("*.mp4")}
    shown = run().ui
    assert shown["text"][0].startswith("0 made, 1 were there, 1 failed")
    assert [entry["filename"] for entry in shown["images"]] == ["anna.mp4"]
    assert {entry["subfolder"] for entry in shown["images"]} == {"made/here"}
    # Other settings are other results, beside the first.
    (people / "abel.mp4").unlink()
    _, paths, text = run(crf=40).args
    assert [Path(path).name for path in paths] == ["anna_2.mp4"]
    assert text.splitlines()[0] == "1 made, 0 were there, 0 failed"
    assert {path: path.read_bytes() for path in before} == before


def test_every_face_takes_on_the_emotion(people, run, folders):
    (people / "abel.mp4").unlink()
    shutil.copy(EXAMPLES / "cartoon_boy.mp4", folders / "input" / "mood.mp4")
    plain, other = (Path(run(**changed).args[1][0]) for changed in ({}, {"emotion": "mood.mp4"}))
    assert [plain.name, other.name] == ["anna.mp4", "anna_2.mp4"] and plain.read_bytes() != other.read_bytes()
    job = json.loads(other.with_name("anna_2.mp4.json").read_text())["job"]
    assert Path(job["emotion"][0]).name == "mood.mp4"
    # The same settings, given or not, are the same job.
    _, _, text = run(emotion=" ", emotion_strength=1.0, steps=10, guidance=1.0, temperature=0.3).args
    assert text.splitlines()[0] == "0 made, 1 were there, 0 failed"


def test_where_all_fail_the_node_does(people, run):
    (people / "anna.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="all 2 failed; abel.mp4: ") as caught:
        run()
    assert type(caught.value) is ValueError


@pytest.mark.parametrize("pictures", [0, 2])
def test_cancel_ends_all_and_leaves_no_file(people, run, folders, monkeypatch, pictures):
    management = sys.modules["comfy.model_management"]
    monkeypatch.setattr(management, "cancel_after", pictures)
    with pytest.raises(management.InterruptProcessingException):
        run()
    assert names(folders / "output" / "made" / "here") == ["abel.mp4.json"], "which failed before"


def test_a_run_that_was_cancelled_goes_on_after_its_last_piece(people, run, folders, part, monkeypatch):
    (people / "abel.mp4").unlink()
    management = sys.modules["comfy.model_management"]
    rendered = part("mytalk_core.pipeline.rendered").RenderedClip

    def cancelled(*given: object) -> None:
        raise management.InterruptProcessingException

    with monkeypatch.context() as patch:
        patch.setattr(rendered, "made", cancelled)
        with pytest.raises(management.InterruptProcessingException):
            run(resume=True)
    made = folders / "output" / "made" / "here"
    assert names(made) == ["anna.mp4.resume"] and (made / "anna.mp4.resume/motion.safetensors").exists()
    with monkeypatch.context() as patch:
        patch.setattr(part("mytalk_core.pipeline.stages"), "speak", cancelled)
        assert run(resume=True).args[2].splitlines()[0] == "1 made, 0 were there, 0 failed"
    assert names(made) == ["anna.mp4", "anna.mp4.json"]


def test_what_cannot_be_read_or_written_is_refused_before_the_run(people, part, folders):
    validate = part("nodes.folder").LipSyncFolder.validate_inputs

    def refused(**changed: object) -> str:
        return validate(**(FOLDERS | {"format": "h264 (.mp4)", "crf": 18} | changed))

    assert refused() is True and refused(videos=None, speeches=None, output_folder=None) is True
    assert refused(videos=str(people), speeches=str(people)) is True
    assert "No folder 'gone'" in refused(videos="gone")
    assert "No folder or file 'gone'" in refused(speeches="gone")
    assert "lies outside" in refused(output_folder="../elsewhere")
    assert "lies outside" in refused(output_folder=str(folders / "input"))
    assert "a crf of 0..51" in refused(crf=60)
    assert "No video or picture 'gone'" in refused(emotion="gone") and refused(emotion=" ") is True


def test_a_file_more_or_less_is_another_run(people, part, run, folders):
    mark = part("nodes.folder").LipSyncFolder.fingerprint_inputs
    first = mark(**FOLDERS)
    assert mark(**FOLDERS) == first
    shutil.copy(people / "anna.mp4", people / "dora.mp4")
    second = mark(**FOLDERS)
    assert second != first
    (folders / "output" / "made" / "here").mkdir(parents=True)
    (folders / "output" / "made" / "here" / "anna.mp4").touch()
    assert mark(**FOLDERS) != second
    mood = folders / "input" / "mood.png"
    mood.write_bytes(b"1")
    calm = mark(**FOLDERS, emotion="mood.png")
    mood.write_bytes(b"22")
    assert mark(**FOLDERS, emotion="mood.png") != calm != mark(**FOLDERS)
