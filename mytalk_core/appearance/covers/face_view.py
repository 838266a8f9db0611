"""A picture of a face as it is seen: its pixels, its landmarks, its light."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout
from ...media.colour import Box
from ..square.areas import filled, widened

NEAR = 16  # units about mouth and chin in which a cover counts
ROOM = 24  # units about that, into which a cover is followed beyond the face's outline


@dataclass(frozen=True)
class FaceView:
    """A picture of a face, and how its light and pose are.

    unit: uint8 (256, 256, 3), at one sample a unit; landmarks: float32 (N, 2), canonical units; gain:
    float32 (3,), how bright its light is, 1 as usual; turned: how far it is from how the face is usually
    held, root mean square units.
    """

    unit: np.ndarray
    landmarks: np.ndarray
    layout: LandmarkLayout
    gain: np.ndarray
    turned: float

    @cached_property
    def near(self) -> np.ndarray:
        """Mouth and chin and what is about them, bool (256, 256)."""
        return mouth_and_chin(self.landmarks, self.layout)

    @cached_property
    def box(self) -> Box:
        """See `box_of`."""
        return box_of(self.near)

    def outline(self, ring: np.ndarray) -> np.ndarray:
        """What lies within a ring of landmarks, uint8 (256, 256), 1 there."""
        return filled(self.landmarks[ring])


def mouth_and_chin(landmarks: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """Mouth and chin and what is about them, of landmarks (N, 2): bool (256, 256)."""
    skip = len(layout.jaw) // 5
    points = np.concatenate([landmarks[layout.lips_outer], landmarks[layout.jaw[skip:-skip]]])
    return widened(filled(cv2.convexHull(points.astype(np.float32))[:, 0]), NEAR) > 0


def box_of(near: np.ndarray) -> Box:
    """The box of a part (256, 256) of the square, with some room."""
    rows, columns = np.flatnonzero(near.any(1)), np.flatnonzero(near.any(0))
    low = max(int(rows[0]) - ROOM, 0), max(int(columns[0]) - ROOM, 0)
    return *low, min(int(rows[-1]) + ROOM, UNITS), min(int(columns[-1]) + ROOM, UNITS)
