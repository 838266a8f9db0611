"""The likeliest motion becomes as large as people's: its opening does, the rest of it stays."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion.amplitude import QUICK_GAIN, SLOW_GAIN, amplified, opening_by_channel
from mytalk_core.motion.person import OPENING_PAIRS, Person, opening_ratio
from mytalk_core.motion.space import LandmarkSpace

LAYOUT = LandmarkLayout.load("mesh478")
PERSON = Person(LAYOUT.template, LAYOUT.name)
FRAMES = 250


@pytest.fixture(scope="module")
def space() -> LandmarkSpace:
    return LandmarkSpace.from_pretrained("mini", "space")


@pytest.fixture(scope="module")
def ways(space) -> tuple[Tensor, Tensor]:
    """Two movements (D,), of one size: one that opens, and one that does not."""
    effect = opening_by_channel(space)
    opens = effect / effect.norm()
    other = torch.eye(len(effect))[1]
    other = other - other @ opens * opens
    return opens, other / other.norm()


def beat(hz: float) -> Tensor:
    return torch.sin(2 * math.pi * hz * torch.arange(FRAMES) / 25)


def test_channels_open_lips_by_as_much_as_is_said(space):
    effect = opening_by_channel(space)
    moved = space.decode_lower(torch.eye(len(effect)))
    upper, lower = OPENING_PAIRS.T
    np.testing.assert_allclose((moved[:, lower] - moved[:, upper])[..., 1].mean(1), effect, atol=1e-5)
    assert effect[0] > 0


def test_syllables_open_wider_and_nothing_else_grows(space, ways):
    opens, other = ways
    quick, steady = beat(3.0), torch.ones(FRAMES)
    moved = (2 * steady + quick)[:, None] * opens
    made = amplified(space, moved)
    wanted = 2 * SLOW_GAIN + QUICK_GAIN * quick
    inner = slice(40, -40)
    np.testing.assert_allclose((made @ opens)[inner], wanted[inner], atol=0.02)
    assert (made @ other).abs().max() < 1e-4
    sideways = quick[:, None] * other
    assert torch.allclose(amplified(space, sideways), sideways, atol=1e-4)


def test_what_goes_with_the_opening_grows_with_it(space, ways):
    opens, other = ways
    made = amplified(space, beat(3.0)[:, None] * (opens + 0.5 * other))
    ratio = (made @ other)[40:-40] / (made @ opens)[40:-40]
    assert ratio.mean() == pytest.approx(0.5, abs=1e-3)


def test_a_mouth_that_rests_stays_at_rest(space):
    still = torch.zeros(FRAMES, space.config.lower)
    assert torch.equal(amplified(space, still), still)


def test_a_space_of_coordinates_grows_as_a_face_does():
    rng = np.random.default_rng(0)
    mini = LandmarkSpace.from_pretrained("mini", "space")
    shown = mini.decode_lower(torch.from_numpy(rng.normal(size=(FRAMES, 24)).astype(np.float32)))
    space = LandmarkSpace.fit_coordinates("mesh478", shown)
    opens = torch.eye(24)[0]
    displacement = mini.decode_lower((2 + beat(3.0))[:, None] * opens)
    made = space.decode_lower(amplified(space, space.encode_lower(displacement)))
    alike = mini.decode_lower(amplified(mini, (2 + beat(3.0))[:, None] * opens))
    np.testing.assert_allclose(made[..., :2], alike[..., :2], atol=2e-3)
    openings = [
        opening_ratio((PERSON.rest + part * PERSON.mouth_width)[..., :2]) for part in (displacement, made)
    ]
    assert openings[1].std() > 1.1 * openings[0].std()
