"""The whole chain on real frames: what is edited, what stays, when it is shown, and what it sounds like."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.appearance.covers.cover import Cover
from mytalk_core.appearance.covers.cover_detector import CoverDetector
from mytalk_core.cli.main import main
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.arranged import part_of
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.writer import VideoWriter
from mytalk_core.motion.generate import MotionOptions
from mytalk_core.motion.motion import Motion
from mytalk_core.pipeline import LipSync, lip_sync

FRAMES = 14


@pytest.fixture(scope="module")
def frames():
    return next(FileClip.open(EXAMPLES / "ai_woman.mp4").frames(0, FRAMES, batch_size=FRAMES))


@pytest.fixture(scope="module")
def model():
    return LipSync.from_pretrained("mini")


@pytest.fixture
def loaded(model, monkeypatch):
    """The command takes the model of this file: what it computes is the same."""
    monkeypatch.setattr(LipSync, "from_pretrained", staticmethod(lambda _, **how: model))
    return model


def write_video(path: Path, frames: np.ndarray, rate: Fraction, pts: list[int] | None = None) -> Path:
    """An H.264 file of the frames; pts in 1/90000 s make its rate variable."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 90000) if pts else 1 / rate
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = pts[number] if pts else number
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_speech(path: Path, seconds: float) -> Path:
    """The sample speech, cut to `seconds`, at 44.1 kHz like a recorder's."""
    with av.open(str(EXAMPLES / "speech_en.wav")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("pcm_s16le", rate=44100, layout="mono")
        resampler = av.AudioResampler("s16", "mono", 44100)
        left = round(seconds * 44100)
        for frame in source.decode(audio=0):
            for part in resampler.resample(frame):
                samples = part.to_ndarray()[:, :left]
                left -= samples.shape[1]
                if samples.size:
                    out = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), "s16", "mono")
                    out.sample_rate = 44100
                    target.mux(stream.encode(out))
        target.mux(stream.encode(None))
    return path


def offset_s(output: Path, speech: Path) -> float:
    """By how much the output's sound is later than the speech: the peak of their correlation."""
    heard, said = Speech.open(output).mono_16k, Speech.open(speech).mono_16k
    size = 1 << (len(heard) + len(said)).bit_length()
    spectrum = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size))
    lag = int(np.fft.irfft(spectrum, size).argmax())
    return (lag - size if lag > size // 2 else lag) / 16000


RATES = [Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30), Fraction(60)]


@pytest.mark.parametrize("rate", RATES, ids=[f"{float(r):.2f}" for r in RATES])
def test_frames_and_times_are_the_sources_at_any_rate(frames, tmp_path, model, rate):
    video = write_video(tmp_path / "in.mp4", frames, rate)
    speech = write_speech(tmp_path / "in.wav", FRAMES / float(rate))
    report = lip_sync(video, speech, tmp_path / "out.mp4", model=model)
    source, result = FileClip.open(video), FileClip.open(tmp_path / "out.mp4")
    assert report.frames == report.frames_edited == len(source) == len(result) == FRAMES
    np.testing.assert_allclose(result.times_s, source.times_s, atol=1e-4)
    assert abs(result.duration_s - source.duration_s) < 1e-3
    assert abs(offset_s(tmp_path / "out.mp4", speech)) < 1 / float(rate)


@pytest.mark.parametrize("own", [{"renderer": "network"}, {"device": "cuda"}, {"recognition": "sface.onnx"}])
def test_a_loaded_model_takes_nothing_of_what_it_was_loaded_with(frames, tmp_path, model, own):
    video = write_video(tmp_path / "in.mp4", frames, Fraction(25))
    with pytest.raises(ValueError, match=f"a {next(iter(own))} is taken where the model is loaded"):
        lip_sync(video, EXAMPLES / "speech_en.wav", tmp_path / "out.mp4", model=model, **own)
    assert not (tmp_path / "out.mp4").exists()


def test_variable_rate_keeps_every_time_stamp(frames, tmp_path, model):
    pts = np.cumsum([0] + [3000, 4500, 3000, 9000, 3600] * 3)[:FRAMES].tolist()
    video = write_video(tmp_path / "in.mp4", frames, Fraction(30), pts)
    speech = write_speech(tmp_path / "in.wav", 0.6)
    lip_sync(video, speech, tmp_path / "out.mp4", model=model)
    np.testing.assert_allclose(FileClip.open(tmp_path / "out.mp4").times_s, np.array(pts) / 90000, atol=1e-4)


def test_what_the_mask_leaves_out_is_the_source(frames, tmp_path, model):
    video = write_video(tmp_path / "in.mp4", frames, Fraction(25))
    speech = write_speech(tmp_path / "in.wav", 0.5)
    out, mask = tmp_path / "out.mkv", tmp_path / "mask.mkv"
    lip_sync(video, speech, out, codec="ffv1", save_mask=mask, model=model)
    source, result, masks = (np.concatenate(list(FileClip.open(p).frames())) for p in (video, out, mask))
    edited = masks[..., 0] > 0
    assert 0.01 < edited.mean() < 0.3
    assert (source[~edited] == result[~edited]).all()
    assert np.abs(source[edited].astype(int) - result[edited]).mean() > 1, "the mouth is another one"


@pytest.mark.parametrize(
    ("mode", "seconds", "expected"),
    [
        ("silence", 0.3, 14),
        ("silence", 1.1, 14),
        ("cut_off", 0.3, 8),
        ("cut_off", 1.1, 14),
        ("loop", 1.1, 28),
        ("bounce", 1.1, 28),
        ("remap", 1.1, 28),
    ],
)
def test_each_sync_mode_has_its_length_and_its_sound_in_place(
    frames, tmp_path, model, mode, seconds, expected
):
    video = write_video(tmp_path / "in.mp4", frames, Fraction(25))
    speech = write_speech(tmp_path / "in.wav", seconds)
    report = lip_sync(video, speech, tmp_path / "out.mp4", sync_mode=mode, model=model)
    assert len(FileClip.open(tmp_path / "out.mp4")) == report.frames == expected
    assert abs(offset_s(tmp_path / "out.mp4", speech)) < 1 / 25
    assert bool(report.warnings) == (mode in ("silence", "cut_off") and seconds > 1), "a cut is told"


def test_frames_without_a_face_pass_through(frames, tmp_path, model):
    mixed = frames.copy()
    mixed[5:8] = np.random.default_rng(0).integers(0, 60, mixed[5:8].shape)
    video = write_video(tmp_path / "in.mp4", mixed, Fraction(25))
    speech = write_speech(tmp_path / "in.wav", 0.5)
    report = lip_sync(video, speech, tmp_path / "out.mkv", codec="ffv1", model=model)
    assert (report.frames, report.frames_with_face, report.frames_edited) == (14, 11, 11)
    assert "3 of 14 frames" in report.warnings[0]
    source, result = (np.concatenate(list(FileClip.open(p).frames())) for p in (video, tmp_path / "out.mkv"))
    assert (source[5:8] == result[5:8]).all()


def test_a_covered_mouth_stays_and_is_counted(frames, tmp_path, model):
    clip = FileClip.open(EXAMPLES / "ai_woman.mp4")
    track = model.track(clip).choose()
    hidden = frames.copy()
    for number in (6, 7):
        chin = track.landmarks[number][[61, 291, 152, 13], :2]
        low, high = chin.min(0).astype(int) - 25, chin.max(0).astype(int) + 15
        hidden[number, low[1] : high[1], low[0] : high[0]] = (60, 90, 160)
    video = write_video(tmp_path / "in.mp4", hidden, Fraction(25))
    speech = write_speech(tmp_path / "in.wav", 0.5)
    report = lip_sync(video, speech, tmp_path / "out.mkv", codec="ffv1", model=model)
    source, result = (np.concatenate(list(FileClip.open(p).frames())) for p in (video, tmp_path / "out.mkv"))
    same = [bool((a == b).all()) for a, b in zip(source, result, strict=True)]
    assert report.frames_with_face - report.frames_edited == 2 and same[6] and same[7] and sum(same) == 2
    assert "something before the mouth" in report.warnings[0]


def test_frames_that_lend_their_lips_are_looked_at_once_for_what_stands_before_them(
    frames, model, monkeypatch
):
    track = model.track(ImageClip.from_frames(frames, 25)).choose()
    hidden = frames.copy()
    chin = track.landmarks[6][[61, 291, 152, 13], :2]
    low, high = chin.min(0).astype(int) - 25, chin.max(0).astype(int) + 15
    hidden[6, low[1] : high[1], low[0] : high[0]] = (60, 90, 160)
    clip = ImageClip.from_frames(hidden, 25)
    # Later in the source, so that the output's numbers are none of its own.
    timeline = part_of(clip, 0.08, 0.4).timeline
    # A network makes a level or two of the last digits in which crops of another size of window differ.
    drawn = model.with_renderer("warp").draw(clip, track, None, timeline)
    anew = replace(drawn, references=replace(drawn.references, uncovered=None))
    expected = [picture.rgb for picture in anew.pictures()]
    looked, cover = [], CoverDetector.cover
    monkeypatch.setattr(
        CoverDetector, "cover", lambda *args, **shot: looked.append(args) or cover(*args, **shot)
    )
    for got, wanted, source in zip(drawn.pictures(), expected, hidden[2:12], strict=True):
        assert np.array_equal(got.rgb, wanted)
        assert np.array_equal(got.rgb, source) == (got.index == 4)
    assert len(looked) == 1  # the covered one, which lends nothing


@pytest.mark.parametrize("colour", [(60, 90, 160), (190, 145, 120)], ids=["blue", "skin"])
def test_a_mouth_covered_throughout_stays_as_it_is(frames, tmp_path, model, colour):
    track = model.track(FileClip.open(EXAMPLES / "ai_woman.mp4")).choose()
    hidden = frames.copy()
    for number in range(FRAMES):
        lips = track.landmarks[number][[61, 291, 13, 14], :2]
        low, high = lips.min(0).astype(int) - 25, lips.max(0).astype(int) + 25
        hidden[number, low[1] : high[1], low[0] : high[0]] = colour
    video = write_video(tmp_path / "in.mp4", hidden, Fraction(25))
    speech = write_speech(tmp_path / "in.wav", 0.5)
    report = lip_sync(video, speech, tmp_path / "out.mkv", codec="ffv1", model=model)
    assert (report.frames_with_face, report.frames_covered, report.frames_edited) == (FRAMES, FRAMES, 0)
    source, result = (np.concatenate(list(FileClip.open(p).frames())) for p in (video, tmp_path / "out.mkv"))
    assert (source == result).all()


# A BT.601 picture's brightness, and how red it is.
LUMA, RED = (0.299, 0.587, 0.114), (0.701, -0.587, -0.114)


def test_what_stands_before_a_part_stays_on_top(tmp_path, model):
    """A microphone on a stand that is there in every frame, and the mouth passes behind it."""
    frames = np.concatenate(list(FileClip.open(EXAMPLES / "ai_woman.mp4").frames(0, 72)))[::6]
    where = np.zeros(frames.shape[1:3], np.uint8)
    cv2.rectangle(where, (238, 350), (262, 511), 1, -1)
    cv2.circle(where, (250, 345), 24, 1, -1)
    frames[:, where > 0] = (70, 74, 80)
    video = write_video(tmp_path / "in.mp4", frames, Fraction(25))
    speech = write_speech(tmp_path / "in.wav", 0.45)
    report = lip_sync(video, speech, tmp_path / "out.mkv", codec="ffv1", model=model)
    assert report.frames_partly_covered == report.frames_edited >= 10
    assert any("stays on top" in line for line in report.warnings)
    source, result = (np.concatenate(list(FileClip.open(p).frames())) for p in (video, tmp_path / "out.mkv"))
    changed = np.abs(source.astype(int) - result).max(-1)
    brightness, redness = (
        (result - source.astype(np.float32)) @ np.array(weights, np.float32) for weights in (LUMA, RED)
    )
    # Its outline is a mixture of both in a compressed picture, and is mixed anew; a sample of colour is two
    # pixels wide.
    within, deep = (cv2.erode(where, np.ones((side, side), np.uint8)) > 0 for side in (3, 5))
    assert np.abs(brightness[:, within]).max() <= 4 and changed[:, deep].max() <= 4
    assert changed[:, within].mean() < 0.1 and changed[:, where > 0].mean() < 0.5
    assert changed[:, 300:400, 180:320].mean() > 1, "the mouth behind it is another one"
    # Colour changes with brightness up to the cover: a new chin has none of the old lips' red.
    near, nearer = (cv2.dilate(where, np.ones((side, side), np.uint8)) > 0 for side in (13, 7))
    brightness, redness = brightness[:, near & ~nearer], redness[:, near & ~nearer]
    assert (np.abs(redness[np.abs(brightness) > 12]) > 1).mean() > 0.7


def test_the_same_seed_repeats_and_the_mouth_rests_in_silence(frames, tmp_path, model):
    video = write_video(tmp_path / "in.mp4", frames, Fraction(25))
    speech = write_speech(tmp_path / "in.wav", 0.25)
    motions = []
    for number, seed in enumerate((3, 3, 4)):
        path = tmp_path / f"{number}.safetensors"
        options = MotionOptions(seed=seed, temperature=1.0)
        lip_sync(video, speech, tmp_path / "out.mp4", options=options, save_motion=path, model=model)
        motions.append(Motion.load(path).landmarks)
    assert np.array_equal(motions[0], motions[1]) and not np.array_equal(motions[0], motions[2])
    # Speech ends at 0.25 s; 0.2 s later nothing of either seed's movement is left.
    np.testing.assert_allclose(motions[0][12:], motions[2][12:], atol=1e-4)


def test_the_command_writes_video_report_and_marks_it_as_edited(frames, tmp_path, loaded, capsys):
    video = write_video(tmp_path / "in.mp4", frames, Fraction(25))
    speech = write_speech(tmp_path / "in.wav", 0.5)
    out, report = tmp_path / "out.mp4", tmp_path / "report.json"
    assert main(["sync", str(video), str(speech), "-o", str(out), "--report", str(report)]) == 0
    figures = json.loads(report.read_text())
    assert figures["frames_edited"] == FRAMES and set(figures["model_hashes"]) >= {"motion", "speech"}
    assert set(figures["seconds"]) >= {"landmarks", "motion", "render"}
    with av.open(str(out)) as container:
        tags = " ".join(f"{k}={v}" for k, v in container.metadata.items())
    assert "AI-edited" in tags and "compositeWithTrainedAlgorithmicMedia" in tags


def test_landmarks_command_draws_the_mesh(frames, tmp_path, loaded):
    video = write_video(tmp_path / "in.mp4", frames[:5], Fraction(25))
    track, preview = tmp_path / "track.safetensors", tmp_path / "preview.mp4"
    assert main(["landmarks", str(video), "-o", str(track), "--preview", str(preview)]) == 0
    drawn = np.concatenate(list(FileClip.open(preview).frames())).astype(int)
    assert np.abs(drawn - frames[:5]).max() > 100 and FaceTrack.load(track).present.all()


def nothing_half_written(folder: Path, known: set[str]) -> bool:
    return {path.name for path in folder.iterdir()} <= known


def bad_inputs(folder: Path, frames: np.ndarray) -> dict[str, tuple[list[str], str]]:
    """Name -> arguments of `mytalk sync` and what the one line must say."""
    video = str(write_video(folder / "in.mp4", frames[:4], Fraction(25)))
    speech = str(write_speech(folder / "in.wav", 0.3))
    whole = Path(video).read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "text.mp4").write_text("not a video")
    (folder / "newer").mkdir()
    noise = np.random.default_rng(0).integers(0, 90, (4, 96, 96, 3), dtype=np.uint8)
    faceless = str(write_video(folder / "faceless.mp4", noise, Fraction(25)))
    with av.open(str(folder / "empty.wav"), "w") as container:
        container.add_stream("pcm_s16le", rate=16000, layout="mono")
    out = ["-o", str(folder / "out.mp4")]
    return {
        "missing video": ([str(folder / "none.mp4"), speech, *out], "none.mp4"),
        "missing speech": ([video, str(folder / "none.wav"), *out], "none.wav"),
        "no video stream": ([speech, speech, *out], "video"),
        "no audio stream": ([video, video, *out], "audio|sound"),
        "truncated": ([str(folder / "truncated.mp4"), speech, *out], "truncated.mp4"),
        "text": ([str(folder / "text.mp4"), speech, *out], "text.mp4"),
        "zero length": ([video, str(folder / "empty.wav"), *out], "empty.wav"),
        "no face": ([faceless, speech, *out], "visible face is needed"),
        "face out of range": ([video, speech, *out, "--face", "5"], "choose 0"),
        "no such folder": ([video, speech, "-o", str(folder / "nowhere" / "out.mp4")], "nowhere"),
        "over the source": ([video, speech, "-o", video], "in.mp4"),
        "codec and container": ([video, speech, *out, "--codec", "prores"], "prores"),
    }


def test_bad_input_is_one_line_and_nothing_is_left(frames, tmp_path, loaded, capsys):
    cases = bad_inputs(tmp_path, frames)
    known = {path.name for path in tmp_path.iterdir()}
    source = (tmp_path / "in.mp4").read_bytes()
    for name, (arguments, expected) in cases.items():
        assert main(["sync", *arguments]) == 1, name
        printed = capsys.readouterr().err.strip().splitlines()
        # On a slow machine progress bars show before the message.
        lines = [line for line in printed if line and "it/s" not in line and "?it" not in line]
        assert len(lines) == 1 and any(word in lines[0] for word in expected.split("|")), (name, printed)
        assert nothing_half_written(tmp_path, known), name
    assert (tmp_path / "in.mp4").read_bytes() == source


def test_ctrl_c_leaves_nothing(frames, tmp_path, loaded, capsys, monkeypatch):
    video = write_video(tmp_path / "in.mp4", frames[:6], Fraction(25))
    speech = write_speech(tmp_path / "in.wav", 0.3)
    known = {path.name for path in tmp_path.iterdir()}

    def interrupt(self, mask):
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoWriter, "write_mask", interrupt)
    arguments = ["sync", str(video), str(speech), "-o", str(tmp_path / "out.mp4")]
    assert main([*arguments, "--save-mask", str(tmp_path / "mask.mkv")]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert nothing_half_written(tmp_path, known)


@pytest.mark.parametrize("doubtful", [{5}, {4, 5, 6, 8, 9}], ids=["one", "several"])
def test_frames_agree_on_what_is_hidden_whichever_of_them_are_asked_for(frames, model, monkeypatch, doubtful):
    clip = ImageClip.from_frames(frames, 25)
    drawn = model.draw(clip, model.track(clip).choose(), None, part_of(clip, 0.0, None).timeline)
    drawn = replace(drawn, references=replace(drawn.references, uncovered=None))
    similarity = [one.tobytes() for one in drawn.track.similarity]

    def cover(
        cover_detector: CoverDetector, crop: np.ndarray, landmarks: np.ndarray, at: np.ndarray, **shot: int
    ) -> Cover:
        return Cover(hidden=float(similarity.index(at.tobytes()) in doubtful))

    monkeypatch.setattr(CoverDetector, "cover", cover)
    whole = [edit.is_edited for edit in drawn.edits()]
    hidden = set() if doubtful == {5} else {4, 5, 6, 7, 8}
    assert whole == [number not in hidden for number in range(FRAMES)]
    for part in ([5], [8, 3, 4], range(6, FRAMES), [2, 12]):
        assert [edit.is_edited for edit in drawn.edits(part)] == [whole[number] for number in part]
