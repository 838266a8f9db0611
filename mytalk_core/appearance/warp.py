"""Mesh warp: move a crop so that its landmarks fall on others, piecewise affine over the triangulation."""

from __future__ import annotations

import cv2
import numpy as np

from ..face.alignment import UNITS
from .raster import Triangulation, draw_triangles, edge_inverses, triangle_affines

PixelBox = tuple[int, int, int, int]  # top, left, bottom, right
SMOOTH_UNITS = 8.0


class MeshWarp:
    """The warp to one target shape; its triangles are drawn once and shared by every crop warped to it."""

    def __init__(
        self,
        triangulation: Triangulation,
        target: np.ndarray,
        size: int,
        window: PixelBox,
        exact: np.ndarray | None = None,
    ):
        """Target landmarks (N, 2) in canonical units; window (top, left, bottom, right) in crop pixels.

        exact: float32 (h, w) 0..1, where the mesh is followed to the letter, everywhere if None; elsewhere
        its map is smoothed, so that a fold, as between lips and nose, does not tear the skin.
        """
        self.triangulation, self.size, self.window, self.exact = triangulation, size, window, exact
        self.target = triangulation.vertices(target)
        triangle = draw_triangles(self.target, triangulation, window, size)
        # Only triangles that are drawn are ever mapped.
        drawn = np.flatnonzero(np.bincount(triangle.ravel()))
        row = np.zeros(len(triangulation.triangles), np.int32)
        row[drawn] = np.arange(len(drawn))
        self.triangles, self.triangle = triangulation.triangles[drawn], row[triangle]
        self.inverses = edge_inverses(self.target, self.triangles)

    def coordinates(self, source: np.ndarray) -> np.ndarray:
        """Where each pixel of the window comes from: float32 (h, w, 2), indices (x, y) into the crop."""
        vertices = self.triangulation.vertices(source)
        affines = triangle_affines(self.target, self.inverses, vertices, self.triangles)
        # In pixel indices: p' = A p + s b + (A 0.5 - 0.5), since pixel centres lie at half a pixel.
        offset = affines[:, :, 2] * (self.size / UNITS) + affines[:, :, :2].sum(2) * 0.5 - 0.5
        packed = np.concatenate([affines[:, :, :2].reshape(-1, 4), offset], axis=1)
        taken = np.take(packed, self.triangle, axis=0)
        at = self.pixels()
        mapped = np.empty_like(at)
        mapped[..., 0] = taken[..., 0] * at[..., 0] + taken[..., 1] * at[..., 1] + taken[..., 4]
        mapped[..., 1] = taken[..., 2] * at[..., 0] + taken[..., 3] * at[..., 1] + taken[..., 5]
        return mapped if self.exact is None else self._smoothed(mapped, at, self.exact)

    def stretch(self, source: np.ndarray) -> np.ndarray:
        """log2 of how many of the source's pixels make one of the target's: float32 (h, w) in -3..3."""
        vertices = self.triangulation.vertices(source)
        affines = triangle_affines(self.target, self.inverses, vertices, self.triangles)[:, :, :2]
        areas = np.abs(np.linalg.det(affines)).clip(1 / 8, 8)
        return np.take(np.log2(areas).astype(np.float32), self.triangle)

    def _smoothed(self, mapped: np.ndarray, at: np.ndarray, exact: np.ndarray) -> np.ndarray:
        shift = mapped - at
        width = 2 * round(SMOOTH_UNITS * self.size / UNITS / 2) + 1
        smooth = cv2.blur(cv2.blur(shift, (width, width)), (width, width))
        return at + smooth + exact[..., None] * (shift - smooth)

    def pixels(self) -> np.ndarray:
        """The window's own pixel indices (x, y) in the crop: float32 (h, w, 2)."""
        return pixel_grid(self.window)

    def warp(self, crop: np.ndarray, source: np.ndarray) -> np.ndarray:
        """The window (h, w, 3) of a crop uint8 (S, S, 3), its landmarks (N, 2) moved onto the target's."""
        return sample(crop, self.coordinates(source))


def pixel_grid(window: PixelBox) -> np.ndarray:
    """The pixel indices (x, y) of a window (top, left, bottom, right): float32 (h, w, 2)."""
    top, left, bottom, right = window
    x, y = np.arange(left, right, dtype=np.float32), np.arange(top, bottom, dtype=np.float32)
    return np.stack(np.meshgrid(x, y), axis=-1)


def sample(crop: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Read a crop (S, S, 3) at pixel indices (h, w, 2) with a cubic kernel; the edge repeats outside."""
    return _remap(crop, coordinates, cv2.INTER_CUBIC)


def sample_units(crop: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Read a crop (S, S, 3) at indices (h, w, 2) of the unit grid, bilinearly."""
    scale = np.float32(crop.shape[0] / UNITS)
    at = (coordinates + 0.5) * scale - 0.5
    return _remap(crop, at, cv2.INTER_LINEAR)


def _remap(crop: np.ndarray, at: np.ndarray, kernel: int) -> np.ndarray:
    # OpenCV's own types do not say that one map may hold both coordinates.
    return cv2.remap(crop, at, None, kernel, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
