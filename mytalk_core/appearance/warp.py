"""Mesh warp: move a crop so that its landmarks fall on others, piecewise affine over the triangulation."""

from __future__ import annotations

from functools import cached_property

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
        self.triangulation, self.size, self.window = triangulation, size, window
        self.target = triangulation.vertices(target)
        self._pixels = pixel_grid(window)
        self._followed = None if exact is None else _part_above_zero(exact)

    def coordinates(self, source: np.ndarray) -> np.ndarray:
        """Where each pixel of the window comes from: float32 (h, w, 2), indices (x, y) into the crop."""
        affines = self.affines(source)
        at_x, at_y = np.repeat(self._pixels[0, :, 0], 2), self._pixels[:, :1, 1]
        # What makes x and y is taken as one number of twice the bytes, and lies beside each other as they do.
        mapped = self._taken(affines[:, :, 0])
        mapped *= at_x
        down = self._taken(affines[:, :, 1])
        down *= at_y
        mapped += down
        mapped += self._taken(affines[:, :, 2])
        mapped = mapped.reshape(self._pixels.shape)
        return mapped if self._followed is None else self._smoothed(mapped, *self._followed)

    @cached_property
    def _drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """The drawn triangles, int32 (F, 3), and which of them covers each pixel, (h, w): drawn when they
        are first needed."""
        triangle = draw_triangles(self.target, self.triangulation, self.window, self.size)
        # Only triangles that are drawn are ever mapped.
        drawn = np.flatnonzero(np.bincount(triangle.ravel()))
        row = np.zeros(len(self.triangulation.triangles), np.intp)
        row[drawn] = np.arange(len(drawn))
        return self.triangulation.triangles[drawn], row[triangle]

    @cached_property
    def _inverses(self) -> np.ndarray:
        return edge_inverses(self.target, self._drawn[0])

    def affines(self, source: np.ndarray) -> np.ndarray:
        """The map float32 (..., F, 2, 3) of each drawn triangle, from pixel indices (x, y) of the crop to
        where they come from, for sources' landmarks (..., N, 2)."""
        vertices = self.triangulation.vertices(source)
        affines = triangle_affines(self.target, self._inverses, vertices, self._drawn[0])
        # In pixel indices: p' = A p + s b + (A 0.5 - 0.5), since pixel centres lie at half a pixel.
        affines[..., 2] = affines[..., 2] * (self.size / UNITS) + affines[..., :2].sum(-1) * 0.5 - 0.5
        return affines

    def _taken(self, values: np.ndarray) -> np.ndarray:
        """The values (F, 2) of each pixel's triangle: float32 (h, 2 w)."""
        pairs = np.ascontiguousarray(values, np.float32).view(np.complex64)[:, 0]
        return np.take(pairs, self._drawn[1], mode="clip").view(np.float32)

    def stretch(self, source: np.ndarray) -> np.ndarray:
        """log2 of how many of the source's pixels make one of the target's: float32 (h, w) in -3..3."""
        return np.take(self.stretches(source), self._drawn[1])

    def stretches(self, source: np.ndarray) -> np.ndarray:
        """The same of each drawn triangle: float32 (F,)."""
        vertices = self.triangulation.vertices(source)
        affines = triangle_affines(self.target, self._inverses, vertices, self._drawn[0])[:, :, :2]
        return np.log2(np.abs(np.linalg.det(affines)).clip(1 / 8, 8)).astype(np.float32)

    def _smoothed(self, mapped: np.ndarray, part: tuple[slice, slice], exact: np.ndarray) -> np.ndarray:
        mapped -= self._pixels
        width = 2 * round(SMOOTH_UNITS * self.size / UNITS / 2) + 1
        smooth: np.ndarray = cv2.blur(cv2.blur(mapped, (width, width)), (width, width))
        near: np.ndarray = mapped[part] - smooth[part]
        near *= exact
        smooth += self._pixels
        smooth[part] += near
        return smooth

    def pixels(self) -> np.ndarray:
        """The window's own pixel indices (x, y) in the crop: float32 (h, w, 2), never to be written to."""
        return self._pixels

    def warp(self, crop: np.ndarray, source: np.ndarray) -> np.ndarray:
        """The window (h, w, 3) of a crop uint8 (S, S, 3), its landmarks (N, 2) moved onto the target's."""
        return sample(crop, self.coordinates(source))


def _part_above_zero(share: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """Where a share (h, w) is above zero: the smallest part, and the share there for x and y, (h', w', 2)."""
    left, top, wide, high = cv2.boundingRect((share > 0).astype(np.uint8))
    part = slice(top, top + high), slice(left, left + wide)
    return part, cv2.merge([share[part]] * 2)


def pixel_grid(window: PixelBox) -> np.ndarray:
    """The pixel indices (x, y) of a window (top, left, bottom, right): float32 (h, w, 2)."""
    top, left, bottom, right = window
    grid = np.empty((bottom - top, right - left, 2), np.float32)
    grid[..., 0] = np.arange(left, right, dtype=np.float32)
    grid[..., 1] = np.arange(top, bottom, dtype=np.float32)[:, None]
    return grid


def sample(crop: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Read a crop (S, S, 3) at pixel indices (h, w, 2) with a cubic kernel; the edge repeats outside."""
    return read_pixels(crop, coordinates, cv2.INTER_CUBIC)


def sample_units(crop: np.ndarray, coordinates: np.ndarray) -> np.ndarray:
    """Read a crop (S, S, 3) at indices (h, w, 2) of the unit grid, bilinearly."""
    scale = np.float32(crop.shape[0] / UNITS)
    at = (coordinates + 0.5) * scale - 0.5
    return read_pixels(crop, at, cv2.INTER_LINEAR)


def read_pixels(crop: np.ndarray, at: np.ndarray, kernel: int) -> np.ndarray:
    """Read a picture (H, W, C) at pixel indices (h, w, 2) with one of OpenCV's kernels; the edge repeats."""
    # OpenCV's own types do not say that one map may hold both coordinates.
    return cv2.remap(crop, at, None, kernel, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
