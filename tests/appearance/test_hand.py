"""A hand of the skin's own colour, told from a face that is steep by itself."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mytalk_core.appearance.covers.hand import find_hand

SIDE = 120
SKIN = np.array([140.0, 110.0, 100.0])
HAND = SKIN + (20, 17, 16)
ARM, CREASE = np.s_[50:, 40:80], np.s_[50:100, 40:80]


def chin_with_curls(levels):
    """A lower face float32 (120, 120, 3), curls of so many levels all over it."""
    noise = np.random.default_rng(0).normal(0, 1, (SIDE, SIDE)).astype(np.float32)
    curls = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return (SKIN + (levels * curls / curls.std())[..., None]).astype(np.float32)


def found(seen, usual, bar):
    """Where a hand is found before the chin, if a bar over the jaw line is a little unlike the usual face."""
    rows = np.repeat(np.arange(SIDE), SIDE).reshape(SIDE, SIDE)
    about, face, lips = (rows > 40) & (rows < 80), rows < 80, (rows > 44) & (rows < 47)
    different = np.zeros((SIDE, SIDE), np.float32)
    different[bar] = 0.6
    return find_hand(seen, usual, different, about, face, lips, SKIN[None])


@pytest.mark.parametrize("levels", [0, 2, 5])
def test_a_smooth_bar_in_another_light_is_a_hand(levels):
    usual = chin_with_curls(levels)
    seen = usual.copy()
    seen[ARM] = HAND
    assert found(seen, usual, ARM)[55:75, 45:75].mean() > 0.9


@pytest.mark.parametrize("levels", [20, 30, 40])
def test_curls_that_lie_a_little_elsewhere_are_no_hand(levels):
    usual = chin_with_curls(levels)
    seen = 1.25 * np.roll(usual, 2, axis=1) - 0.25 * SKIN.astype(np.float32)
    assert not found(seen, usual, ARM).any()


def test_what_ends_with_the_face_is_no_hand():
    usual = chin_with_curls(2)
    seen = usual.copy()
    seen[CREASE] = HAND
    assert not found(seen, usual, CREASE).any()
