"""Whether a picture shows a mouth where its landmarks lie: not a flat cover, a mask, a blur or a mosaic.

The mesh finds lips under a censor bar too, so the picture itself is asked, one frame at a time. Darkness,
noise and a soft lens treat the whole face alike, so everything is measured against the eyes and the face's
own contrast. Of 760 frames of 190 people none was called covered; the thresholds lie between their lowest
figures and the highest of covers.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout
from ..square.areas import filled, slices_between, widened
from .parts import brightness

FLAT = 0.12  # fine detail of the mouth as a share of the eyes' under which nothing of a mouth is left
# A mask: little detail, and lips that hardly differ from what is about them.
PLAIN, PLAIN_CONTRAST = 0.30, 0.38
NO_CONTRAST = 0.22  # lips differ from what is about them by this share of the face's contrast, or are no lips
# Share of the edges in a quarter of the rows, and of the columns: a stand before the mouth has as regular
# columns, closed lips nearly as regular rows, and only a mosaic both. Less where most frames show no mouth.
MOSAIC, MOSAIC_SUSPECT = 0.64, 0.58
# Units about eyes, lips and face that any of this looks at: the widest kernel's, about what is widened most.
ROOM = 14
DARK = 0.35  # fine detail of the eyes, L of Lab, under which nothing can be told
SUSPECT = 2.0  # where most of a person's frames show no mouth, one must show it so many times more clearly


def clearness(
    unit_crop: np.ndarray,
    landmarks: np.ndarray,
    similarity: np.ndarray,
    layout: LandmarkLayout,
    certainty: float,
) -> float:
    """How clearly lips are seen: 1 and more where they are, and where it is too dark to tell; below 1 by how
    much less they show than the least of what a mouth does.

    Args:
        unit_crop: uint8 (256, 256, 3), the canonical square.
        landmarks: float (N, 2), canonical units.
        similarity: float (2, 3), frame pixels to canonical units: a mosaic lies along the frame's axes.
        certainty: how many times the usual thresholds are asked for.
    """
    rings = [layout.lips_outer, layout.lips_inner, layout.oval, *layout.eyes]
    points = landmarks[np.concatenate(rings)]
    part = slices_between(unit_crop.shape, points.min(0) - ROOM, points.max(0) + ROOM)
    lab = cv2.cvtColor(unit_crop[part].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    light = np.ascontiguousarray(lab[..., 0])
    detail = cv2.GaussianBlur(light, (0, 0), 1.0) - cv2.GaussianBlur(light, (0, 0), 2.2)
    outer, inner, face, *both = (filled(landmarks[ring])[part] for ring in rings)
    eyes = np.zeros_like(outer)
    for eye in both:
        eyes |= widened(eye, 4)
    of_eyes = _root_mean_square(detail, eyes)
    if of_eyes < DARK:
        return 1.0
    share = _root_mean_square(detail, widened(outer, 3)) / of_eyes
    contrast = _contrast(lab, outer, inner, face)
    plain = max(share / PLAIN, contrast / PLAIN_CONTRAST)
    clear = min(share / FLAT, contrast / NO_CONTRAST, plain) / certainty
    if clear < 1:
        return clear
    regular = _regularity(unit_crop, landmarks[layout.lips_outer], similarity)
    return min(clear, (1 - regular) / (1 - (MOSAIC if certainty == 1 else MOSAIC_SUSPECT)))


def _contrast(lab: np.ndarray, outer: np.ndarray, inner: np.ndarray, face: np.ndarray) -> float:
    """How much the lips differ from the skin about them or from the line between them, as a share of the
    whole face's contrast."""
    within = cv2.erode(face, np.ones((7, 7), np.uint8))
    line = widened(inner, 1)
    lips = outer & (1 - widened(inner, 2))
    around = widened(outer, 9) & (1 - widened(outer, 3)) & within
    if not (lips.any() and around.any() and line.any()) or np.count_nonzero(within) < 2:
        return 1.0  # hardly a mouth to be measured
    of_lips, of_line, of_skin = (np.array(cv2.mean(lab, part)) for part in (lips, line, around))
    difference = max(np.linalg.norm(of_lips - of_skin), np.linalg.norm(of_lips - of_line))
    _, deviation = cv2.meanStdDev(lab, mask=within)
    return float(difference / max(deviation[0, 0], 1.0))


def _regularity(unit_crop: np.ndarray, lips: np.ndarray, similarity: np.ndarray) -> float:
    """The share of the mouth's edges that lies in a quarter of its columns, and in a quarter of its rows:
    the smaller. The mouth is seen along the frame's own axes, two samples a unit."""
    axis = similarity[:, 0] / max(float(np.hypot(*similarity[:, 0])), 1e-6)
    turn = np.array([[axis[0], -axis[1]], [axis[1], axis[0]]])
    centre = lips.mean(0)
    upright = (lips - centre) @ turn
    low, high = upright.min(0) - 1, upright.max(0) + 1
    low[1], high[1] = min(low[1], -7), max(high[1], 7)
    matrix = np.column_stack([turn / 2, centre + turn @ low])
    width, height = (int(side) for side in np.clip(2 * (high - low), 8, 4 * UNITS))
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    gray = brightness(cv2.warpAffine(unit_crop, matrix, (width, height), flags=flags).astype(np.float32))
    profiles = np.abs(np.diff(gray, axis=1)).mean(0), np.abs(np.diff(gray, axis=0)).mean(1)
    return min(float(np.sort(p)[-max(len(p) // 4, 1) :].sum() / max(p.sum(), 1e-3)) for p in profiles)


def _root_mean_square(values: np.ndarray, part: np.ndarray) -> float:
    return float(cv2.norm(values, cv2.NORM_L2, part) / max(np.sqrt(np.count_nonzero(part)), 1))
