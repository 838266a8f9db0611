"""A plain dark mouth for targets that open wider than any reference: a still picture has no teeth to borrow."""

from __future__ import annotations

import cv2
import numpy as np

from ..face.layout import LandmarkLayout
from .crop import UNITS
from .mask import Window

DEEP = np.array([38.0, 14.0, 14.0], np.float32)  # the throat, at full light
TONGUE = np.array([96.0, 44.0, 44.0], np.float32)  # towards the lower lip
EDGE = 1.6  # softness of the inner lip's edge, units
ENOUGH, NONE = 0.55, 0.25  # share of the target's opening that a reference must have to lend its interior
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
        float32 (h, w, 3). The light is taken from the skin around: a dark picture gets a darker mouth.
    """
    scale = size / UNITS
    top, left, bottom, right = window.pixels(size)
    ring = target[layout.lips_inner] * scale - (left, top) - 0.5
    inside = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(ring * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
    alpha = cv2.GaussianBlur(inside, (0, 0), 0.5 * EDGE * scale).astype(np.float32) / 255.0
    light = np.clip(float(np.median(picture)) / 140.0, 0.25, 1.2)
    height = np.ptp(ring[:, 1])
    y = (np.arange(len(picture), dtype=np.float32) - ring[:, 1].min()) / max(height, 1e-3)
    depth = np.clip((y - 0.45) / 0.55, 0, 1)[:, None, None]
    colour = light * (DEEP + (TONGUE - DEEP) * depth**2)
    alpha = (amount * alpha)[..., None]
    return picture + alpha * (colour - picture)
