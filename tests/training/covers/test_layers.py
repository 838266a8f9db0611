"""What is laid over faces: hair is thin and passes its place, folded hands are two."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from made_hand import write_hand
from mytalk_training.covers import layers
from mytalk_training.covers.hand_mesh import HandMesh
from mytalk_training.covers.layers import cut_out_hands, drawn_hand, strands

AT, MIDDLE, SKIN = np.array([60, 70]), np.array([64.0, 66.0]), np.array([190.0, 150.0, 130.0])


@pytest.mark.parametrize("seed", range(12))
def test_hair_is_thin_and_passes_its_place(seed):
    layer = strands(AT, np.random.default_rng(seed))
    there = (layer.alpha > 0.1).astype(np.uint8)
    assert layer.picture.shape == (128, 128, 3) and 0.1 < layer.alpha.max() <= 1
    about = there[AT[1] - 24 : AT[1] + 25, AT[0] - 24 : AT[0] + 25]
    assert about.any()
    # Some strands lie over one another; none is as thick as a finger.
    assert cv2.distanceTransform(there, cv2.DIST_L2, 5).mean() < 3
    # Beside a strand there is a shade of its own colour, or its edge would have a rim.
    beside = cv2.dilate(there, np.ones((3, 3))) > there
    tones = [layer.picture[part].mean(0) / layer.picture[part].mean() for part in (beside, there > 0)]
    assert np.abs(tones[0] - tones[1]).max() < 0.15


def test_folded_hands_are_one_hand_and_its_mirror_image(tmp_path, monkeypatch):
    write_hand(tmp_path / "hand.glb")
    hand = HandMesh.open(tmp_path / "hand.glb").drawn(np.random.default_rng(0))
    shapes = []
    for folded in (0.0, 1.0):
        monkeypatch.setattr(layers, "FOLDED", folded)
        alpha = drawn_hand(hand, AT, MIDDLE, SKIN, np.random.default_rng(1)).alpha
        shapes.append(alpha > 0.5)
    one, two = shapes
    assert (two & one).sum() == one.sum() < two.sum()
    own = np.flatnonzero(two.any(0))
    about = range(own[0], own[-1] + 1)
    likes = [_likeness(two, column) for column in about]
    assert max(likes) > 0.9 > max(_likeness(one, column) for column in about)


def _likeness(shape: np.ndarray, column: int) -> float:
    """How much of a shape (h, w) and its mirror image about a column they share, of either that has one."""
    wide = min(column, shape.shape[1] - 1 - column)
    left, right = shape[:, column - wide : column], shape[:, column + 1 : column + 1 + wide][:, ::-1]
    return float((left & right).sum() / max((left | right).sum(), 1))


def test_a_picture_of_a_hand_without_alpha_is_one_line(tmp_path):
    cv2.imwrite(str(tmp_path / "hand.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ValueError, match=r"hand\.png: a picture with alpha was required"):
        [*cut_out_hands(tmp_path)]
