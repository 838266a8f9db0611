"""The protocols: who speaks what, whose lips are used for whom, and a run that goes on where it stopped."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.appearance.renderers import LoadedRenderer
from mytalk_core.cli import benchmark
from mytalk_core.cli.main import main
from mytalk_core.evaluation.benchmark import generation, protocol
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.remux import copy_untagged
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.media.writer import VideoWriter
from mytalk_core.motion.generate import MotionModel
from mytalk_core.pipeline.stages import track as read_faces


def make_clip(path: Path, source: str, seconds: float, speech_from_s: float = 0.0) -> Path:
    """The beginning of an example with a part of the sample speech, B-frames and all."""
    clip = FileClip.open(EXAMPLES / source)
    count = int(np.searchsorted(clip.times_s, seconds))
    part = ImageClip.from_frames(next(clip.frames(0, count, batch_size=count)), clip.fps)
    sound = Speech.open(EXAMPLES / "speech_en.wav").mono_16k
    speech = Speech.from_waveform(sound[int(speech_from_s * 16000) :][: int(seconds * 16000)], 16000)
    with VideoWriter(path, part, speech=speech, pixel_format="yuv420p", preset="medium") as writer:
        for picture in part.pictures():
            writer.write(picture)
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Three talking clips of about a second and one without a face."""
    folder = tmp_path_factory.mktemp("clips")
    make_clip(folder / "a.mp4", "ai_woman.mp4", 0.6)
    make_clip(folder / "b.mp4", "ai_woman.mp4", 0.4, speech_from_s=1.0)
    make_clip(folder / "c.mp4", "cartoon_boy.mp4", 0.5, speech_from_s=2.0)
    return folder


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    """Long enough for two halves that are each other's references."""
    return make_clip(tmp_path_factory.mktemp("long") / "long.mp4", "ai_woman.mp4", 1.8)


@pytest.fixture(scope="module", autouse=True)
def models():
    """Load networks once for all tests of this file; what they compute is the same."""
    patch = pytest.MonkeyPatch()
    reader, model = load_face_reader(), MotionModel.from_pretrained("mini")
    patch.setattr("mytalk_core.face.reader.load_face_reader", lambda *args: reader)
    patch.setattr(MotionModel, "from_pretrained", staticmethod(lambda *args: model))
    yield
    patch.undo()


def run(clips: Path, out: Path, kind: str, *more: str) -> int:
    arguments = ["benchmark", str(clips), "--protocol", kind, "--renderer", "warp", "--no-evaluation"]
    return main([*arguments, "-o", str(out), *more])


def test_derangements_are_seeded_and_leave_nothing_in_place():
    for count in (2, 3, 7, 40):
        drawn = [protocol.derangement(count, seed) for seed in range(20)]
        assert all(sorted(order) == list(range(count)) for order in drawn)
        assert all((order != np.arange(count)).all() for order in drawn)
        np.testing.assert_array_equal(drawn[3], protocol.derangement(count, 3))
    assert len({tuple(protocol.derangement(7, seed)) for seed in range(20)}) > 15
    # A published result says "seed 0": the pairing must not change under it.
    assert protocol.derangement(7, 0).tolist() == [1, 4, 6, 0, 2, 3, 5]
    with pytest.raises(ValueError, match="two clips or more"):
        protocol.derangement(1, 0)


def test_a_limit_keeps_the_pairing_of_all():
    clips = [protocol.ClipFile(name, Path(f"{name}.mp4")) for name in "abcdefg"]
    whole, part = (protocol.plan_pairs(clips, "unpaired", 5, limit) for limit in (None, 3))
    assert part == whole[:3] and {pair.speech for pair in whole} == set(clips)
    assert all(pair.speech == pair.clip for pair in protocol.plan_pairs(clips, "paired", 5))


def test_clips_come_from_the_manifest_or_the_folder(tmp_path):
    for name in ("b.mp4", "a.mkv", "notes.txt", ".hidden.mp4"):
        (tmp_path / name).write_bytes(b"")
    assert [clip.name for clip in protocol.list_clips(tmp_path)] == ["a", "b"]
    rows = [{"id": "one", "file": "b.mp4", "split": "val"}, {"id": "two", "file": "a.mkv", "split": "train"}]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert [clip.name for clip in protocol.list_clips(tmp_path)] == ["one", "two"]
    assert protocol.list_clips(tmp_path, "val") == [protocol.ClipFile("one", tmp_path / "b.mp4")]
    with pytest.raises(ValueError, match="it has train, val"):
        protocol.list_clips(tmp_path, "test")
    manifest.write_text(json.dumps({"file": "none.mp4"}))
    with pytest.raises(FileNotFoundError, match="none.mp4"):
        protocol.list_clips(tmp_path)
    manifest.write_text('{"id": "x"}')
    with pytest.raises(ValueError, match="line 1"):
        protocol.list_clips(tmp_path)


def test_unpaired_results_speak_the_others_words_and_end_with_the_shorter(clips, tmp_path):
    assert run(clips, tmp_path, "unpaired") == 0
    record = json.loads((tmp_path / "protocol.json").read_text())
    order = protocol.derangement(3, 0)
    for number, name in enumerate("abc"):
        other = "abc"[order[number]]
        assert record["pairs"][name] == {"video": f"{name}.mp4", "speech": other}
        source, made = FileClip.open(clips / f"{name}.mp4"), FileClip.open(tmp_path / "warp" / f"{name}.mp4")
        said = Speech.open(clips / f"{other}.mp4")
        shorter_s = min(source.duration_s, said.duration_s)
        # Lengths within 0.1 s count as equal, and then no frame is lost.
        assert abs(made.duration_s - shorter_s) < 0.1 + 1 / float(source.fps)
        heard, length = made.speech().mono_16k, int(shorter_s * 16000) - 800
        assert np.corrcoef(heard[:length], said.mono_16k[:length])[0, 1] > 0.9


def test_a_run_goes_on_and_does_not_mix(clips, tmp_path, monkeypatch, capsys):
    assert run(clips, tmp_path, "paired", "--limit", "1") == 0
    first = tmp_path / "warp" / "a.mp4"
    stamp, made = first.stat().st_mtime_ns, []
    monkeypatch.setattr(
        generation, "generate", lambda pair, outputs, *rest: made.append((pair.clip.name, list(outputs)))
    )
    assert run(clips, tmp_path, "paired") == 0
    assert made == [("b", ["warp"]), ("c", ["warp"])] and first.stat().st_mtime_ns == stamp
    capsys.readouterr()
    for more, word in ((("--seed", "1"), "seed"), (("--crf", "30"), "crf"), (("--seconds", "1"), "seconds")):
        assert run(clips, tmp_path, "paired", *more) == 1
        assert word in capsys.readouterr().err
    assert run(clips, tmp_path, "landmarks") == 1 and "protocol" in capsys.readouterr().err


def test_the_same_folder_with_other_clips_is_refused(clips, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(generation, "generate", lambda *args: None)
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in "abc"[: 2 + number]:
            (folder / f"{name}.mp4").write_bytes((clips / f"{name}.mp4").read_bytes())
    out = tmp_path / "out"
    assert run(tmp_path / "0", out, "unpaired") == 0
    assert run(tmp_path / "1", out, "unpaired") == 1 and "clips have changed" in capsys.readouterr().err


def test_a_clip_that_cannot_be_made_is_left_out_and_said(clips, tmp_path, capsys):
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.mp4").write_bytes((clips / "a.mp4").read_bytes())
    noise = np.random.default_rng(0).integers(0, 60, (6, 64, 64, 3), dtype=np.uint8)
    with VideoWriter(folder / "blank.mp4", ImageClip.from_frames(noise, 25)) as writer:
        for picture in ImageClip.from_frames(noise, 25).pictures():
            writer.write(picture)
    assert run(folder, tmp_path / "out", "paired") == 0
    left_out = json.loads((tmp_path / "out" / "protocol.json").read_text())["left_out"]
    assert list(left_out) == ["blank"] and "sound" in left_out["blank"]
    assert "blank is left out" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out" / "warp").iterdir()} == {"a.mp4"}
    (folder / "a.mp4").unlink()
    assert run(folder, tmp_path / "none", "paired") == 1 and "none of 1 clips" in capsys.readouterr().err


def test_seconds_cut_the_real_video_without_encoding_it(clips, tmp_path):
    assert run(clips, tmp_path, "paired", "--limit", "1", "--seconds", "0.3") == 0
    source = FileClip.open(clips / "a.mp4")
    cut, made = (FileClip.open(tmp_path / kind / "a.mp4") for kind in ("reference", "warp"))
    assert len(cut) == len(made) and 0.3 <= cut.duration_s < 0.5
    numbers = [int(np.abs(source.times_s - time).argmin()) for time in cut.times_s]
    assert set(range(int(np.ceil(0.3 * float(source.fps))))) <= set(numbers)
    assert all((a.rgb == b.rgb).all() for a, b in zip(source.pictures(numbers), cut.pictures(), strict=True))
    np.testing.assert_allclose(source.times_s[numbers], cut.times_s, atol=2e-3)


def test_cut_keeps_what_b_frames_are_decoded_from(tmp_path):
    frames = next(FileClip.open(EXAMPLES / "cartoon_boy.mp4").frames(0, 24, batch_size=24))
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"bf": "3", "b-adapt": "0"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    source = FileClip.open(path)
    for count in range(1, 12):
        copy_untagged(path, tmp_path / "out.mp4", count / 25)
        cut = FileClip.open(tmp_path / "out.mp4")
        assert count <= len(cut) <= count + 4
        whole = source.pictures(range(count))
        assert all((a.rgb == b.rgb).all() for a, b in zip(whole, cut.pictures(range(count)), strict=True))


def test_halves_lend_to_each_other_and_never_within_reach(long_clip):
    clip = FileClip.open(long_clip)
    track = read_faces(load_face_reader(), clip).choose()
    drawn = generation.Halves.drawn(LoadedRenderer(), clip, track, plan_timeline(clip, clip.duration_s))
    frames, times = np.arange(len(clip)), clip.times_s
    for half, own in enumerate(drawn.halves):
        rows = frames[drawn.second == bool(half)]
        lent = own.renderer.references.frame_index
        apart = np.abs(times[rows][:, None] - times[lent][None])
        assert len(lent) > 4 and apart.min() >= generation.APART_S - 1e-6
    assert drawn.second.any() and not drawn.second.all()
    # Pictures over the middle: each frame is drawn by its own half's renderer, and no mouth is left as it is.
    middle = int(np.flatnonzero(drawn.second)[0])
    together = drawn.pictures([middle, middle - 1])
    for picture, row, half in zip(together, (middle, middle - 1), (1, 0), strict=True):
        alone, other = (next(drawn.halves[k].pictures([row])).rgb for k in (half, 1 - half))
        assert (picture.rgb == alone).all() and (picture.rgb != other).any() and picture.index == row
    assert all(edit.patches for half in drawn.halves for edit in half.edits())


def test_landmarks_protocol_redraws_every_mouth(long_clip, tmp_path):
    assert run(long_clip.parent, tmp_path, "landmarks") == 0
    source, made = FileClip.open(long_clip), FileClip.open(tmp_path / "warp" / "long.mp4")
    np.testing.assert_allclose(source.times_s, made.times_s, atol=1e-4)
    track = read_faces(load_face_reader(), source).choose()
    for index in (3, len(source) - 4):
        one, other = (next(clip.pictures([index])).rgb.astype(int) for clip in (source, made))
        mouth = track.landmarks[index][[61, 291, 13, 14], :2].mean(0).round().astype(int)
        near = np.s_[mouth[1] - 12 : mouth[1] + 12, mouth[0] - 16 : mouth[0] + 16]
        difference = np.abs(one - other)
        assert difference[near].mean() > 1.3 * np.abs(one - other)[:40].mean(), "the mouth was drawn anew"
        assert difference[near].mean() < 45, "and looks like it"


def test_evaluation_gets_every_clip_and_system(clips, tmp_path, monkeypatch, capsys):
    seen = {}

    def touch(pair, outputs, *rest):
        for path in outputs.values():
            path.write_bytes(b"made")

    monkeypatch.setattr(generation, "generate", touch)
    monkeypatch.setattr(
        benchmark, "_evaluate", lambda made, args, scoring, record: seen.update(made=made, record=record)
    )
    arguments = ["benchmark", str(clips), "--protocol", "paired", "--renderer", "warp", "-o", str(tmp_path)]
    assert main(arguments) == 0
    assert [files.name for files in seen["made"]] == ["a", "b", "c"]
    assert seen["made"][0].reference == clips / "a.mp4"
    assert seen["made"][0].generated == {"warp": tmp_path / "warp" / "a.mp4"}
    assert set(seen["record"]["models"]) == {"motion", "space", "identity", "speech"}
    # What an earlier run made with another renderer stands in the report too.
    record = json.loads((tmp_path / "protocol.json").read_text())
    record["systems"]["network"] = {"refiner": "0123"}
    (tmp_path / "protocol.json").write_text(json.dumps(record))
    (tmp_path / "network").mkdir()
    (tmp_path / "network" / "b.mp4").write_bytes(b"made")
    assert main(arguments) == 0
    assert [sorted(files.generated) for files in seen["made"]] == [["warp"], ["network", "warp"], ["warp"]]


def test_bad_arguments_are_one_line(clips, tmp_path, capsys):
    cases = {
        "nowhere": ([str(tmp_path / "nowhere")], "nowhere"),
        "no renderer": ([str(clips), "--renderer", "magic"], "magic"),
        "no network": ([str(clips), "--renderer", "network", "--model", str(tmp_path)], str(tmp_path)),
        "seconds": ([str(clips), "--seconds", "0"], "--seconds"),
        "limit": ([str(clips), "--limit", "0"], "limit"),
        "every": ([str(clips), "--every", "0"], "every must be 1"),
        "skip": ([str(clips), "--skip", "beauty"], "no such metric: beauty"),
    }
    for name, (arguments, expected) in cases.items():
        arguments = ["benchmark", *arguments, "--protocol", "paired", "-o", str(tmp_path / "out")]
        assert main(arguments) == 1, name
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and expected in lines[0], (name, lines)
        assert not (tmp_path / "out").exists(), name
