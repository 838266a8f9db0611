"""A plain dark mouth for targets that open wider than any reference: a still has no teeth to show."""

from __future__ import annotations

import cv2
import numpy as np

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from .mask import Window

DEEP, TONGUE = 0.26, 0.62  # brightness of throat and tongue, as a share of the lips'
EDGE = 2.2  # softness of the inner lip's edge, units
# Of the target's opening, what a reference must have for its interior to be used wholly, or at all.
ENOUGH, NONE = 0.55, 0.25
NOTICEABLE = 1.5  # openings below this many units need no interior


def missing_interior(opening: float, reference_openings: np.ndarray, weights: np.ndarray) -> float:
    """How much of a mouth interior must be invented, 0..1.

    Args:
        opening: the target's mouth opening, units.
        reference_openings, weights: float (R,), those of the references in use.
    """
    if opening <= NOTICEABLE:
        return 0.0
    share = float((weights * reference_openings).sum()) / opening
    missing = np.clip((ENOUGH - share) / (ENOUGH - NONE), 0, 1)
    return float(missing * np.clip((opening - NOTICEABLE) / NOTICEABLE, 0, 1))


def dark_interior(
    picture: np.ndarray, target: np.ndarray, layout: LandmarkLayout, window: Window, size: int, amount: float
) -> np.ndarray:
    """Fill the inner lip ring with a smooth dark red, deeper above, lighter towards the tongue.

    Args:
        picture: float32 (h, w, 3), pixels of the window in a crop of `size`.
        target: float (N, 2) landmarks, canonical units.
        amount: 0..1, how much of the filling shows.

    Returns:
        float32 (h, w, 3). The colour is a darkened one of the lips themselves, so that skin, stone and paint
        each get their own.
    """
    scale = size / UNITS
    top, left, _, _ = window.pixels(size)
    rings = [target[ring] * scale - (left, top) - 0.5 for ring in (layout.lips_outer, layout.lips_inner)]
    outer, inner = (_filled(picture.shape[:2], ring) for ring in rings)
    alpha = cv2.GaussianBlur(inner, (0, 0), 0.5 * EDGE * scale).astype(np.float32) / 255.0
    lips = picture[(outer == 255) & (cv2.dilate(inner, np.ones((5, 5))) == 0)]
    if len(lips) == 0:
        return picture
    low, high = rings[1][:, 1].min(), rings[1][:, 1].max()
    depth = np.clip((np.arange(len(picture), dtype=np.float32) - low) / max(high - low, 1e-3), 0, 1)
    light = DEEP + (TONGUE - DEEP) * depth[:, None, None] ** 2
    alpha = (amount * alpha)[..., None]
    return picture + alpha * (light * np.median(lips, axis=0) - picture)


def _filled(shape: tuple[int, int], ring: np.ndarray) -> np.ndarray:
    """255 inside a ring (P, 2) of pixel indices, uint8."""
    drawn = np.zeros(shape, np.uint8)
    return cv2.fillPoly(drawn, [np.rint(ring * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
