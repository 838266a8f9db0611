"""What the preparation leaves out, who it thinks is who, and how it answers mistakes."""

from __future__ import annotations

import json
import shutil

import cv2
import numpy as np
import pytest
from made_clips import SHOT_FRAMES, Clips, pictures_of, write_talking
from mytalk_training.dataset import prepare
from mytalk_training.dataset.filters import Figures, Limits, missed_limit
from mytalk_training.dataset.identities import cluster
from mytalk_training.dataset.samples import read_crops, split_shots
from mytalk_training.dataset.shards import ShardDataset

from mytalk_core.cli import main as cli
from mytalk_core.cli import training as command
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.file_clip import FileClip


def run(clips: Clips, output, *options: str) -> None:
    """Prepare with cached tracks where there are any, shots of 1 s and more."""
    arguments = [str(clips.folder), "-o", str(output), "--tracks", str(clips.tracks), "--min-seconds", "1"]
    prepare.main([*arguments, "--device", "cpu", "--no-crops", *options])


def test_every_limit_has_its_reason():
    good = Figures(5.0, 1.0, 0.9, 120.0, 10.0, 50.0, 0.6, 0.5, -40.0)
    assert missed_limit(good, Limits()) is None
    bad = {
        "too short": {"seconds": 1.9},
        "no face": {"present": 0.0, "face_px": None},
        "face too rarely seen": {"present": 0.89},
        "several faces": {"dominance": 0.5},
        "face too small": {"face_px": 49.0},
        "turned away": {"yaw_deg": 46.0},
        "blurred": {"detail": 1.0},
        "out of sync": {"confidence": 0.01},
        "sound too far off": {"lag_ms": -440.0},
    }
    for why, change in bad.items():
        assert missed_limit(Figures(**{**vars(good), **change}), Limits()) == why
    assert missed_limit(Figures(5.0), Limits()) is None, "what was not measured is not held against a shot"


def test_what_is_left_out_is_reported(clips, tmp_path, capsys):
    folder = tmp_path / "clips"
    shutil.copytree(clips.folder, folder)
    woman, speech = pictures_of("ai_woman", 0), np.zeros(SHOT_FRAMES * 640)
    write_talking(folder / "mute.mp4", woman, None)
    write_talking(folder / "late.mp4", woman, speech)
    write_talking(folder / "empty.mp4", np.full_like(woman, 90), speech)
    write_talking(folder / "blurred.mp4", blurred(woman), speech)
    (folder / "broken.mp4").write_bytes(b"no video at all")
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    shutil.copy(folder / "mute.mp4", folder / "unnamed.mp4")
    rows[0]["sync"] = "not-confirmed"
    rows += [
        {"file": f"{name}.mp4", "sync": "yes"} for name in ("mute", "empty", "blurred", "broken", "gone")
    ]
    rows += [{"file": "elsewhere.mp4", "split": "val"}]
    # More than any memory holds of silence.
    rows += [{"file": "late.mp4", "sync": "yes", "sync_lag_ms": 9e14}]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "out"
    run(Clips(folder, clips.tracks), output, "--min-detail", "15")
    report = json.loads((output / "report.json").read_text())
    reasons = {(row["source"], row["shot"]): row["why"] for row in report["dropped"]}
    assert reasons == {
        ("train/woman.mp4", None): "out of sync",
        ("mute.mp4", None): "no sound",
        ("empty.mp4", None): "no face",
        ("blurred.mp4", 0): "blurred",
        ("broken.mp4", None): "unreadable",
        ("gone.mp4", None): "unreadable",
        ("late.mp4", 0): "sound too far off",
    }
    assert (report["sources"], report["sources_taken"], report["samples"], report["people"]) == (9, 2, 3, 2)
    assert report["left_out"]["unreadable"] == 2
    text = (output / "report.md").read_text()
    assert "| train/woman.mp4 |  | out of sync | its manifest says not-confirmed |" in text
    said = capsys.readouterr()
    assert "3 samples of 2 people" in said.out
    assert "is read as manifest, where 1 of its videos have no place: --layout folder" in said.err


def blurred(pictures: np.ndarray) -> np.ndarray:
    """Pictures seen through frosted glass."""
    return np.stack([cv2.GaussianBlur(picture, (0, 0), 6) for picture in pictures])


def test_an_untracked_clip_is_tracked_and_further_faces_are_seen(clips, tmp_path):
    folder = tmp_path / "clips"
    beside = np.concatenate([pictures_of("ai_woman", 0), pictures_of("cartoon_boy", 0)], axis=2)
    write_talking(folder / "ann" / "beside.mp4", beside, np.zeros(SHOT_FRAMES * 640))
    run(Clips(folder, tmp_path), tmp_path / "out", "--sync", "off")
    (shot,) = json.loads((tmp_path / "out" / "journal" / "00000.jsonl").read_text())["shots"]
    assert shot["why"] == "several faces"
    assert 0.4 < shot["dominance"] < 0.6
    assert shot["present"] == 1


def test_the_expert_judges_where_the_manifest_does_not(clips, tmp_path):
    folder = tmp_path / "clips"
    shutil.copytree(clips.folder, folder)
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    del rows[0]["sync"]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    run(Clips(folder, clips.tracks), tmp_path / "out", "--min-confidence", "-1", "--max-lag-ms", "1000")
    boy, woman = ShardDataset.open(tmp_path / "out").samples
    assert (boy["sync_by"], boy["confidence"]) == ("manifest", None)
    assert (woman["sync_by"], woman["sync"]) == ("expert", "yes")
    assert woman["confidence"] > -1
    assert abs(woman["lag_ms"]) % 40 == 0
    run(Clips(folder, clips.tracks), tmp_path / "strict", "--min-confidence", "5")
    report = json.loads((tmp_path / "strict" / "report.json").read_text())
    assert report["left_out"] == {"out of sync": 1}
    assert report["samples"] == 1


def test_unnamed_people_are_told_apart(clips, tmp_path):
    folder = tmp_path / "clips"
    shutil.copytree(clips.folder / "train", folder)
    shutil.copy(folder / "woman.mp4", folder / "again.mp4")
    tracks = shutil.copytree(clips.tracks, tmp_path / "tracks")
    shutil.copy(tracks / "woman.safetensors", tracks / "again.safetensors")
    run(Clips(folder, tracks), tmp_path / "out", "--sync", "off")
    who = {row["key"]: row["identity"] for row in ShardDataset.open(tmp_path / "out").samples}
    assert who["again"] == who["woman"] == who["both_shot000"] == "person_again"
    assert who["boy"] == who["both_shot001"] == "person_both_shot001"


def test_clusters_are_those_of_average_linkage():
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(6, 32))
    true = generator.integers(6, size=60)
    points = centres[true] + 0.3 * generator.normal(size=(60, 32))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    found = cluster(points, 0.6)
    assert found.max() == 5
    assert all(len(set(found[true == person])) == 1 for person in range(6))
    assert found[0] == 0
    slow = naive_average_linkage(points, 0.93)
    assert [set(np.flatnonzero(cluster(points, 0.93) == n)) for n in range(len(slow))] == slow
    assert cluster(points[:1], 0.5).tolist() == [0]


def naive_average_linkage(points: np.ndarray, threshold: float) -> list[set[int]]:
    """The textbook's: join the two nearest clusters until none are near enough."""
    clusters = [{i} for i in range(len(points))]
    cosine = points @ points.T
    while len(clusters) > 1:
        near = {
            (a, b): cosine[np.ix_(list(clusters[a]), list(clusters[b]))].mean()
            for a in range(len(clusters))
            for b in range(a)
        }
        (a, b), best = max(near.items(), key=lambda item: item[1])
        if best < threshold:
            break
        clusters[b] |= clusters.pop(a)
    return sorted(clusters, key=min)


def test_a_dataset_from_before_a_setting_goes_on_with_its_default(clips, tmp_path):
    run(clips, tmp_path / "out")
    path = tmp_path / "out" / "settings.json"
    settings = json.loads(path.read_text())
    assert settings.pop("shard_mb") == 512
    path.write_text(json.dumps(settings))
    run(clips, tmp_path / "out")
    with pytest.raises(ValueError, match=r"other settings \(shard_mb was 512, now 256\)"):
        run(clips, tmp_path / "out", "--shard-mb", "256")


def test_what_measures_and_recognises_sees_one_pixel_a_unit(clips):
    clip = FileClip.open(clips.folder / "train" / "woman.mp4")
    shot = next(split_shots(FaceTrack.load(clips.tracks / "woman.safetensors"), clip.duration_s))
    small, large = (next(read_crops(clip, shot, 1, size)) for size in (256, 512))
    assert small.units is small.rgb and large.rgb.shape == (512, 512, 3)
    assert large.units.shape == (256, 256, 3)
    assert np.abs(large.units.astype(float) - small.units).mean() < 3


def test_other_settings_into_the_same_dataset_are_refused(clips, tmp_path):
    run(clips, tmp_path / "out")
    with pytest.raises(ValueError, match=r"other settings \(max_yaw_deg was 45.0, now 20.0\)"):
        run(clips, tmp_path / "out", "--max-yaw-deg", "20")
    with pytest.raises(ValueError, match="has no source of --splits val: it has train"):
        run(clips, tmp_path / "out", "--splits", "val")
    with pytest.raises(FileNotFoundError, match="no such folder of tracks"):
        run(Clips(clips.folder, tmp_path / "missing"), tmp_path / "out")


@pytest.mark.parametrize("option", ["--crop-every", "--limit", "--shard-mb"])
def test_a_count_below_one_is_refused_first(clips, tmp_path, option, capsys):
    with pytest.raises(SystemExit):
        run(clips, tmp_path / "out", option, "0")
    assert f"argument {option}: a whole number, 1 or more, was required; got '0'" in capsys.readouterr().err


def test_mytalk_prepare_is_one_clear_line(clips, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setitem(command.PROGRAMS, "prepare", ("nothing_of_that_name.prepare", ""))
        assert cli.main(["prepare", "--sync", "off", str(clips.folder)]) == 1
    assert capsys.readouterr().err.startswith(
        "mytalk: prepare is one of the training programs, which are not"
    )
    assert cli.main(["prepare", str(tmp_path / "missing"), "-o", str(tmp_path / "out")]) == 1
    assert "no such folder of clips" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        cli.main(["prepare", "--help"])
    assert stopped.value.code == 0
    assert "usage: mytalk prepare" in capsys.readouterr().out
    options = ["--tracks", str(clips.tracks), "--min-seconds", "1", "--no-crops", "--limit", "1"]
    assert cli.main(["prepare", str(clips.folder), "-o", str(tmp_path / "out"), *options]) == 0
    assert "2 samples of 1 people" in capsys.readouterr().out
