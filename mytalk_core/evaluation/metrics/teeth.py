"""Rubber teeth: does what the lips do move the upper teeth, or only what the head does?

Teeth are bone. Between two neighbouring frames whose lips have moved, real upper teeth keep their size: the
head's own movement and a shift explain them as well as the lips' does. Teeth that were warped along with the
lips are stretched as they are. Both explanations are tried on the pixels of the teeth, each with the shift,
gain and offset that suit it best; their residuals are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...appearance.references.references import mouth_opening
from ...appearance.square.areas import filled
from ...appearance.square.raster import Triangulation
from ...appearance.square.warp import MeshWarp
from ...face import alignment
from ...face.alignment import UNITS
from ...media.colour import Box

OPEN = 3.0  # units between the lips, under which no teeth are looked for
WHITER = 20.0  # levels of the darkest channel by which a tooth is above the lips
LEAST_PX = 30  # of teeth, in each frame and in what both show
MARGIN = 1.5  # units next to the lips that are left out: a lip's edge moves with the lip
UPPER = 0.65  # share of the opening, from above, in which upper teeth are looked for
STRETCHED = 0.35  # px by which the lips' movement must differ over the teeth to tell the two apart
TEXTURE = 8.0  # levels of standard deviation under which teeth are too plain to be followed
FARTHEST = 5.0  # px of shift
STEPS = 5
NOISE = 0.02  # of the teeth's variance: smaller residuals tell nothing


@dataclass(frozen=True)
class FaceCrop:
    """One frame's face crop uint8 (256,256,3) and its landmarks (N,2), canonical units."""

    crop: np.ndarray
    landmarks: np.ndarray


def teeth_stretch(before: FaceCrop, after: FaceCrop, mesh: Triangulation) -> float | None:
    """How much better the lips' movement from one frame to another explains the upper teeth than the head's.

    mesh: of the landmarks' layout. In dB of the residuals: rarely above 1 for real teeth, and 1.5 to 4 more
    for the same person's teeth where they stretch with the lips. None where one of the frames shows no teeth,
    or the lips keep their shape.
    """
    both = (before, after)
    if min(mouth_opening(mouth.landmarks, mesh.layout) for mouth in both) < OPEN:
        return None
    pictures = [mouth.crop.min(-1).astype(np.float32) for mouth in both]
    inner = [filled(mouth.landmarks[mesh.layout.lips_inner]) for mouth in both]
    teeth = [_teeth(*parts, mesh) for parts in zip(pictures, inner, both, strict=True)]
    if min(part.sum() for part in teeth) < LEAST_PX:
        return None
    window = _box(inner[0])
    warp = MeshWarp(mesh, before.landmarks, UNITS, window)
    anchors = mesh.layout.anchors
    head = alignment.fit_similarity(before.landmarks[None, anchors], after.landmarks[anchors])[0]
    still = ((warp.pixels() + 0.5) @ head[:, :2].T + head[:, 2] - 0.5).astype(np.float32)
    moved = warp.coordinates(after.landmarks)
    part = np.s_[window[0] : window[2], window[1] : window[3]]
    zone = (cv2.dilate(teeth[0], np.ones((5, 5)))[part] > 0) & _upper(inner[0][part])
    free = cv2.distanceTransform(inner[1], cv2.DIST_L2, 5)
    for way in (still, moved):
        zone &= cv2.remap(free, way, None, cv2.INTER_LINEAR) > MARGIN  # type: ignore[call-overload]
    if zone.sum() < LEAST_PX or (moved - still)[zone].std(0).max() < STRETCHED:
        return None
    wanted = pictures[0][part][zone]
    if wanted.std() < TEXTURE:
        return None
    rigid, elastic = (_residual(wanted - wanted.mean(), pictures[1], way, zone) for way in (still, moved))
    return float(10 * np.log10((rigid + NOISE) / (elastic + NOISE)))


def _teeth(whiteness: np.ndarray, inner: np.ndarray, mouth: FaceCrop, mesh: Triangulation) -> np.ndarray:
    """Where between the lips it is whiter than they are: uint8 (256,256)."""
    outer = filled(mouth.landmarks[mesh.layout.lips_outer])
    lips = whiteness[(outer > 0) & (cv2.dilate(inner, np.ones((5, 5))) == 0)]
    if len(lips) == 0:
        return np.zeros_like(inner)
    return inner * (whiteness > np.median(lips) + WHITER)


def _box(drawn: np.ndarray) -> Box:
    """Top, left, bottom and right of what is not 0, which is something."""
    rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def _upper(inner: np.ndarray) -> np.ndarray:
    """The upper part of what lies between the lips, off their edge: bool of inner's shape (h,w)."""
    padded = np.pad(inner, 1)
    away = cv2.distanceTransform(padded, cv2.DIST_L2, 5)[1:-1, 1:-1]
    top, height = inner.argmax(0), np.maximum(inner.sum(0), 1)
    share = (np.arange(len(inner))[:, None] - top) / height
    return (away > MARGIN) & (share < UPPER)


def _residual(wanted: np.ndarray, picture: np.ndarray, way: np.ndarray, zone: np.ndarray) -> float:
    """What of the values wanted (P,), mean 0, of the pixels of a zone (h,w) a picture (256,256) read along a
    way (h,w,2) leaves unexplained, as a share of their variance, at the best shift, gain and offset."""
    shift, least = np.zeros(2), np.inf
    for _ in range(STEPS):
        at = (way + shift).astype(np.float32)
        read = cv2.remap(picture, at, None, cv2.INTER_CUBIC)  # type: ignore[call-overload]
        values = read[zone] - read[zone].mean()
        gain = float(values @ wanted / max(float(values @ values), 1e-6))
        left = wanted - gain * values
        least = min(least, float(left @ left))
        slopes = gain * np.stack([np.gradient(read, axis=axis)[zone] for axis in (1, 0)], 1)
        normal = slopes.T @ slopes + 0.5 * len(wanted) * np.eye(2)
        shift = np.clip(shift + np.linalg.solve(normal, slopes.T @ left), -FARTHEST, FARTHEST)
    return least / float(wanted @ wanted)
