"""Scenes of faces with something before them: what is laid over a face is labelled, and nothing else is."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from made_hand import write_hand
from mytalk_training.covers import data
from mytalk_training.covers.data import ComparedFaces, CoverScenes, people_of
from mytalk_training.covers.hand_mesh import HandMesh
from mytalk_training.covers.train import build, parse
from program_runs import write_faces

COUNT = 40
SHARES = {"nothing": (1.0, 0.0, 0.0), "one": (0.0, 1.0, 0.0)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("covers")
    write_faces(folder / "faces")
    write_hand(folder / "hand.glb")
    return folder


@pytest.fixture(scope="module")
def scenes(folder) -> CoverScenes:
    mesh, rng = HandMesh.open(folder / "hand.glb"), np.random.default_rng(0)
    hand = np.dstack([np.full((60, 40, 3), (190, 140, 120), np.uint8), np.full((60, 40), 255, np.uint8)])
    paths = sorted((folder / "faces").glob("*"))
    return CoverScenes(paths, [mesh.drawn(rng) for _ in range(8)], [hand], seed=0)


def test_what_is_laid_over_a_face_is_labelled_where_it_is(scenes, monkeypatch):
    monkeypatch.setattr(data, "SHARES", SHARES["one"])
    monkeypatch.setattr(data, "STANDS", 0.02)
    for name in ("_shadowed", "_lit", "_misread", "_other_mouth", "_creased"):
        monkeypatch.setattr(data, name, lambda picture, *_: picture)
    for name in ("_bearded", "_dragged"):
        monkeypatch.setattr(data, name, lambda one, other, *_: (one, other))
    batch = scenes.draw([*range(COUNT)])
    labels, inputs = batch.covered.numpy().astype(np.uint8), batch.inputs.numpy()
    assert labels.any((1, 2)).mean() > 0.9
    # Beside it the smooth face is as usual but for the light's colour.
    ratio, shares = (inputs[:, :3] + 1) / (inputs[:, 3:6] + 1), []
    for label, one in zip(labels, ratio, strict=True):
        free = cv2.dilate(label, np.ones((25, 25))) == 0
        if not free.any():
            continue
        light = one[:, free].mean(1)
        assert one[:, free].std(1).max() < 0.01
        changed = np.abs(one - light[:, None, None]).max(0) > 0.05
        assert not changed[free].any()
        shares.append(changed[label > 0].mean() if label.any() else 1.0)
    # Some things are of the face's own colour.
    assert np.mean(shares) > 0.8


def test_a_face_with_nothing_before_it_is_labelled_free(scenes, monkeypatch):
    monkeypatch.setattr(data, "SHARES", SHARES["nothing"])
    batch = scenes.draw([*range(COUNT)])
    assert not batch.covered.any()
    assert set(np.unique(batch.weight.numpy())) == {data.BACKGROUND, 1.0}


def test_scenes_depend_on_their_number_alone(scenes):
    whole, part = scenes.draw([3, 4, 5]), scenes.draw([4])
    for name in ("inputs", "covered", "weight"):
        np.testing.assert_array_equal(getattr(whole, name)[1], getattr(part, name)[0])
    assert (whole.inputs[0] != whole.inputs[1]).any()


def test_what_colour_finds_covered_teaches_nothing(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(data, "SHARES", SHARES["nothing"])
    faces = ComparedFaces.open(folder / "faces" / "clip0.safetensors")
    covered = faces.covered.copy()
    covered[0, 100:104, 60:70] = 255
    covered[1] = 255
    fields = {**vars(faces), "covered": covered}
    ComparedFaces(**fields).pack(tmp_path / "clip.safetensors", "somebody")
    scenes = CoverScenes([tmp_path / "clip.safetensors"], [], [], seed=0)
    assert len(scenes.faces[0]) == 1
    assert ((scenes.draw([*range(COUNT)]).weight == 0).sum((1, 2)) == 40).all()


def test_whose_faces_they_are_is_read_from_the_files(folder, tmp_path):
    assert people_of(folder / "faces")["clip3"] == "person 3"
    with pytest.raises(FileNotFoundError, match=r"covers\.prepare writes was required"):
        people_of(tmp_path)


def test_nobody_that_is_learned_from_gives_the_figures(folder, tmp_path):
    """Of one person, whose name does not keep them apart, there is nobody else to look at."""
    shutil.copy(folder / "faces" / "clip0.safetensors", tmp_path)
    argv = [str(tmp_path), "-o", "RUN", "--hand", str(folder / "hand.glb"), "--drawn", "2"]
    state, scenes = build(SimpleNamespace(network=lambda module: None), parse(argv))
    assert len(scenes.faces) == 1 and state.held is None
