"""Lips that come together on p, b and m."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion import closures
from mytalk_core.motion.closures import MOST, close_lips, closure_share
from mytalk_core.motion.person import Person, opening_ratio
from mytalk_core.motion.rest import closed_displacement
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.speech.features import SpeechEncoder, SpeechFeatures

LAYOUT = LandmarkLayout.load("mesh478")
PERSON = Person(LAYOUT.template, LAYOUT.name)


@pytest.fixture(scope="module")
def space() -> LandmarkSpace:
    return LandmarkSpace.from_pretrained("mini", "space")


@pytest.fixture(scope="module")
def spoken(space) -> np.ndarray:
    """A mouth (25,478,3) that opens wider and wider from lips that meet, mouth widths from rest."""
    closed = closed_displacement(space, PERSON)
    channels = torch.zeros(25, space.config.lower)
    channels[:, 0] = torch.linspace(0, 3, 25)
    return closed + space.decode_lower(channels)


def openings(displacement: np.ndarray) -> np.ndarray:
    return opening_ratio(PERSON.rest + displacement * PERSON.mouth_width)


def test_lips_come_together_by_the_share(space, spoken):
    before = openings(spoken)
    assert before[-1] > 0.2
    half = openings(close_lips(spoken, np.full(25, 0.5, np.float32), space, PERSON))
    np.testing.assert_allclose(half[5:], before[5:] / 2, atol=0.01)
    whole = openings(close_lips(spoken, np.ones(25, np.float32), space, PERSON))
    assert whole.max() < 0.005


def test_nothing_opens_and_eyes_stay(space, spoken):
    for share in (0.2, 0.7, 1.0):
        made = close_lips(spoken, np.full(25, share, np.float32), space, PERSON)
        assert (openings(made) <= openings(spoken) + 1e-4).all()
        assert np.array_equal(made[:, LAYOUT.upper], spoken[:, LAYOUT.upper])


def test_without_such_a_sound_nothing_moves(space, spoken):
    share = np.zeros(25, np.float32)
    share[10] = 1
    made = close_lips(spoken, share, space, PERSON)
    assert np.array_equal(np.delete(made, 10, 0), np.delete(spoken, 10, 0))


def test_a_sure_moment_is_eased_in_and_out(monkeypatch):
    class Sure:
        def probabilities(self, features: SpeechFeatures) -> np.ndarray:
            sure = np.full(len(features), 0.05, np.float32)
            sure[40:60] = 1
            return sure

    monkeypatch.setattr(closures, "load_closure_detector", Sure)
    encoder = SpeechEncoder.from_pretrained("mini")
    share = closure_share(SpeechFeatures(encoder, np.zeros(640 * 50, np.float32)))
    assert len(share) == 50 and share[25] == pytest.approx(MOST, abs=0.02)
    assert share[:15].max() == 0 and share[35:].max() == 0
    assert np.abs(np.diff(share)).max() < 0.35 * MOST
