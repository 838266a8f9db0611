"""Hands, microphones and captions in front of a mouth: references that must not be used."""

from __future__ import annotations

import cv2
import numpy as np

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from .raster import triangulate
from .references import References, pose_points
from .warp import MeshWarp

# References are compared on a small grid: what covers a mouth is large.
GRID = 64
# A pixel differs from the pool's median by more than light and beard do: colour levels, mean colour out.
LEVELS = 32.0
# A mouth is covered where this share of the skin about it differs, or this many times the usual share.
SHARE, TIMES_USUAL = 0.10, 3.0
# Root mean square distance of the still points, canonical units: hands left it under 5, profiles over 10.
TURNED_UNITS = 7.0
# In a frame to be edited: covered from this share of the skin on, and wholly at FADE times that.
COVERED, FADE = 0.14, 1.6
# The median speaks for the person only while most references are free: this share of the pool always stays.
LEAST = 0.5


class SkinGauge:
    """Knows the skin around a person's mouth from references and tells how much of it a picture shows.

    Pictures are warped to the references' median shape; lips and mouth, which change with speech, are left
    out. A head turned far from that shape's pose cannot be compared and counts as visible.

    covered: float (K,), the part of each reference's skin that looks unlike the others', 0..1.
    """

    def __init__(self, references: References, layout: LandmarkLayout) -> None:
        shape = np.median(references.landmarks, axis=0).astype(np.float32)
        self._warp = MeshWarp(triangulate(layout), shape, GRID, (0, 0, GRID, GRID))
        self._skin = _skin(shape, layout)
        self._still = pose_points(layout)
        self._pose = shape[self._still]
        pairs = list(zip(references.crops, references.landmarks, strict=True))
        colours = np.stack([self._colours(crop, landmarks) for crop, landmarks in pairs])
        self._usual = np.median(colours, axis=0)
        turned = np.array([self._is_turned(landmarks) for _, landmarks in pairs])
        self.covered = np.where(turned, 0.0, self._unlike(colours))

    def cover(self, crop: np.ndarray, landmarks: np.ndarray) -> float:
        """How much of the skin in a crop uint8 (S,S,3) with landmarks (N,2) is covered, 0..1."""
        if self._is_turned(landmarks):
            return 0.0
        return float(self._unlike(self._colours(crop, landmarks)[None])[0])

    def visibility(self, crop: np.ndarray, landmarks: np.ndarray) -> float:
        """1 where the mouth is visible, 0 where something covers it, between while it moves in."""
        limit = max(COVERED, TIMES_USUAL * float(np.median(self.covered)))
        return float(np.clip((FADE * limit - self.cover(crop, landmarks)) / ((FADE - 1) * limit), 0, 1))

    def _is_turned(self, landmarks: np.ndarray) -> bool:
        away = landmarks[self._still] - self._pose
        return bool(np.sqrt(np.square(away).sum(-1).mean()) > TURNED_UNITS)

    def _colours(self, crop: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        small = cv2.resize(crop, (GRID, GRID), interpolation=cv2.INTER_AREA)
        colours = self._warp.warp(small, landmarks)[self._skin].astype(np.float32)
        # The median pixel is the light's, not a hand's.
        return colours - np.median(colours, axis=0)

    def _unlike(self, colours: np.ndarray) -> np.ndarray:
        return (np.abs(colours - self._usual).max(-1) > LEVELS).mean(1)


def visible_references(references: References, layout: LandmarkLayout) -> np.ndarray:
    """Which references (K,) show the mouth free; at least half of them, the freest."""
    covered = SkinGauge(references, layout).covered
    limit = max(SHARE, TIMES_USUAL * float(np.median(covered)), float(np.quantile(covered, LEAST)))
    return covered <= limit


def _skin(shape: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """Chin, cheeks and upper lip around the mouth (GRID, GRID) bool, of landmarks (N,2) canonical units."""
    points = shape * (GRID / UNITS)
    filled = np.zeros((GRID, GRID), np.uint8)
    cv2.fillConvexPoly(filled, cv2.convexHull(points[layout.lower]).astype(np.int32), 1)
    face = np.zeros_like(filled)
    cv2.fillConvexPoly(face, cv2.convexHull(points[layout.oval]).astype(np.int32), 1)
    mouth = np.zeros_like(filled)
    cv2.fillConvexPoly(mouth, cv2.convexHull(points[layout.lips_outer]).astype(np.int32), 1)
    skin: np.ndarray = cv2.erode(face, np.ones((5, 5), np.uint8))
    lips: np.ndarray = cv2.dilate(mouth, np.ones((3, 3), np.uint8))
    return (filled & skin & (1 - lips)).astype(bool)
