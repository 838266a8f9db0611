"""Areas on a grid: drawn from polygons, widened, cut out; and the step by which they end softly."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from torch import Tensor

from ...face.alignment import UNITS
from .window import SQUARE, Window

Grid = TypeVar("Grid", np.ndarray, Tensor)

FAR = 16.0 * UNITS  # nothing is drawn beyond


def filled(polygon: np.ndarray, window: Window = SQUARE) -> np.ndarray:
    """1 inside a polygon (M, 2) in units, uint8 (h, w) on a window's unit grid."""
    drawn = np.zeros(window.shape, np.uint8)
    # OpenCV's time grows with the polygon's height; far outside the square nothing of it is seen.
    near = np.clip(polygon.reshape(-1, 2), -FAR, FAR)
    points = np.rint((near - (window.left, window.top) - 0.5) * 16).astype(np.int32)
    return cv2.fillPoly(drawn, [points], 1, shift=4)


def disc(units: int) -> np.ndarray:
    """The kernel uint8 (2 units + 1, 2 units + 1) that widens or narrows a part by so much."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * units + 1, 2 * units + 1))


def widened(part: np.ndarray, units: int) -> np.ndarray:
    """A part uint8 (h, w), 0 or 1, and what is so near to it."""
    wider = np.zeros_like(part)
    left, top, width, height = cv2.boundingRect(part)
    # The rest of a square takes as long as what is widened.
    box = (
        slice(max(top - units, 0), top + height + units),
        slice(max(left - units, 0), left + width + units),
    )
    wider[box] = cv2.dilate(part[box], disc(units))
    return wider


def slices_between(shape: tuple[int, ...], low: np.ndarray, high: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a picture (h, w, ...) that hold all between two points (x, y): one at least."""
    end = np.array(shape[1::-1])
    low = np.clip(low, 0, end - 1).astype(int)
    high = np.clip(high + 1, low + 1, end).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def smooth_step(share: Grid) -> Grid:
    """0 up to 0, 1 from 1 on, smoothly between; of an array or a tensor."""
    share = share.clip(0, 1)
    return share * share * (3 - 2 * share)
