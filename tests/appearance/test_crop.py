"""The canonical crop reads no pixel outside its box, so no other needs to be converted."""

from __future__ import annotations

import numpy as np
import pytest

from mytalk_core.appearance.composite import make_patch
from mytalk_core.appearance.crop import crop_box, cut_crop
from mytalk_core.face.alignment import UNITS

HEIGHT, WIDTH = 240, 320


@pytest.mark.parametrize("side_px", [60, 200, 700, 1500])
def test_all_that_is_read_is_in_the_box(side_px):
    rng = np.random.default_rng(side_px)
    frame = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for _ in range(40):
        angle, scale = rng.uniform(-np.pi, np.pi), UNITS / (side_px * rng.uniform(0.7, 1.3))
        linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        # Also beside the frame, and over its edges.
        centre = rng.uniform((-0.6 * WIDTH, -0.6 * HEIGHT), (1.6 * WIDTH, 1.6 * HEIGHT))
        similarity = np.concatenate([linear, (UNITS / 2 - linear @ centre)[:, None]], 1)
        top, left, bottom, right = crop_box(similarity, 256, HEIGHT, WIDTH)
        assert 0 <= top < bottom <= HEIGHT and 0 <= left < right <= WIDTH
        noise = rng.integers(0, 256, frame.shape, np.uint8)
        noise[top:bottom, left:right] = frame[top:bottom, left:right]
        assert np.array_equal(cut_crop(noise, similarity, 256), cut_crop(frame, similarity, 256))
        # What is pasted is blended with the frame's own pixels, and measured beside them.
        patch = make_patch(
            frame.shape, frame[:1, :1].repeat(256, 0).repeat(256, 1), similarity, np.ones((256, 256))
        )
        if patch is not None:
            assert top <= patch.top and patch.top + len(patch.alpha) <= bottom
            assert left <= patch.left and patch.left + patch.alpha.shape[1] <= right
