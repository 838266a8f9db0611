"""The light on a person's cheeks: skin that hair, beards and microphones seldom reach."""

from __future__ import annotations

import cv2
import numpy as np

from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout

CHEEKS = 20.0, 64.0  # units from the face's middle


class FaceLight:
    """The usual light of a person, and how bright it is in a picture beside that.

    skin: float (2, 3), the usual colours of the left and of the right cheek, each of which has its own light.
    """

    def __init__(self, crops: np.ndarray, landmarks: np.ndarray, layout: LandmarkLayout) -> None:
        """crops: uint8 (K, 256, 256, 3), at one sample a unit; landmarks: (K, N, 2) canonical units."""
        left, right = _cheeks(layout)
        self._cheeks = np.concatenate([left, right])
        colours = [self._colours(*pair) for pair in zip(crops, landmarks, strict=True)]
        self._usual = np.median(np.stack(colours), axis=0)
        is_left = np.isin(self._cheeks, left)
        self.skin = np.stack([np.median(self._usual[side], axis=0) for side in (is_left, ~is_left)])

    def gain(self, unit: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """How bright the light is in a crop uint8 (256, 256, 3) with landmarks (N, 2): float32 (3,), 1 as
        usual."""
        ratio = np.median(self._colours(unit, landmarks) / np.maximum(self._usual, 8.0), axis=0)
        return np.clip(ratio, 0.02, 5.0).astype(np.float32)

    def _colours(self, unit: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """The cheeks' colours at each of their points: float32 (P, 3)."""
        at = np.clip(landmarks[self._cheeks], 2, UNITS - 3).astype(int)
        return cv2.blur(unit, (5, 5))[at[:, 1], at[:, 0]].astype(np.float32)


def _cheeks(layout: LandmarkLayout) -> tuple[np.ndarray, np.ndarray]:
    """Points of the left and of the right cheek, int64 (P,) each."""
    away = layout.template[:, 0] - layout.template[layout.lips_outer, 0].mean()
    height = layout.template[:, 1]
    eyes = max(float(layout.template[ring, 1].max()) for ring in layout.eyes)
    between = (height > eyes + 4) & (height < layout.template[layout.lips_outer, 1].min() - 4)
    cheek = between & (np.abs(away) > CHEEKS[0]) & (np.abs(away) < CHEEKS[1])
    return np.flatnonzero(cheek & (away < 0)), np.flatnonzero(cheek & (away > 0))
