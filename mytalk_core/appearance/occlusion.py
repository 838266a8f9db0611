"""Hands, microphones and captions in front of a mouth: references that must not lend what covers them."""

from __future__ import annotations

import cv2
import numpy as np

from ..face.layout import LandmarkLayout
from .crop import UNITS
from .raster import triangulate
from .references import References
from .warp import MeshWarp

# References are compared on a small grid: what covers a mouth is large.
GRID = 64
# A pixel differs from the pool's median by more than light and beard do: colour levels, mean colour out.
LEVELS = 32.0
# A mouth is covered where this share of the skin about it differs, or this many times the usual share.
SHARE, TIMES_USUAL = 0.10, 3.0
# The median speaks for the person only while most references are free: this share of the pool always stays.
LEAST = 0.5


def covered_share(references: References, layout: LandmarkLayout) -> np.ndarray:
    """How much of the skin around the mouth looks unlike the same skin in the other references: (K,) 0..1.

    All are warped to their median shape; lips and mouth, which change with speech, are left out.
    """
    shape = np.median(references.landmarks, axis=0).astype(np.float32)
    warp = MeshWarp(triangulate(layout), shape, GRID, (0, 0, GRID, GRID))
    skin = _skin(shape, layout)
    colours = np.empty((len(references), int(skin.sum()), 3), np.float32)
    for k, (crop, landmarks) in enumerate(zip(references.crops, references.landmarks, strict=True)):
        small = cv2.resize(crop, (GRID, GRID), interpolation=cv2.INTER_AREA)
        colours[k] = warp.warp(small, landmarks)[skin]
    # The median pixel is the light's, not a hand's.
    colours -= np.median(colours, axis=1, keepdims=True)
    unlike = np.abs(colours - np.median(colours, axis=0)).max(-1) > LEVELS
    return unlike.mean(1)


def uncovered(references: References, layout: LandmarkLayout) -> np.ndarray:
    """Which references (K,) show the mouth free; at least half of them, the freest."""
    share = covered_share(references, layout)
    limit = max(SHARE, TIMES_USUAL * float(np.median(share)), float(np.quantile(share, LEAST)))
    return share <= limit


def _skin(shape: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """Chin, cheeks and upper lip around the mouth (GRID, GRID) bool, of landmarks (N,2) canonical units."""
    points = shape * (GRID / UNITS)
    filled = np.zeros((GRID, GRID), np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(points[layout.lower]).astype(np.int32), 1)
    face = np.zeros_like(filled)
    cv2.fillConvexPoly(face, cv2.convexHull(points[layout.oval]).astype(np.int32), 1)
    mouth = np.zeros_like(filled)
    cv2.fillConvexPoly(mouth, cv2.convexHull(points[layout.lips_outer]).astype(np.int32), 1)
    near = cv2.erode(face, np.ones((5, 5), np.uint8)) & (1 - cv2.dilate(mouth, np.ones((3, 3), np.uint8)))
    return (filled & near).astype(bool)
