"""Teeth that the head carries are told from teeth that the lips stretch."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mytalk_core.appearance.square.raster import triangulate
from mytalk_core.appearance.square.warp import MeshWarp
from mytalk_core.evaluation.metrics.teeth import FaceCrop, teeth_stretch
from mytalk_core.face.layout import LandmarkLayout

LAYOUT = LandmarkLayout.load("mesh478")
MESH = triangulate(LAYOUT)
WHOLE = (0, 0, 256, 256)


def shape(opening: float, wide: float = 0.0) -> np.ndarray:
    """A face (256 units) whose lower lip hangs lower by an opening, its mouth wider by a share."""
    points = LAYOUT.template[:, :2].copy()
    half = len(LAYOUT.lips_inner) // 2
    share = np.clip(1 - np.abs(points[:, 0] - 128) / 40, 0, 1)
    lower = np.concatenate([LAYOUT.lips_inner[1:half], LAYOUT.lips_outer[1:half]])
    points[lower, 1] += opening * share[lower]
    lips = np.union1d(LAYOUT.lips_outer, LAYOUT.lips_inner)
    points[lips, 0] += wide * (points[lips, 0] - 128)
    return points.astype(np.float32)


def mouth(points: np.ndarray, teeth: bool = True) -> FaceCrop:
    """Skin, lips, and between them a dark gap behind upper teeth, which stand where the head has them."""
    picture = np.full((256, 256, 3), (200, 150, 130), np.uint8)
    behind = np.full_like(picture, (40, 15, 15))
    top = int(points[LAYOUT.lips_inner, 1].min()) - 3
    for left in range(108, 148, 5) if teeth else ():
        cv2.ellipse(behind, (left, top), (2, 9), 0, 0, 360, (225, 220, 205), -1, cv2.LINE_AA)
    for ring, colour in ((LAYOUT.lips_outer, (170, 60, 70)), (LAYOUT.lips_inner, None)):
        drawn = np.zeros((256, 256), np.uint8)
        cv2.fillPoly(drawn, [np.rint((points[ring] - 0.5) * 16).astype(np.int32)], 1, shift=4)
        picture[drawn > 0] = behind[drawn > 0] if colour is None else colour
    return FaceCrop(cv2.GaussianBlur(picture, (0, 0), 0.7), points)


def stretched(one: FaceCrop, points: np.ndarray) -> FaceCrop:
    """The same mouth, its teeth drawn along with its lips."""
    return FaceCrop(MeshWarp(MESH, points, 256, WHOLE).warp(one.crop, one.landmarks), points)


@pytest.mark.parametrize(("opening", "wide"), [(12, 0.0), (19, -0.15), (18, 0.1)])
def test_real_teeth_stay_with_the_head_and_rubber_ones_go_with_the_lips(opening, wide):
    one, other = mouth(shape(16)), shape(opening, wide)
    assert teeth_stretch(one, mouth(other), MESH) < -2
    assert teeth_stretch(one, stretched(one, other), MESH) > 3


def test_a_head_that_moves_as_a_whole_takes_its_teeth_along():
    one, other = mouth(shape(16)), mouth(shape(12))
    carried = np.float32([[1.02, 0.03, -6], [-0.03, 1.02, 4]])
    crop = cv2.warpAffine(other.crop, carried, (256, 256), flags=cv2.INTER_CUBIC)
    # Pixel centres lie at half a unit.
    points = (other.landmarks - 0.5) @ carried[:, :2].T + carried[:, 2] + 0.5
    assert teeth_stretch(one, FaceCrop(crop, points.astype(np.float32)), MESH) < -2


def test_nothing_is_said_without_teeth_or_where_lips_keep_their_shape():
    one = mouth(shape(16))
    assert teeth_stretch(one, mouth(shape(-2)), MESH) is None
    assert teeth_stretch(one, mouth(shape(12), teeth=False), MESH) is None
    assert teeth_stretch(one, mouth(shape(16)), MESH) is None
