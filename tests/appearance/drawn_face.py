"""A face drawn from the template's landmarks, its mouth as open as is wanted."""

from __future__ import annotations

import cv2
import numpy as np

SIZE = 256


def shape(layout, opening=0.0, wide=0.0):
    """The template with the lower lip and chin moved down and the mouth widened, canonical units."""
    points = layout.template[:, :2].copy()
    half = len(layout.lips_inner) // 2
    upper = np.r_[
        layout.lips_inner[half:], layout.lips_inner[:1], layout.lips_outer[half:], layout.lips_outer[:1]
    ]
    seam = points[layout.lips_inner[[0, half]], 1].mean()
    share = np.clip(1 - np.abs(points[:, 0] - 128) / 40, 0, 1)
    below = (points[:, 1] > seam) & ~np.isin(np.arange(len(points)), upper)
    points[below, 1] += opening * share[below]
    lips = np.union1d(layout.lips_outer, layout.lips_inner)
    points[lips, 0] += wide * (points[lips, 0] - 128) / 30
    return points


def picture(layout, points, size=SIZE, shade=0):
    """A face drawn from landmarks: background, skin with a smooth gradient, lips, dark interior."""
    scale = size / 256
    drawn = np.zeros((size, size, 3), np.float32)
    drawn[:] = (40, 90, 60)
    y, x = np.mgrid[:size, :size] / scale
    skin = np.dstack([190 + 0.1 * x, 140 + 0.1 * y, 120 + 0 * x]).astype(np.float32)

    def fill(index, colour):
        inside = np.zeros((size, size), np.uint8)
        cv2.fillPoly(inside, [np.rint((points[index] * scale - 0.5) * 16).astype(np.int32)], 1, shift=4)
        drawn[inside > 0] = colour[inside > 0] if np.ndim(colour) == 3 else colour

    fill(layout.oval, skin)
    fill(layout.lips_outer, (170, 60, 70))
    fill(layout.lips_inner, (30, 10, 10))
    return np.clip(drawn + shade, 0, 255).astype(np.uint8)
