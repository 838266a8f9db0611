"""Pictures of landmarks: for a viewer, and for a network that reads them as an image."""

from __future__ import annotations

import cv2
import numpy as np

from .alignment import UNITS
from .layout import LandmarkLayout

COLOURS = {
    "oval": (160, 160, 160),
    "brows": (240, 180, 60),
    "eyes": (80, 220, 120),
    "irises": (60, 220, 220),
    "nose": (90, 150, 255),
    "lips": (255, 80, 90),
}
# Points are drawn in 1/16 px, so that a still face does not flicker.
SHIFT = 4


def draw_landmarks(rgb: np.ndarray, landmarks: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """A copy of a frame (H,W,3) uint8 with contours, and the mesh behind them, of landmarks (N,2+) in px."""
    out = rgb.copy()
    points = np.rint(landmarks[:, :2] * (1 << SHIFT)).astype(np.int32)
    width = max(1, round(np.ptp(landmarks[:, 0]) / 250))
    thin = out.copy()
    cv2.polylines(thin, list(points[layout.triangles]), True, (235, 235, 235), 1, cv2.LINE_AA, SHIFT)
    out = cv2.addWeighted(thin, 0.35, out, 0.65, 0)
    _draw_contours(out, points, layout, width)
    return out


def landmark_image(landmarks: np.ndarray, layout: LandmarkLayout, size: int) -> np.ndarray:
    """The landmark image x^m of section 3.4: anti-aliased coloured contours on black.

    landmarks: (N,2+) canonical units; returns uint8 (size,size,3).
    """
    scale = size / UNITS
    points = np.rint((landmarks[:, :2] * scale - 0.5) * (1 << SHIFT)).astype(np.int32)
    image = np.zeros((size, size, 3), np.uint8)
    _draw_contours(image, points, layout, max(1, round(1.5 * scale)))
    return image


def _draw_contours(image: np.ndarray, points: np.ndarray, layout: LandmarkLayout, width: int) -> None:
    for name, edges in layout.draw.items():
        cv2.polylines(image, list(points[edges]), False, COLOURS[name], width, cv2.LINE_AA, SHIFT)
