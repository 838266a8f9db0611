"""`mytalk evaluate`: folders in, a table with the real videos in it out; mistakes are one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.cli.main import main
from mytalk_core.evaluation.cache import SubjectCache, encode_again
from mytalk_core.evaluation.clip_files import pair_files
from mytalk_core.evaluation.evaluate import Evaluation
from mytalk_core.evaluation.networks import metric_networks as finding
from mytalk_core.evaluation.networks.metric_networks import Networks
from mytalk_core.evaluation.pages import environment
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.writer import VideoWriter

VIDEO = EXAMPLES / "ai_woman.mp4"
FRAMES = 6


class Means:
    """Stands in for Inception: mean colour of each quarter."""

    def read(self, pictures: np.ndarray) -> np.ndarray:
        return np.stack([cv2.resize(p, (2, 2), interpolation=cv2.INTER_AREA).ravel() for p in pictures])


@pytest.fixture(autouse=True)
def light_networks(monkeypatch):
    networks = Networks(
        load_face_reader(),
        inception=Means(),
        absent=("SyncNet v2 distance: left out, no weights",),
    )
    monkeypatch.setattr(finding, "find_networks", lambda weights, skip, device: networks)


def write(path: Path, frames: np.ndarray, seconds: float = 0.24) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = ImageClip.from_frames(frames, 25)
    sound = np.random.default_rng(0).normal(0, 0.1, int(16_000 * seconds)).astype(np.float32)
    with VideoWriter(path, clip, crf=12, speech=Speech.from_waveform(sound, 16_000)) as writer:
        for picture in clip.pictures():
            writer.write(picture)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    frames = next(FileClip.open(VIDEO).frames())[:FRAMES]
    frames = np.stack([cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA) for frame in frames])
    for name in ("one", "two"):
        write(folder / "real" / f"{name}.mp4", frames)
    for sigma in (1, 4):
        blurred = np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])
        write(folder / f"blur{sigma}" / "one.mp4", blurred)
    write(folder / "blur1" / "two.mp4", frames)
    return folder


def test_a_table_with_the_real_videos_and_their_re_encoding(folders, tmp_path, capsys):
    report = tmp_path / "report"
    code = main(
        ["evaluate", "--reference", str(folders / "real"), "--generated", str(folders / "blur1")]
        + ["--generated", f"worse={folders / 'blur4'}", "-o", str(report), "--every", "2"]
        + ["--name", "Blurs", "--cache", str(tmp_path / "cache"), "--device", "cpu"]
    )
    out = capsys.readouterr().out
    assert code == 0
    data = json.loads((report / "report.json").read_text())
    assert [system["name"] for system in data["systems"]] == ["real", "real, re-encoded", "blur1", "worse"]
    assert [system["anchor"] for system in data["systems"]] == [True, True, False, False]
    means = {system["name"]: system["means"] for system in data["systems"]}
    assert means["real"]["psnr_face"] == 100
    assert means["real"]["fid_face"] == pytest.approx(0, abs=1e-6)
    of_one = [system["clips"][0]["scores"]["psnr_face"] for system in data["systems"]]
    assert of_one == sorted(of_one, reverse=True)
    assert means["worse"]["fid_face"] > means["real, re-encoded"]["fid_face"]
    clip = data["systems"][2]["clips"][0]
    assert clip["id"] == "one"
    assert (report / clip["generated"]).resolve() == (folders / "blur1" / "one.mp4").resolve()
    assert (report / data["systems"][1]["clips"][0]["generated"]).is_file()
    lengths = {len(values) for values in clip["curves"].values()}
    assert lengths == {FRAMES}
    assert len(clip["frames"]["worst"]) == 3
    assert {"key", "label", "unit", "better", "region", "source"} == set(data["metrics"][0])
    assert set(means["worse"]) >= {metric["key"] for metric in data["metrics"]}
    assert any("SyncNet" in line for line in data["absent"])
    assert any("worse: lacks 1 of 2 clips (two)" in note for note in data["notes"])
    assert out.startswith("# Blurs")
    assert (report / "report.md").read_text().strip() == out.strip()
    assert (report / "report.html").is_file()
    assert not list(report.glob(".*"))


def test_speech_from_a_folder_makes_it_unpaired(folders, tmp_path, capsys):
    target = tmp_path / "numbers.json"
    command = ["evaluate", "--reference", str(folders / "real"), "--generated", str(folders / "blur4")]
    assert main([*command, "--speech", str(folders / "blur1"), "-o", str(target), "--every", "5"]) == 0
    data = json.loads(target.read_text())
    assert "outside_frame" in {metric["key"] for metric in data["metrics"]}
    assert not {"psnr_mouth", "lmd_mouth"} & {metric["key"] for metric in data["metrics"]}
    assert any("speak other words" in line for line in data["absent"])
    assert (tmp_path / "numbers.md").is_file()


def one_line(capsys) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mytalk:")]
    assert len(lines) == 1
    return lines[0]


def test_mistakes_are_one_line(folders, tmp_path, capsys):
    real, output = str(folders / "real"), ["-o", str(tmp_path / "out")]
    assert main(["evaluate", "--reference", real, "--generated", str(tmp_path / "none"), *output]) == 1
    assert "no such folder" in one_line(capsys)
    (tmp_path / "strangers").mkdir()
    (tmp_path / "strangers" / "three.mp4").write_bytes(b"")
    strangers = ["--generated", str(tmp_path / "strangers")]
    assert main(["evaluate", "--reference", real, *strangers, *output]) == 1
    assert "give them the same names" in one_line(capsys)
    twice = ["--generated", f"a={folders / 'blur1'}", "--generated", f"a={folders / 'blur4'}"]
    assert main(["evaluate", "--reference", real, *twice, *output]) == 1
    assert "NAME=FOLDER" in one_line(capsys)
    same = ["--generated", str(folders / "blur1"), "--skip", "psnr"]
    assert main(["evaluate", "--reference", real, *same, *output]) == 1
    assert "no such metric: psnr" in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_missing_package_of_the_page_is_told_before_the_scoring(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setattr(Evaluation, "run", lambda *a: pytest.fail("videos were scored"))
    environment.cache_clear()
    arguments = ["--reference", str(folders / "real"), "--generated", str(folders / "blur1")]
    assert main(["evaluate", *arguments, "-o", str(tmp_path / "report")]) == 1
    assert 'a page needs jinja2, which is not installed: python -m pip install "mytalk[' in (
        capsys.readouterr().err
    )


def test_unreadable_and_faceless_videos_are_one_line(folders, tmp_path, capsys):
    real, output = str(folders / "real"), ["-o", str(tmp_path / "out"), "--every", "5"]
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "one.mp4").write_bytes(b"this is no video")
    assert main(["evaluate", "--reference", real, "--generated", str(broken), *output]) == 1
    assert "one.mp4" in one_line(capsys)
    write(tmp_path / "empty" / "one.mp4", np.full((2, 256, 256, 3), 80, np.uint8))
    assert main(["evaluate", "--reference", real, "--generated", str(tmp_path / "empty"), *output]) == 1
    assert "one.mp4: a video with a visible face" in one_line(capsys)
    # Beside a clip that can be scored it is a note.
    write(tmp_path / "empty" / "two.mp4", next(FileClip.open(folders / "real" / "two.mp4").frames()))
    assert main(["evaluate", "--reference", real, "--generated", str(tmp_path / "empty"), *output]) == 0
    notes = json.loads((tmp_path / "out" / "report.json").read_text())["notes"]
    assert any(
        note.startswith("empty, one: left out, one.mp4: a video with a visible face") for note in notes
    )


def test_files_pair_by_stem(tmp_path):
    for name in ("real/a.mp4", "real/b.mkv", "made/a.webm", "made/c.mp4", "speech/a.wav", "made/.d.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    clips, notes = pair_files(tmp_path / "real", {"made": tmp_path / "made"}, tmp_path / "speech")
    assert [clip.name for clip in clips] == ["a"]
    assert clips[0].speech == tmp_path / "speech" / "a.wav"
    assert notes == ["made: 1 videos have no reference (c)"]
    (tmp_path / "made" / "a.mp4").write_bytes(b"")
    with pytest.raises(ValueError, match="one name"):
        pair_files(tmp_path / "real", {"made": tmp_path / "made"})
    with pytest.raises(FileNotFoundError, match="no speech for a"):
        (tmp_path / "made" / "a.mp4").unlink()
        (tmp_path / "speech" / "a.wav").unlink()
        pair_files(tmp_path / "real", {"made": tmp_path / "made"}, tmp_path / "speech")


def test_a_cached_track_is_the_same(folders, tmp_path, monkeypatch):
    clip = FileClip.open(folders / "real" / "one.mp4")
    cache = SubjectCache(tmp_path / "cache", load_face_reader())
    first = cache.read(clip, "largest")
    monkeypatch.setattr("mytalk_core.evaluation.cache.read_subject", None)
    second = cache.read(clip, "largest")
    np.testing.assert_array_equal(first.track.present, second.track.present)
    np.testing.assert_allclose(first.track.landmarks[:], second.track.landmarks[:], atol=0.05)
    again = encode_again(clip, tmp_path / "again.mp4")
    assert len(FileClip.open(again)) == len(clip)
    assert FileClip.open(again).has_audio
