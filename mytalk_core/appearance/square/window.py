"""A part of the canonical square, whatever the size of the crop in pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...face.alignment import UNITS
from ...media.colour import Box

BLOCK = 8  # windows start and end on whole blocks of units, which are whole pixels at every crop size


@dataclass(frozen=True)
class Window:
    """A part of the canonical square, in units; every side is a multiple of 8."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in units."""
        return self.bottom - self.top, self.right - self.left

    def around(self, whole: Window) -> list[Window]:
        """The rest of a window that this one lies in: up to four windows."""
        beside = [
            Window(whole.top, whole.left, self.top, whole.right),
            Window(self.bottom, whole.left, whole.bottom, whole.right),
            Window(self.top, whole.left, self.bottom, self.left),
            Window(self.top, self.right, self.bottom, whole.right),
        ]
        return [one for one in beside if min(one.shape) > 0]

    def shared(self, other: Window) -> Window:
        """The part that it has in common with another window."""
        return Window(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def pixels(self, size: int) -> Box:
        """(top, left, bottom, right) in pixels of a crop of `size`, a multiple of 32."""
        sides = (self.top, self.left, self.bottom, self.right)
        top, left, bottom, right = (side * size // UNITS for side in sides)
        return top, left, bottom, right

    def cut(self, crop: np.ndarray) -> np.ndarray:
        """The window of a crop (S, S, ...), as a view."""
        top, left, bottom, right = self.pixels(crop.shape[0])
        return crop[top:bottom, left:right]

    def part(self, grid: np.ndarray, other: Window) -> np.ndarray:
        """The part of a grid (h, w, ...) on this window that `other`, a window inside it, covers: a view.

        The grid may have one sample a unit or any power of two up to 8 units.
        """
        step = self.shape[0] // grid.shape[0]
        top, left = (other.top - self.top) // step, (other.left - self.left) // step
        return grid[top : top + other.shape[0] // step, left : left + other.shape[1] // step]

    def enlarge(self, grid: np.ndarray, size: int) -> np.ndarray:
        """Values (h, w, ...) on the unit grid -> pixels of the window in a crop of `size`."""
        top, left, bottom, right = self.pixels(size)
        return cv2.resize(grid, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)


SQUARE = Window(0, 0, UNITS, UNITS)
