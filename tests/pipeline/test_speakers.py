"""Several people who speak in one pass: each mouth follows its own speech, and all are heard."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.appearance.references.references import mouth_opening
from mytalk_core.cli.main import main
from mytalk_core.cli.sync import speaker
from mytalk_core.errors import MediaError
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.mixed import MixedSpeech
from mytalk_core.pipeline import LipSync, journal, lip_sync, write
from mytalk_core.pipeline.journal import folder_of

FRAMES = 48
LAYOUT = LandmarkLayout.load("mesh478")


@pytest.fixture(scope="module")
def model():
    return LipSync.from_pretrained("mini")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Two people side by side, and two speeches: one speaks first, the other then."""
    folder = tmp_path_factory.mktemp("two")
    pictures = [
        next(FileClip.open(EXAMPLES / name).frames(0, FRAMES, batch_size=FRAMES))
        for name in ("ai_woman.mp4", "cartoon_boy.mp4")
    ]
    small = [[cv2.resize(p, (256, 256), interpolation=cv2.INTER_AREA) for p in part] for part in pictures]
    both = np.concatenate([np.stack(part) for part in small], axis=2)
    write(ImageClip.from_frames(both, 25), folder / "two.mkv", codec="ffv1")
    spoken = Speech.open(EXAMPLES / "speech_en.wav").mono_16k[:16_000]
    silence = np.zeros(len(spoken), np.float32)
    write_sound(folder / "first.wav", np.concatenate([spoken, silence]))
    write_sound(folder / "then.wav", np.concatenate([silence, spoken]))
    return folder


def write_sound(path: Path, samples: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray((samples * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = 16_000
        container.mux([*stream.encode(frame), *stream.encode(None)])


def openings(model: LipSync, path: Path, which: str) -> np.ndarray:
    clip = FileClip.open(path)
    track = model.track(clip).choose(which)
    return mouth_opening(track.canonical[np.arange(len(track))], LAYOUT)


def test_each_mouth_follows_its_own_speech(model, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(LipSync, "from_pretrained", staticmethod(lambda _, **how: model))
    video, out, report = inputs / "two.mkv", tmp_path / "out.mkv", tmp_path / "report.json"
    arguments = ["sync", str(video), "-o", str(out), "--codec", "ffv1", "--report", str(report)]
    said = [f"--speaker={who}={inputs / name}" for who, name in (("left", "first.wav"), ("1", "then.wav"))]
    assert main([*arguments, *said]) == 0
    figures = json.loads(report.read_text())
    assert [(s["face"], Path(s["speech"]).name) for s in figures["speakers"]] == [
        ("left", "first.wav"),
        ("1", "then.wav"),
    ]
    for spoken in figures["speakers"]:
        assert spoken["frames_edited"] > 0.9 * FRAMES
        assert figures["checks"][f"speaker {spoken['face']}: opening_correlation"] > 0.7
    # The same speech alone moves its mouth the same: the other one's has no part in it.
    halves = slice(2, 22), slice(30, 48)
    for which, name, speaks in (("left", "first.wav", 0), ("right", "then.wav", 1)):
        alone = tmp_path / f"{which}.mkv"
        lip_sync(video, inputs / name, alone, face=which, model=model, codec="ffv1")
        together, apart = openings(model, out, which), openings(model, alone, which)
        assert np.corrcoef(together, apart)[0, 1] > 0.95
        assert together[halves[speaks]].std() > 3 * together[halves[1 - speaks]].std(), "the other rests"
    heard, first, then = (Speech.open(p).mono_16k for p in (out, inputs / "first.wav", inputs / "then.wav"))
    count = min(len(heard), len(first))
    np.testing.assert_allclose(heard[:count], (first + then)[:count], atol=2e-3)


def test_who_does_not_speak_stays_the_sources(model, inputs, tmp_path):
    out = tmp_path / "one.mkv"
    speakers = [("right", inputs / "then.wav")]
    lip_sync(inputs / "two.mkv", None, out, speakers=speakers, model=model, codec="ffv1")
    source, result = (np.concatenate(list(FileClip.open(p).frames())) for p in (inputs / "two.mkv", out))
    assert (source[:, :, :256] == result[:, :, :256]).all()
    assert (source[:, :, 256:] != result[:, :, 256:]).any()


def test_a_run_of_two_that_goes_on_equals_one_that_was_not_stopped(model, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "PIECE_FRAMES", 4)
    video, whole, parts = tmp_path / "in.mkv", tmp_path / "whole.mp4", tmp_path / "parts.mp4"
    frames = next(FileClip.open(inputs / "two.mkv").frames(0, 10, batch_size=10))
    write(ImageClip.from_frames(frames, 25), video, codec="ffv1")
    said = [inputs / "first.wav", inputs / "then.wav"]
    both = {"speakers": list(zip(("left", "right"), said, strict=True)), "model": model}
    report = lip_sync(video, None, whole, **both)

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "render" and done == 6:
            raise KeyboardInterrupt

    # One person twice: nothing is kept that would be in the way of the right choice.
    twice = [("left", said[0]), ("64,128", said[1])]
    with pytest.raises(ValueError, match="are the same"):
        lip_sync(video, None, parts, resume=True, **both | {"speakers": twice})
    assert not folder_of(parts).exists()
    with pytest.raises(KeyboardInterrupt):
        lip_sync(video, None, parts, resume=True, progress=stop, **both)
    kept = {path.name for path in folder_of(parts).iterdir()}
    numbered = {f"{name}{n}.safetensors" for name in ("track", "motion") for n in ("", "1")}
    assert kept >= numbered | {"piece000000.safetensors"}
    swapped = list(zip(("left", "right"), said[::-1], strict=True))
    with pytest.raises(MediaError, match="a run with another speech: give"):
        lip_sync(video, None, parts, resume=True, **both | {"speakers": swapped})
    again = lip_sync(video, None, parts, resume=True, **both)
    assert parts.read_bytes() == whole.read_bytes() and not folder_of(parts).exists()
    assert (again.speakers, again.checks) == (report.speakers, report.checks)
    assert [speaker["frames_edited"] for speaker in again.speakers] == [10, 10]


def test_two_speakers_of_one_face_are_refused(model, inputs, tmp_path):
    speakers = [("left", inputs / "first.wav"), ("100,128", inputs / "then.wav")]
    with pytest.raises(ValueError, match="speaker left and speaker 100,128 are the same"):
        lip_sync(inputs / "two.mkv", None, tmp_path / "out.mkv", speakers=speakers, model=model)
    both = {"speakers": speakers, "model": model}
    with pytest.raises(ValueError, match="but both arrived"):
        lip_sync(inputs / "two.mkv", inputs / "first.wav", tmp_path / "out.mkv", **both)
    with pytest.raises(ValueError, match="but neither arrived"):
        lip_sync(inputs / "two.mkv", None, tmp_path / "out.mkv", model=model)
    assert not list(tmp_path.iterdir())


def test_a_speaker_and_a_file_with_equals_signs(tmp_path):
    (tmp_path / "a=b.wav").touch()
    assert speaker(f"photo:c=d.jpg={tmp_path / 'a=b.wav'}") == ("photo:c=d.jpg", tmp_path / "a=b.wav")
    assert speaker("left=gone.wav") == ("left", Path("gone.wav"))
    with pytest.raises(ValueError, match="WHO=SPEECH"):
        speaker("left")


def test_speeches_of_other_rates_are_heard_together():
    time_s = np.arange(48_000) / 48_000
    high = Speech.from_waveform(0.7 * np.sin(2 * np.pi * 440 * time_s).astype(np.float32), 48_000)
    pair = 0.6 * np.sin(2 * np.pi * 220 * np.arange(8_000) / 16_000).astype(np.float32)
    low = Speech.from_waveform(np.stack([pair, pair]), 16_000)
    mix = MixedSpeech.of([high, low])
    assert (mix.sample_rate, mix.channels, mix.samples) == (48_000, 2, 48_000)
    assert mix.waveform.shape == (2, 48_000) and 0.99 < np.abs(mix.waveform).max() <= 1.0
    only_high = mix.waveform[:, 30_000:]
    assert np.corrcoef(only_high[0], high.waveform[0, 30_000:])[0, 1] > 0.999
    assert MixedSpeech.of([high]) is high
