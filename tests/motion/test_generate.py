"""What is asked for reaches the network and the mouth: options, silence, sounds on which lips meet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_manner import speaking
from test_rest import LAYOUT, track

from mytalk_core.face.track import FaceTrack
from mytalk_core.motion import generate
from mytalk_core.motion.emotion import Identity
from mytalk_core.motion.generate import (
    MotionModel,
    MotionOptions,
    generate_motion,
    generated_share,
    manner_gain,
)
from mytalk_core.motion.manner import Manner
from mytalk_core.motion.person import opening_ratio

FRAMES, SPOKEN, MEETS = 80, slice(15, 65), 40


@pytest.fixture(scope="module")
def model() -> MotionModel:
    return MotionModel.from_pretrained("mini")


@pytest.fixture(scope="module")
def face() -> FaceTrack:
    return track(speaking(0.2, FRAMES))


@pytest.fixture
def channels(model) -> torch.Tensor:
    """What the network says: a mouth that opens and shuts."""
    channels = torch.zeros(FRAMES, model.space.config.lower)
    channels[:, 0] = 1 + torch.sin(torch.arange(FRAMES) / 2)
    return channels


@pytest.fixture
def asked(channels, monkeypatch) -> dict:
    """The network and the detectors answer at once; what the network is asked for."""
    asked, presence, share = {}, np.zeros(FRAMES, np.float32), np.zeros(FRAMES, np.float32)
    presence[SPOKEN], share[MEETS] = 1, 1
    monkeypatch.setattr(
        generate, "sample_motion", lambda *_, **options: asked.update(options) or channels.clone()
    )
    monkeypatch.setattr(generate, "speech_presence", lambda mono_16k, frames: presence)
    monkeypatch.setattr(generate, "closure_share", lambda features: share)
    return asked


def made(model: MotionModel, face: FaceTrack, **options: object) -> np.ndarray:
    """Landmarks (F,P,2), by default the likeliest of most people's."""
    options = {"temperature": 0.0, "manner": "model"} | options
    return generate_motion(
        model, np.zeros(FRAMES * 640, np.float32), face, FRAMES, MotionOptions(**options)
    ).landmarks


def openings(landmarks: np.ndarray, face: FaceTrack) -> np.ndarray:
    shown = face.canonical[np.arange(FRAMES)].copy()
    shown[:, LAYOUT.lower] = landmarks
    return opening_ratio(shown)


def test_what_is_asked_of_the_sampling_reaches_the_network(model, face, asked):
    options = {"steps": 7, "guidance": 2.5, "sampler": "ddim", "seed": 9, "temperature": 0.4}

    def progress(done: int, total: int) -> None:
        """A host's, which may cancel."""

    sound = np.zeros(FRAMES * 640, np.float32)
    generate_motion(model, sound, face, FRAMES, MotionOptions(**options), progress=progress)
    assert (options | {"progress": progress}).items() <= asked.items()


def test_the_movement_is_as_large_as_the_expression(model, face, asked):
    none, one, two = (made(model, face, expression=scale)[SPOKEN] for scale in (0.0, 1.0, 2.0))
    assert np.abs(one - none).max() > 5
    ratio = np.linalg.norm(two - none, axis=(1, 2)) / np.linalg.norm(one - none, axis=(1, 2)).clip(1e-6)
    moves = np.linalg.norm(one - none, axis=(1, 2)) > 5
    moves[MEETS - SPOKEN.start] = False
    np.testing.assert_allclose(ratio[moves], 2, atol=0.02)


def test_lips_meet_where_nobody_speaks_and_on_p_b_and_m(model, face, asked):
    opening = openings(made(model, face), face)
    spoken = opening[SPOKEN]
    assert np.delete(opening, np.r_[SPOKEN]).max() < 0.005 and opening[MEETS] < 0.005
    assert spoken.max() > 0.15 and (spoken > 0.02).mean() > 0.7


def test_seeds_differ_in_what_is_made_of_each_syllable(model, face, asked):
    first, again, other = (made(model, face, temperature=1.0, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    apart = np.abs(first - other).max((1, 2))
    assert apart[SPOKEN].max() > 0.5 and np.delete(apart, np.r_[SPOKEN]).max() == 0


def test_long_speech_is_made_as_short_one(model, face, asked, monkeypatch):
    whole = made(model, face, manner="own")
    monkeypatch.setattr(generate, "BLOCK_FRAMES", 7)
    np.testing.assert_allclose(made(model, face, manner="own"), whole, atol=1e-3)


def test_how_far_the_mouth_opens_is_told_by_what_is_spoken(model, face, asked, channels, monkeypatch):
    monkeypatch.setattr(generate, "amplified", lambda space, given: given)
    own, usual = (made(model, face, manner=manner) for manner in ("own", "model"))
    channels[: SPOKEN.start] *= 4
    channels[SPOKEN.stop :] *= 4
    np.testing.assert_allclose(made(model, face, manner="own"), own, atol=1e-4)
    assert np.abs(own - usual).max() > 1


def test_a_reference_s_mouth_opens_as_far_by_its_strength(model, face, channels):
    person = model.person_of(face)

    def gain(wide: float, strength: float) -> float:
        reference = Identity(torch.zeros(1, 1), torch.zeros(1), Manner(wide, 60.0))
        return manner_gain(model.space, channels, face, person, reference, strength)

    own = manner_gain(model.space, channels, face, person, None, 1.0)
    none, half, whole, more = (gain(0.25, strength) for strength in (0.0, 0.5, 1.0, 2.0))
    assert none == pytest.approx(own) and more == whole and half == pytest.approx((own * whole) ** 0.5)
    assert abs(np.log(whole / own)) > 0.1
    # Where the reference does not speak it says nothing.
    assert gain(0.0, 1.0) == own


def test_the_source_s_own_face_goes_on_at_the_nose(model, face, asked):
    share = generated_share(LAYOUT)
    assert (share[np.isin(LAYOUT.lower, LAYOUT.lips)] == 1).all() and share.min() == 0
    assert share[np.flatnonzero(LAYOUT.lower == 152)] == 1 and 0.05 < np.mean((share > 0) & (share < 1)) < 0.5
    source = face.canonical[np.arange(FRAMES)][:, LAYOUT.lower]
    away = np.abs(made(model, face) - source).max((0, 2))
    assert away[share == 0].max() < 0.05 and away[share == 1].max() > 5
