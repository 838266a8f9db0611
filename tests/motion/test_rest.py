"""Lips that meet, and people whose mouth is never closed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.packed import PackedLandmarks
from mytalk_core.face.track import FaceTrack, build_track
from mytalk_core.motion.person import Person, find_rest, interocular, opening_ratio
from mytalk_core.motion.rest import closed_displacement, rest_of
from mytalk_core.motion.space import LandmarkSpace

LAYOUT = LandmarkLayout.load("mesh478")


@pytest.fixture(scope="module")
def space() -> LandmarkSpace:
    return LandmarkSpace.from_pretrained("mini", "space")


def face(opening: float) -> np.ndarray:
    """A face (478,3) that opens its closed mouth by about that many inter-ocular distances, as filmed faces
    do: along the first of the bundled model's channels."""
    space = LandmarkSpace.from_pretrained("mini", "space")
    person = Person(LAYOUT.template, LAYOUT.name)
    closed = LAYOUT.template + closed_displacement(space, person) * person.mouth_width
    moved = space.decode_lower(torch.eye(space.config.lower)[:1])[0] * person.mouth_width
    a_unit = opening_ratio(closed + moved) - opening_ratio(closed)
    return closed + opening / a_unit * moved


def track(openings: list[float]) -> FaceTrack:
    closed, open_ = face(0.0), face(1.0)
    landmarks = np.stack([closed + opening * (open_ - closed) for opening in openings]).astype(np.float32)
    count = len(openings)
    present, shots = np.ones(count, bool), np.zeros(count, np.int32)
    return build_track(PackedLandmarks.pack(landmarks), present, np.arange(count) / 25, shots)


def closed(openings: list[float], space: LandmarkSpace) -> tuple[np.ndarray, np.ndarray]:
    """Rest shape and closed shape (478,3)."""
    person = rest_of(track(openings), space)
    return person.rest, person.rest + closed_displacement(space, person) * person.mouth_width


def test_who_closes_the_mouth_keeps_the_rest_it_shows(space):
    shown = track([0.0] * 8 + [0.15] * 32)
    assert np.array_equal(rest_of(shown, space).rest, find_rest(shown).rest)


@pytest.mark.parametrize("opening", [0.1, 0.2])
def test_a_mouth_that_never_closes_rests_nearly_closed(space, opening):
    shown = track([opening] * 10)
    assert opening_ratio(find_rest(shown).rest) > 0.8 * opening
    rest = rest_of(shown, space).rest
    assert opening_ratio(rest) < 0.045
    # The lower lip and the chin come up, the eyes and the nose stay.
    shift = rest - find_rest(shown).rest
    assert shift[[17, 152], 1].max() < -0.2 * opening * interocular(rest)
    assert np.abs(shift)[LAYOUT.anchors].max() < 1e-3


@pytest.mark.parametrize("openings", [[0.0] * 10, [0.05] * 10, [0.12] * 10, [0.0] * 5 + [0.2] * 30])
def test_lips_meet_and_keep_their_thickness(space, openings):
    rest, shape = closed(openings, space)
    assert opening_ratio(shape[:, :2]) < 0.005

    def thickness(points: np.ndarray) -> np.ndarray:
        return np.array([points[17, 1] - points[14, 1], points[13, 1] - points[0, 1]])

    ratio = thickness(shape) / thickness(face(openings[0]))
    assert (ratio > 0.7).all() and (ratio < 1.35).all(), ratio
    corners = np.linalg.norm(shape[[61, 291], :2] - rest[[61, 291], :2], axis=1)
    assert corners.max() < 0.08 * interocular(rest)


def test_the_lips_of_a_mouth_that_stands_askew_meet_whatever_way_it_is_seen(space):
    shown = face(0.03)
    lower = LAYOUT.lips_inner[1 : len(LAYOUT.lips_inner) // 2]
    shown[lower] += np.array([0.02, 0, 0.03]) * interocular(shown)
    person = Person(shown.astype(np.float32), LAYOUT.name)
    shape = person.rest + closed_displacement(space, person) * person.mouth_width
    for yaw in (-0.6, 0.0, 0.6):
        turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        assert opening_ratio((shape @ turn.T)[:, :2]) < 0.002
