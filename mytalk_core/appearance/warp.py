"""Mesh warp: move a crop so that its landmarks fall on other landmarks, piecewise affine over the triangulation."""

from __future__ import annotations

import cv2
import numpy as np

from .crop import UNITS
from .raster import Triangulation, draw_triangles, triangle_affines
from .references import References

Window = tuple[int, int, int, int]


class MeshWarp:
    """The warp to one target shape: the triangles are drawn once and shared by every crop that is warped to it."""

    def __init__(self, triangulation: Triangulation, target: np.ndarray, size: int, window: Window):
        """Target landmarks (N, 2) in canonical units; window (top, left, bottom, right) in pixels of the crop."""
        self.triangulation, self.size, self.window = triangulation, size, window
        self.target = triangulation.vertices(target)
        self.covered = draw_triangles(self.target, triangulation, window, size)

    def coordinates(self, source: np.ndarray) -> np.ndarray:
        """Where each pixel of the window comes from: float32 (h, w, 2), pixel indices (x, y) in the source's crop."""
        top, left, bottom, right = self.window
        vertices = self.triangulation.vertices(source)
        affines = triangle_affines(self.target, vertices, self.triangulation.triangles)
        # In pixel indices: p' = A p + s b + (A 0.5 - 0.5), since pixel centres lie at half a pixel.
        offset = affines[:, :, 2] * (self.size / UNITS) + affines[:, :, :2].sum(2) * 0.5 - 0.5
        packed = np.concatenate([affines[:, :, :2].reshape(-1, 4), offset], axis=1)
        taken = np.take(packed, self.covered, axis=0)
        x = np.arange(left, right, dtype=np.float32)[None, :]
        y = np.arange(top, bottom, dtype=np.float32)[:, None]
        mapped = np.empty((bottom - top, right - left, 2), np.float32)
        mapped[..., 0] = taken[..., 0] * x + taken[..., 1] * y + taken[..., 4]
        mapped[..., 1] = taken[..., 2] * x + taken[..., 3] * y + taken[..., 5]
        return mapped

    def warp(self, crop: np.ndarray, source: np.ndarray) -> np.ndarray:
        """The window (h, w, 3) of a crop uint8 (S, S, 3) whose landmarks (N, 2) are moved onto the target's."""
        return sample(crop, self.coordinates(source))


def sample(crop: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Read a crop (S, S, 3) at pixel indices (h, w, 2) with a cubic kernel; the edge repeats outside."""
    return cv2.remap(crop, coordinates, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def warp_references(
    references: References,
    indices: np.ndarray,
    target_landmarks: np.ndarray,
    triangulation: Triangulation,
    window: Window | None = None,
) -> np.ndarray:
    """Warp chosen references to target landmarks.

    Args:
        references: the pool, K crops of side S.
        indices: int (B, R), the references of each target; negative for none (left black).
        target_landmarks: float (B, N, 2) canonical units.
        window: (top, left, bottom, right) in pixels; the whole square where None.

    Returns:
        uint8 (B, R, h, w, 3).
    """
    size = references.size
    window = (0, 0, size, size) if window is None else window
    height, width = window[2] - window[0], window[3] - window[1]
    warped = np.zeros((*indices.shape, height, width, 3), np.uint8)
    for batch, (chosen, target) in enumerate(zip(indices, target_landmarks, strict=True)):
        warp = MeshWarp(triangulation, target, size, window)
        for rank, index in enumerate(chosen):
            if index >= 0:
                warped[batch, rank] = warp.warp(references.crops[index], references.landmarks[index])
    return warped
