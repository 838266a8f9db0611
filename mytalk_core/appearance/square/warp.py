"""Mesh warp: move a crop so that its landmarks fall on others, piecewise affine over the triangulation."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, lru_cache

import cv2
import numpy as np

from ...face.alignment import UNITS
from ...media.colour import Box
from .raster import Triangulation, draw_triangles, edge_inverses, triangle_affines
from .window import Window

SMOOTH_UNITS = 8.0


class MeshWarp:
    """The warp to one target shape; its triangles are drawn once and shared by every crop warped to it."""

    def __init__(self, triangulation: Triangulation, target: np.ndarray, size: int, window: Box):
        """Target landmarks (N, 2) in canonical units; window (top, left, bottom, right) in crop pixels."""
        self.triangulation, self.size, self.window = triangulation, size, window
        self.target = triangulation.vertices(target)
        self._pixels = pixel_grid(window)

    def coordinates(self, source: np.ndarray) -> np.ndarray:
        """Where each pixel of the window comes from: float32 (h, w, 2), indices (x, y) into the crop."""
        return self._mapped(self.affines(source))

    def coordinates_of_all(self, sources: np.ndarray) -> np.ndarray:
        """The same for the landmarks (R, N, 2) of several crops: (R, h, w, 2)."""
        return np.stack([self._mapped(affines) for affines in self.affines(sources)])

    def _mapped(self, affines: np.ndarray) -> np.ndarray:
        """`coordinates` by the map (F, 2, 3) of each drawn triangle."""
        at_x, at_y = np.repeat(self._pixels[0, :, 0], 2), self._pixels[:, :1, 1]
        # What makes x and y is taken as one number of twice the bytes, and lies beside each other as they do.
        mapped = self._taken(affines[:, :, 0])
        mapped *= at_x
        down = self._taken(affines[:, :, 1])
        down *= at_y
        mapped += down
        mapped += self._taken(affines[:, :, 2])
        return mapped.reshape(self._pixels.shape)

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

    def stretch(self, sources: np.ndarray, part: tuple[slice, slice]) -> np.ndarray:
        """log2 of how many of the sources' pixels make one of the target's, in a part of the window, its rows
        and columns; their landmarks (R, N, 2): float32 (R, h, w) in -3..3."""
        affines = self.affines(sources)
        areas = affines[..., 0, 0] * affines[..., 1, 1] - affines[..., 0, 1] * affines[..., 1, 0]
        stretches = np.log2(np.abs(areas).clip(1 / 8, 8)).astype(np.float32)
        return stretches[:, self._drawn[1][part]]

    def pixels(self) -> np.ndarray:
        """The window's own pixel indices (x, y) in the crop: float32 (h, w, 2), never to be written to."""
        return self._pixels

    def warp(self, crop: np.ndarray, source: np.ndarray) -> np.ndarray:
        """The window (h, w, 3) of a crop uint8 (S, S, 3), its landmarks (N, 2) moved onto the target's."""
        return sample(crop, self.coordinates(source))


class ReferenceWarps:
    """The warps of a frame's references to its target: drawn and mapped once, on the unit grid of a window.

    From there the pixels of a part of it have theirs: smoothed, so that a fold, as between lips and nose,
    does not tear the skin, but for the mouth, where the mesh is followed to the letter.
    """

    def __init__(
        self, triangulation: Triangulation, target: np.ndarray, window: Window, landmarks: np.ndarray
    ) -> None:
        """Target landmarks (N, 2) and the R references' (R, N, 2), canonical units."""
        self.target, self.window, self.landmarks = target, window, landmarks
        self.coarse = MeshWarp(triangulation, target, UNITS, window.pixels(UNITS))

    @cached_property
    def units(self) -> np.ndarray:
        """Where each unit of the window comes from in each: float32 (R, h, w, 2), unit indices (x, y)."""
        return self.coarse.coordinates_of_all(self.landmarks)

    def pixels(self, part: Window, mouth: np.ndarray, size: int) -> list[np.ndarray]:
        """Where each pixel of a part of the window comes from in each crop of `size`: R of float32
        (h, w, 2), pixel indices (x, y).

        mouth: float32 0..1 on the unit grid of the window, where the mesh is followed to the letter.
        """
        box, kernel = part.pixels(size), smoothing(size)
        (top, left, _, _), grid = box, pixel_grid(box)
        shifts = [self.window.part(one, part) for one in self.units - self.coarse.pixels()]
        smooth = [part.enlarge(cv2.sepFilter2D(one, -1, kernel, kernel), size) for one in shifts]
        maps = [one * np.float32(size / UNITS) + grid for one in smooth]
        rows, columns, share = _above_zero(part.enlarge(self.window.part(mouth, part), size))
        if share.size == 0:
            return maps
        to_the_letter: Iterable[np.ndarray]
        if size == UNITS:
            to_the_letter = (self.window.part(one, part)[rows, columns] for one in self.units)
        else:
            box = top + rows.start, left + columns.start, top + rows.stop, left + columns.stop
            fine = MeshWarp(self.coarse.triangulation, self.target, size, box)
            to_the_letter = fine.coordinates_of_all(self.landmarks)
        for one, own in zip(maps, to_the_letter, strict=True):
            one[rows, columns] += (own - one[rows, columns]) * share
        return maps

    def stretch(self, part: Window) -> np.ndarray:
        """See `MeshWarp.stretch`, of each in a part of the window: float32 (R, h, w)."""
        top, left = part.top - self.window.top, part.left - self.window.left
        rows, columns = slice(top, top + part.shape[0]), slice(left, left + part.shape[1])
        return self.coarse.stretch(self.landmarks, (rows, columns))


@lru_cache(maxsize=8)
def smoothing(size: int) -> np.ndarray:
    """Two means one after the other, each over SMOOTH_UNITS or a whole odd number of pixels of a crop of
    `size` next to it, as one kernel on the unit grid: float32 (k,), sum 1."""
    width = (2 * round(SMOOTH_UNITS * size / UNITS / 2) + 1) * UNITS / size
    whole = int((width - 1) / 2)
    edge = (width - 1) / 2 - whole
    mean = np.concatenate([[edge], np.ones(2 * whole + 1), [edge]]) / width
    return np.convolve(mean, mean).astype(np.float32)


def _above_zero(share: np.ndarray) -> tuple[slice, slice, np.ndarray]:
    """The rows and columns in which a share (h, w) is above zero, and what it is there, for x and y
    (h', w', 2)."""
    left, top, wide, high = cv2.boundingRect((share > 0).astype(np.uint8))
    rows, columns = slice(top, top + high), slice(left, left + wide)
    return rows, columns, np.dstack([share[rows, columns]] * 2)


def pixel_grid(window: Box) -> np.ndarray:
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
