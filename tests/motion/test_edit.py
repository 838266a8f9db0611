"""Edits of a motion: each undoes or leaves what it should."""

from __future__ import annotations

import numpy as np
import pytest

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion.edit import hold, mix, retime, scale_opening, smooth
from mytalk_core.motion.motion import Motion

LAYOUT = LandmarkLayout.load("mesh478")


@pytest.fixture
def motion() -> Motion:
    """Two seconds of the mean face whose lower half sinks and rises."""
    landmarks = np.repeat(LAYOUT.template[None, LAYOUT.lower, :2], 50, 0).astype(np.float32)
    below = landmarks[0, :, 1] > landmarks[0, np.isin(LAYOUT.lower, LAYOUT.lips), 1].mean()
    landmarks[:, below, 1] += 6 * (1 - np.cos(np.arange(50) / 4))[:, None]
    return Motion(landmarks, "mesh478", LAYOUT.lower)


def opening(motion: Motion) -> np.ndarray:
    row = {point: index for index, point in enumerate(motion.points)}
    half = len(LAYOUT.lips_inner) // 2
    lower, upper = LAYOUT.lips_inner[1:half], LAYOUT.lips_inner[half + 1 :]
    heights = [motion.landmarks[:, [row[point] for point in side], 1].mean(1) for side in (lower, upper)]
    return heights[0] - heights[1]


def test_opening_scales_as_asked_and_zero_shuts(motion):
    before = opening(motion)
    assert before.max() > 8
    wide = opening(scale_opening(motion, 1.5))
    opened = before > 2
    np.testing.assert_allclose(wide[opened] / before[opened], 1.5, atol=0.01)
    assert np.abs(opening(scale_opening(motion, 0.0))).max() < 0.05 * before.max()
    np.testing.assert_array_equal(scale_opening(motion, 1.0).landmarks, motion.landmarks)


def test_double_speed_halves_the_length_and_a_delay_waits(motion):
    fast = retime(motion, 2.0)
    assert len(fast) == 25
    np.testing.assert_allclose(fast.landmarks[10], motion.landmarks[20], atol=1e-4)
    late = retime(motion, 1.0, 0.2)
    np.testing.assert_allclose(late.landmarks[5:], motion.landmarks, atol=1e-4)
    np.testing.assert_allclose(late.landmarks[0], motion.landmarks[0], atol=1e-4)


def test_smoothing_keeps_a_still_face_and_calms_a_jitter(motion):
    still = Motion(np.repeat(motion.landmarks[:1], 20, 0), motion.layout, motion.points)
    np.testing.assert_allclose(smooth(still, 0.08).landmarks, still.landmarks, rtol=1e-5)
    jitter = np.random.default_rng(0).normal(0, 1, motion.landmarks.shape).astype(np.float32)
    noisy = Motion(motion.landmarks + jitter, motion.layout, motion.points)
    error = np.abs(smooth(noisy, 0.04).landmarks - smooth(motion, 0.04).landmarks).mean()
    assert error < 0.7 * np.abs(jitter).mean()
    assert smooth(motion, 0.0) is motion


def test_mixing_goes_from_one_to_the_other(motion):
    other = scale_opening(motion, 0.0)
    np.testing.assert_array_equal(mix(motion, other, 0.0).landmarks, motion.landmarks)
    np.testing.assert_allclose(mix(motion, other, 1.0).landmarks, other.landmarks, atol=1e-4)
    with pytest.raises(ValueError, match="same points"):
        mix(motion, Motion(motion.landmarks[:, :5], "mesh478", motion.points[:5]), 0.5)


def test_hold_freezes_only_its_part(motion):
    held = hold(motion, 0.4, 0.8).landmarks
    np.testing.assert_array_equal(held[:10], motion.landmarks[:10])
    np.testing.assert_array_equal(held[20:], motion.landmarks[20:])
    np.testing.assert_allclose(held[10:20], np.repeat(motion.landmarks[10:11], 10, 0), atol=1e-4)
    np.testing.assert_array_equal(hold(motion, 1.0, 1.0).landmarks, motion.landmarks)
