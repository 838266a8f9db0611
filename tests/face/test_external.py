"""Faces found elsewhere: joined over time as our own tracker would, and chosen by a point."""

from __future__ import annotations

import numpy as np
import pytest

from mytalk_core.face.external import find_shots, join_faces, with_depth
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.picture import Picture

TEMPLATE = LandmarkLayout.load("mesh478").template


def face(x: float, y: float, scale: float = 1.0) -> np.ndarray:
    """The mean face (478, 3) in the frame around (x, y)."""
    centred = TEMPLATE - TEMPLATE.mean(0)
    return (centred * scale + [x, y, 0]).astype(np.float32)


def two_people(frames: int = 12) -> list[list[np.ndarray]]:
    """A smaller face that moves at the left, a larger one at the right, in changing order."""
    pairs = [[face(200 + 3 * t, 300, 0.8), face(700, 320 + 2 * t, 1.2)] for t in range(frames)]
    return [pair[::-1] if t % 2 else pair for t, pair in enumerate(pairs)]


@pytest.fixture
def times() -> np.ndarray:
    return np.arange(12) / 25


def test_each_face_is_followed_whatever_the_order(times):
    faces = join_faces(two_people(), times, np.zeros(12, np.int32))
    left = faces.choose("left")
    assert left.present.all()
    np.testing.assert_allclose(
        left.landmarks[:][:, 1], [pair[0][1] for pair in map(sort_by_x, two_people())], atol=0.1
    )
    np.testing.assert_allclose(faces.choose("largest").landmarks[3], face(700, 326, 1.2), atol=0.1)


def sort_by_x(faces: list[np.ndarray]) -> list[np.ndarray]:
    return sorted(faces, key=lambda points: points[:, 0].mean())


@pytest.mark.parametrize("point, x", [((150.0, 290.0), 200), ((640.0, 500.0), 700)])
def test_the_face_nearest_to_a_point_is_chosen(times, point, x):
    track = join_faces(two_people(), times, np.zeros(12, np.int32)).choose(point)
    assert track.landmarks[0][:, 0].mean() == pytest.approx(x, abs=1)


def test_frames_without_the_face_are_absent(times):
    frames = two_people()
    frames[5] = []
    track = join_faces(frames, times, np.zeros(12, np.int32)).choose("largest")
    assert np.flatnonzero(~track.present).tolist() == [5]


def test_landmarks_of_other_frames_are_refused(times):
    with pytest.raises(ValueError, match="same frames"):
        join_faces(two_people(9), times, np.zeros(12, np.int32))


def test_a_cut_begins_a_new_shot():
    dark, bright = np.zeros((3, 40, 60, 3), np.uint8), np.full((2, 40, 60, 3), 200, np.uint8)
    pictures = [Picture.from_rgb(*numbered) for numbered in enumerate([*dark, *bright])]
    assert find_shots(pictures).tolist() == [0, 0, 0, 1, 1]


def test_depth_comes_back_in_pixels():
    points = face(500, 400, 1.7)
    model = TEMPLATE * 0.75
    restored = with_depth(points[:, :2], model)
    np.testing.assert_allclose(np.ptp(restored[:, 2]), np.ptp(points[:, 2]), rtol=1e-4)
