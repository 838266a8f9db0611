"""What a face expresses is told, and given to another."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.packed import PackedLandmarks
from mytalk_core.face.track import FaceTrack, build_track
from mytalk_core.motion.emotion import PEOPLE, Identity, emotion_channels, emotion_shift
from mytalk_core.motion.generate import MotionModel, MotionOptions, generate_motion, identify
from mytalk_core.motion.motion import Motion
from mytalk_core.motion.person import Person, find_rest, interocular, opening_ratio
from mytalk_core.motion.space import LandmarkSpace

LAYOUT = LandmarkLayout.load("mesh478")
CORNERS = [61, 291]


def face(raised: float = 0.0, wider: float = 0.0, nose: float = 0.0) -> np.ndarray:
    """Most people's face (478,3); corners that much higher and further apart, and a mouth that much lower
    under the nose, inter-ocular distances."""
    shape = load_file(PEOPLE)["mean"].astype(np.float32)
    unit = interocular(shape)
    half = np.ptp(shape[CORNERS, 0]) / 2
    aside = ((shape[:, 0] - shape[CORNERS, 0].mean()) / half).clip(-1.3, 1.3)
    lower = np.zeros(len(shape), bool)
    lower[LAYOUT.lower] = True
    near = lower * np.exp(-0.5 * ((shape[:, 1] - shape[CORNERS, 1].mean()) / (0.4 * unit)) ** 2)
    shape[:, 1] -= raised * unit * aside**2 * near
    shape[:, 0] += wider * unit * aside * near
    shape[:, 1] += nose * unit * lower
    return shape


def track(shape: np.ndarray) -> FaceTrack:
    landmarks = np.repeat(shape[None], 10, 0) * 2 + 100
    return build_track(
        PackedLandmarks.pack(landmarks), np.ones(10, bool), np.arange(10) / 25, np.zeros(10, np.int32)
    )


def corner_height(shape: np.ndarray) -> np.ndarray:
    """Of the corners over the lips' middle, inter-ocular distances: (...,N,2 or 3) -> (...)."""
    middle = shape[..., [13, 14], 1].mean(-1)
    return (middle - shape[..., CORNERS, 1].mean(-1)) / interocular(shape)


@pytest.fixture(scope="module")
def model() -> MotionModel:
    return MotionModel.from_pretrained("mini")


def shifted(space: LandmarkSpace, other: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Most people's face that expresses what another does."""
    neutral, reference = track(face()), track(other)
    person = find_rest(neutral)
    own = emotion_channels(space, neutral, person)
    emotion = emotion_channels(space, reference, find_rest(reference))
    return person.rest + emotion_shift(space, own, emotion, strength) * person.mouth_width


def test_a_smile_goes_over_by_its_strength(model):
    own, smile = face(), face(raised=0.06, wider=0.05)
    heights = [corner_height(shifted(model.space, smile, s)) for s in (0.0, 0.5, 1.0, 2.0)]
    assert heights[0] == pytest.approx(corner_height(own), abs=1e-3)
    assert (np.diff(heights) > 0.008).all()
    # More than a third of what the other shows, and no more.
    told = (heights[2] - heights[0]) / (corner_height(smile) - corner_height(own))
    assert 0.35 < told < 1.1
    made = shifted(model.space, smile)
    assert np.ptp(made[CORNERS, 0]) > np.ptp(shifted(model.space, own)[CORNERS, 0]) + 0.01 * interocular(own)


def test_a_frown_lowers_the_corners(model):
    frown = shifted(model.space, face(raised=-0.05))
    assert corner_height(frown) < corner_height(face()) - 0.015


def test_a_wider_mouth_is_no_raised_one(model):
    own = shifted(model.space, face())
    for wider in (-0.05, 0.05):
        made = shifted(model.space, face(wider=wider))
        assert (np.ptp(made[CORNERS, 0]) - np.ptp(own[CORNERS, 0])) / wider > 1.2 * interocular(own)
        assert abs(corner_height(made) - corner_height(own)) < 0.005


def test_another_face_is_less_of_an_expression(model):
    """A long upper lip is somebody's face and stays theirs, mostly."""
    own = face()
    made = shifted(model.space, face(nose=0.08))
    lowered = (made[CORNERS, 1].mean() - own[CORNERS, 1].mean()) / interocular(own)
    assert abs(lowered) < 0.04
    assert abs(corner_height(made) - corner_height(own)) < 0.01


def test_the_gap_between_the_lips_and_the_eyes_stay(model):
    own, made = face(), shifted(model.space, face(raised=0.06))
    assert opening_ratio(made) == pytest.approx(opening_ratio(own), abs=2e-3)
    assert np.abs((made - own)[LAYOUT.upper]).max() < 0.05


def spoken(model: MotionModel, identity: Identity | None, strength: float = 1.0) -> Motion:
    tone = np.sin(np.arange(6400) / 20).astype(np.float32)
    options = MotionOptions(steps=1, emotion_strength=strength)
    return generate_motion(model, tone, track(face()), 10, options, identity)


def test_who_speaks_takes_on_what_a_reference_expresses(model):
    smile = identify(model, track(face(raised=0.06, wider=0.05)))
    alone, none, whole = spoken(model, None), spoken(model, smile, 0.0), spoken(model, smile)
    assert np.array_equal(none.landmarks, alone.landmarks)

    def height(motion: Motion) -> float:
        full = np.repeat(face()[None, :, :2], 10, 0)
        full[:, motion.points] = motion.landmarks
        return float((full[:, [13, 14], 1].mean(1) - full[:, CORNERS, 1].mean(1)).mean())

    assert height(whole) > height(alone) + 0.5
    own = identify(model, track(face()))
    np.testing.assert_allclose(spoken(model, own).landmarks, alone.landmarks, atol=1e-3)


def test_people_come_in_every_layout(model):
    dense = LandmarkLayout.load("dense669")
    assert Person(dense.from_source(face()), dense.name).mouth_width > 10
