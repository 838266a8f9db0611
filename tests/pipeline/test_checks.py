"""What a run that ends well would hide: sources that do not suit, and lips that did not move as intended."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.appearance.rendering import ArrayRendering
from mytalk_core.appearance.warp_renderer import WarpRenderer
from mytalk_core.cli.main import main
from mytalk_core.errors import DoubtError
from mytalk_core.face.alignment import UNITS
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.pipeline import LipSync, lip_sync, write
from mytalk_core.pipeline.checks import check_pictures, check_track

FRAMES = 12
SPEECH = EXAMPLES / "speech_en.wav"


@pytest.fixture(scope="module")
def frames():
    return next(FileClip.open(EXAMPLES / "ai_woman.mp4").frames(0, FRAMES, batch_size=FRAMES))


@pytest.fixture(scope="module")
def model():
    return LipSync.from_pretrained("mini")


def saved(frames: np.ndarray, path: Path) -> Path:
    write(ImageClip.from_frames(np.ascontiguousarray(frames), 25), path, codec="ffv1")
    return path


def changed(frames: np.ndarray, change) -> np.ndarray:
    return np.stack([change(image) for image in frames])


# What is done to the sample, and what the report says of it.
UNSUITABLE = {
    "small": (
        lambda image: cv2.resize(image, None, fx=1 / 6, fy=1 / 6, interpolation=cv2.INTER_AREA),
        "small",
    ),
    "blurred": (lambda image: cv2.GaussianBlur(image, (0, 0), 5), "blurred"),
    "cut off": (lambda image: image[:340], "cuts off the chin"),
}


@pytest.mark.parametrize("kind", UNSUITABLE)
def test_a_source_that_does_not_suit_is_told_and_strictly_refused_before_the_rendering(
    frames, tmp_path, model, kind
):
    change, word = UNSUITABLE[kind]
    video, output, stages = saved(changed(frames, change), tmp_path / "in.mkv"), tmp_path / "out.mp4", set()

    def progress(stage: str, done: int, total: int) -> None:
        stages.add(stage)

    with pytest.raises(DoubtError, match=word):
        lip_sync(video, SPEECH, output, model=model, strict=True, progress=progress)
    assert "render" not in stages and [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
    report = lip_sync(video, SPEECH, output, model=model)
    assert [doubt for doubt in report.doubts if word in doubt] and output.exists()
    assert set(report.doubts) <= set(report.warnings)


def test_a_good_source_and_a_good_result_raise_no_doubt(frames, tmp_path, model):
    report = lip_sync(
        saved(frames, tmp_path / "in.mkv"), SPEECH, tmp_path / "out.mp4", model=model, strict=True
    )
    assert report.doubts == [] and report.checks["edited_share"] == 1
    assert report.checks["moved_share"] > 0.8 and report.checks["opening_correlation"] > 0.8


def test_a_turned_head_is_told(frames, model):
    clip = ImageClip.from_frames(frames, 25)
    track = model.track(clip).choose()
    assert check_track(track, clip).doubts == ()
    angle = np.radians(60)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    landmarks = track.landmarks[:]
    centre = landmarks.mean(1, keepdims=True)
    turned = replace(track, landmarks=(landmarks - centre) @ turn.T.astype(np.float32) + centre)
    check = check_track(turned, clip)
    assert check.figures["turned_share"] == 1 and "turned by more than 45 degrees" in check.doubts[0]
    assert check.figures["mouth_px"] > 60, "turned, not small"


def test_covered_pictures_are_told(frames, model):
    clip = ImageClip.from_frames(frames, 25)
    track = model.track(clip).choose()
    drawn = model.draw(clip, track, None, plan_timeline(clip, clip.duration_s))
    assert drawn.covered == 0
    assert check_pictures(drawn.references, track, drawn.covered, drawn.lent).doubts == ()
    covered = check_pictures(drawn.references, track, 0.3, 5)
    assert "lies over the mouth" in covered.doubts[0] and covered.figures["lent_mouths"] == 5


def draw_the_old_lips(self, crops, source, target, frame_index, seen=None):
    """A renderer that ends well and changes nothing."""
    alpha = np.zeros(crops.shape[:3], np.float32)
    size = crops.shape[1]
    alpha[:, size // 2 :, size // 4 : -size // 4] = 1
    return ArrayRendering(crops.copy(), alpha)


def test_lips_that_did_not_move_are_told_and_strictly_no_output_is_kept(
    frames, tmp_path, model, monkeypatch, capsys
):
    monkeypatch.setattr(WarpRenderer, "render", draw_the_old_lips)
    monkeypatch.setattr(LipSync, "from_pretrained", staticmethod(lambda _, **how: model))
    video, output, report = (tmp_path / name for name in ("in.mkv", "out.mp4", "report.json"))
    saved(frames, video)
    command = ["sync", str(video), str(SPEECH), "-o", str(output), "--report", str(report)]
    assert main(command) == 0
    figures = json.loads(report.read_text())
    assert figures["frames_edited"] == FRAMES and figures["checks"]["moved_share"] < 0.3
    assert "still much like the source's" in figures["doubts"][0]
    assert f"mytalk: note: {figures['doubts'][0]}" in capsys.readouterr().err
    output.unlink()
    report.unlink()
    assert main([*command, "--strict"]) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("mytalk: strict was asked for") and "like the source's" in line
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]


def test_silence_is_told(frames, tmp_path, model):
    with av.open(str(tmp_path / "silence.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    report = lip_sync(
        saved(frames, tmp_path / "in.mkv"), tmp_path / "silence.wav", tmp_path / "out.mp4", model=model
    )
    assert ["did not move" in doubt for doubt in report.doubts] == [True]
    assert report.checks["opening_range"] < 1 < UNITS
