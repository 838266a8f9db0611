"""Layouts of published datasets: recognised by their files, read for person, split and sound."""

from __future__ import annotations

import json

import pytest
from mytalk_training.dataset.adapters import MAX_KEY, find_sources, left_out, shot_key


def make(folder, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def by_key(folder, layout: str = "auto"):
    name, sources = find_sources(folder, layout)
    assert [s.key for s in sources] == sorted(s.key for s in sources)
    return name, {s.key: s for s in sources}


def test_manifest(tmp_path):
    rows = [
        {"id": "a", "file": "x/1.mp4", "identity": "Ann", "split": "val", "sync": "yes", "sync_lag_ms": -40},
        {"file": "x/2.mp4", "language": "de", "sync": ""},
    ]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    name, found = by_key(tmp_path)
    assert name == "manifest"
    ann, other = found["a"], found["x_2"]
    assert (ann.identity, ann.split, ann.sync, ann.lag_ms) == ("Ann", "val", "yes", -40)
    assert (other.identity, other.language, other.sync, other.lag_ms) == (None, "de", None, None)
    (tmp_path / "manifest.jsonl").write_text('{"file": "a.mp4"}\n{"id": "b"}\n')
    with pytest.raises(ValueError, match="line 2: a JSON object with `file` was required"):
        find_sources(tmp_path)


def test_a_manifest_that_names_a_clip_twice(tmp_path):
    rows = [{"file": "1.mp4", "identity": "Ann"}, {"file": "1.mp4", "identity": "Ann"}]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert set(by_key(tmp_path)[1]) == {"1"}


def test_voxceleb2_with_its_sound_apart(tmp_path):
    make(tmp_path, "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4", "test/mp4/id00017/01dfn2spqyE/00002.mp4")
    make(tmp_path, "dev/aac/id00012/21Uxsk56VDQ/00001.m4a")
    name, found = by_key(tmp_path)
    assert name == "voxceleb2"
    one, other = found["id00012_21Uxsk56VDQ_00001"], found["id00017_01dfn2spqyE_00002"]
    assert (one.identity, one.split) == ("id00012", "train")
    assert one.speech.as_posix() == "dev/aac/id00012/21Uxsk56VDQ/00001.m4a"
    assert (other.identity, other.split, other.speech) == ("id00017", "test", None)


def test_talking_head_1kh(tmp_path):
    clip = "-Y9imYnfBwA_0000_S0_E1276_L223_T55_R623_B455"
    make(tmp_path, f"val/cropped_clips/{clip}.mp4", "val/raw_videos/-Y9imYnfBwA.mp4")
    name, found = by_key(tmp_path)
    assert name == "talkinghead-1kh"
    assert set(found) == {clip}
    assert (found[clip].identity, found[clip].split) == ("-Y9imYnfBwA", "val")


def test_hdtf_as_its_downloader_names_clips(tmp_path):
    make(tmp_path, "WDA_AmyKlobuchar0_000.mp4", "WDA_AmyKlobuchar1_003.mp4", "RD_Radio11_000.mp4")
    make(tmp_path, "_videos_raw/WDA_AmyKlobuchar0.mp4", "WRA_MikeLee_000.mp4", "WRA_MikeLee_000.wav")
    name, found = by_key(tmp_path)
    assert name == "hdtf"
    assert {key: s.identity for key, s in found.items()} == {
        "RD_Radio11_000": "Radio11",
        "WDA_AmyKlobuchar0_000": "AmyKlobuchar",
        "WDA_AmyKlobuchar1_003": "AmyKlobuchar",
        "WRA_MikeLee_000": "MikeLee",
    }
    assert found["WRA_MikeLee_000"].speech.name == "WRA_MikeLee_000.wav"
    assert left_out(tmp_path, found.values()) == 1


def test_hdtf_as_its_annotations_name_clips(tmp_path):
    make(tmp_path, "clips/BarackObama_0.mp4", "clips/Radio2_1.mp4", "clips/somebody_3.mp4")
    for subset, line in (("WDA", "BarackObama.mp4 00:30-01:20"), ("RD", "Radio2.mp4 0:05-0:50 1:00-2:00")):
        path = tmp_path / "HDTF_dataset" / f"{subset}_annotion_time.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes((line + "\r\n").encode("utf-8-sig"))
    _, found = by_key(tmp_path)
    assert {key: s.identity for key, s in found.items()} == {
        "WDA_BarackObama_000": "BarackObama",
        "RD_Radio2_001": "Radio2",
    }


@pytest.mark.parametrize(("dataset", "layout"), [("celebvhq", "celebv-hq"), ("celebvtext", "celebv-text")])
def test_celebv(tmp_path, dataset, layout):
    clips = {"M2Ohb0FAaJU_1": {"ytb_id": "M2Ohb0FAaJU"}, "-kLS1WvRnQt_5_0": {"ytb_id": "-kLS1WvRnQt"}}
    (tmp_path / f"{dataset}_info.json").write_text(json.dumps({"clips": clips}))
    folder = f"downloaded_{dataset}"
    make(tmp_path, *(f"{folder}/processed/{clip}.mp4" for clip in clips), f"{folder}/raw/M2Ohb0FAaJU.mp4")
    name, found = by_key(tmp_path)
    assert name == layout
    assert {key: s.identity for key, s in found.items()} == {k: v["ytb_id"] for k, v in clips.items()}
    (tmp_path / f"{dataset}_info.json").unlink()
    assert by_key(tmp_path)[1].keys() == found.keys(), "the folder's name alone is enough"


@pytest.mark.parametrize("form", ["csv", "version1", "version2"])
def test_casual_conversations(tmp_path, form):
    make(tmp_path, "CasualConversationsA/1140/1140_02.MP4", "CasualConversationsB/2333/2333_01.MP4")
    if form == "csv":
        text = "subject_id,file\n1140,CasualConversationsA/1140/1140_02.MP4\n2333,2333_01.mp4\n9,gone.mp4\n"
        (tmp_path / "CasualConversations.csv").write_text(text)
    elif form == "version1":
        files = {"1140": ["CasualConversationsA/1140/1140_02.MP4"], "2333": ["x/2333_01.MP4"]}
        data = {subject: {"files": names, "label": {}} for subject, names in files.items()}
        (tmp_path / "CasualConversations.json").write_text(json.dumps(data))
    else:
        data = [{"video_name": "1140_02.MP4", "subject_id": 1140}]
        data += [{"video_name": "2333_01", "subject_id": "2333"}]
        (tmp_path / "CasualConversationsV2.json").write_text(json.dumps(data))
    name, found = by_key(tmp_path)
    assert name == "casual-conversations"
    assert sorted(s.identity for s in found.values()) == ["1140", "2333"]
    if form == "csv":
        (tmp_path / "CasualConversations.csv").write_text("name,age\nx,3\n")
        with pytest.raises(
            ValueError, match="columns file .* and subject_id were required; it has name, age"
        ):
            find_sources(tmp_path)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_casual_conversations_by_tables_from_windows(tmp_path, form):
    make(tmp_path, "A/1140/1140_02.MP4", "B/2333/2333_01.MP4")
    rows = [("A\\1140\\1140_02.MP4", "1140"), ("B\\2333\\2333_01.MP4", ""), ("B\\2333\\2333_01.MP4", "")]
    if form == "csv":
        text = "\n".join(["file,subject_id", *(",".join(row) for row in rows)])
    else:
        text = json.dumps([{"video_name": name, "subject_id": subject or None} for name, subject in rows])
    table = tmp_path / f"CasualConversations.{form}"
    table.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    _, found = by_key(tmp_path)
    assert {key: s.identity for key, s in found.items()} == {
        "A_1140_1140_02": "1140",
        "B_2333_2333_01": None,
    }


def test_folders_that_are_links(tmp_path):
    make(tmp_path / "elsewhere", "train/ann/1.mp4", "train/ann/2.mp4")
    make(tmp_path / "clips", "ben/1.mp4")
    (tmp_path / "clips" / "train").symlink_to(tmp_path / "elsewhere" / "train")
    # Ways to what is here already, and round in a circle.
    (tmp_path / "clips" / "a_ben").symlink_to(tmp_path / "clips" / "ben")
    (tmp_path / "elsewhere" / "train" / "up").symlink_to(tmp_path / "clips")
    name, found = by_key(tmp_path / "clips")
    assert name == "folder"
    assert {key: s.identity for key, s in found.items()} == {
        "ben_1": "ben",
        "train_ann_1": "ann",
        "train_ann_2": "ann",
    }


def test_plain_folder(tmp_path):
    make(tmp_path, "train/ann/1.mp4", "train/ann/2.mov", "val/ben/1.mkv", "loose.webm", "notes.txt")
    make(tmp_path, ".cache/1.mp4")
    name, found = by_key(tmp_path)
    assert name == "folder"
    assert {key: (s.identity, s.split) for key, s in found.items()} == {
        "loose": (None, None),
        "train_ann_1": ("ann", "train"),
        "train_ann_2": ("ann", "train"),
        "val_ben_1": ("ben", "val"),
    }


def test_keys_are_unique_and_fit_an_archive(tmp_path):
    long = "x" * 200
    make(
        tmp_path, "a/b.mp4", "a_b.mp4", "a b.mp4", "a.v2.mp4", "a_shot001.mp4", f"{long}1.mp4", f"{long}2.mp4"
    )
    _, found = by_key(tmp_path)
    assert len(found) == 7
    for key in found:
        assert len(key) <= MAX_KEY
        assert not set(key) & set(". /")
    shots = {shot_key(key, number, 2) for key in found for number in range(2)}
    assert not shots & set(found)


def test_what_is_finished_keeps_its_key(tmp_path):
    make(tmp_path, "a.mp4")
    finished = {"a": "a.mp4"}
    make(tmp_path, "a.mov")
    keys = {s.path.name: s.key for s in find_sources(tmp_path, finished=finished)[1]}
    assert keys["a.mp4"] == "a" and keys["a.mov"].startswith("a_")
    # Both are finished now, whichever stays.
    finished[keys["a.mov"]] = "a.mov"
    (tmp_path / "a.mp4").unlink()
    assert [s.key for s in find_sources(tmp_path, finished=finished)[1]] == [keys["a.mov"]]


def test_a_layout_that_does_not_fit_is_refused(tmp_path):
    make(tmp_path, "1.mp4")
    with pytest.raises(ValueError, match="does not look like voxceleb2"):
        find_sources(tmp_path, "voxceleb2")
    with pytest.raises(ValueError, match=r"a layout is one of auto, manifest, .*; got 'vox'"):
        find_sources(tmp_path, "vox")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find_sources(tmp_path / "missing")
    (tmp_path / "1.mp4").unlink()
    with pytest.raises(FileNotFoundError, match="has no video in the folder layout"):
        find_sources(tmp_path)
