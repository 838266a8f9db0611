"""Pictures of clips are laid beside the usual face; moments with something before it are left out."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from mytalk_training.covers import prepare
from mytalk_training.covers.data import ComparedFaces, people_of


@pytest.fixture(scope="module")
def faces(clips, tmp_path_factory):
    """What is made of the examples' clips, and the folder of it."""
    out = tmp_path_factory.mktemp("faces")
    covered = out / "covered.jsonl"
    covered.write_text("".join(json.dumps({"name": "boy", "frame": frame}) + "\n" for frame in range(200)))
    flags = ["--leave-out", "both", "--covered", str(covered), "--pictures", "6"]
    prepare.main([str(clips.folder), "-o", str(out), *flags])
    return out


def test_each_clip_gives_a_file_but_those_left_out(faces):
    assert people_of(faces) == {"woman": "woman"}


def test_the_usual_face_lies_on_the_picture_s(faces):
    woman = ComparedFaces.open(faces / "woman.safetensors")
    assert 4 <= len(woman) <= 6
    for picture, usual, gain, near in zip(woman.picture, woman.usual, woman.gain, woman.near, strict=True):
        known = (usual[..., 3] < 128) & (near > 127)
        assert known.sum() > 0.8 * (near > 127).sum()
        away = np.abs(picture - usual[..., :3] * gain)[known]
        assert np.median(away) < 6 and away.mean() < np.abs(picture[known] - picture[known].mean(0)).mean()


def test_what_is_there_already_stays(faces, clips):
    before = (faces / "woman.safetensors").stat().st_mtime_ns
    prepare.main([str(clips.folder), "-o", str(faces), "--leave-out", "both", "boy"])
    assert (faces / "woman.safetensors").stat().st_mtime_ns == before


def test_clips_of_one_name_in_two_folders_are_both_there(clips, tmp_path):
    """As nearly all of VoxCeleb2 are."""
    for person in ("ann", "bob"):
        (tmp_path / "clips" / person).mkdir(parents=True)
        shutil.copy(clips.folder / "train" / "woman.mp4", tmp_path / "clips" / person / "0001.mp4")
    prepare.main([str(tmp_path / "clips"), "-o", str(tmp_path / "faces"), "--pictures", "2"])
    assert people_of(tmp_path / "faces") == {"ann_0001": "ann", "bob_0001": "bob"}
    prepare.main([str(tmp_path / "clips"), "-o", str(tmp_path / "few"), "--leave-out", "0001"])
    assert not list((tmp_path / "few").iterdir())
