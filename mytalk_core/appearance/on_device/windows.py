"""Windows of several frames as one tensor, and what is done to rows and columns apart, as matrices.

Every frame's window has its own size; they lie in the upper left corner of a canvas that all fit on, and what
is beyond them repeats their last row and column. Blurring and resizing have rules for the edges, and for what
a sample is, that are OpenCV's own: each is linear in rows and in columns, so the matrix that OpenCV makes of
the identity does the same on any device, to each frame by its own size.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock

import cv2
import numpy as np
import torch
from torch import Tensor

from ...face.alignment import UNITS
from ..square.warp import smoothing
from ..square.window import Window

# A side of a frame's window in units, or of a part of it -> the matrix that is applied to it.
Axis = Callable[[int], np.ndarray]
Matrices = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Windows:
    """Windows of B frames, and the device their tensors are on."""

    own: Sequence[Window]
    device: torch.device
    _pixels: dict[int, Matrices] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in units of the canvas that all fit on."""
        heights, widths = zip(*(window.shape for window in self.own), strict=True)
        return max(heights), max(widths)

    def canvas(self, size: int) -> tuple[int, int]:
        """(height, width) of the canvas in pixels of crops of `size`."""
        height, width = self.shape
        return height * size // UNITS, width * size // UNITS

    def matrices(self, axis: Axis, shape: tuple[int, int]) -> Matrices:
        """Rows (B,h,H) and columns (B,w,W) for `applied`, by each window's sides; shape: (h,w)."""
        heights, widths = zip(*(window.shape for window in self.own), strict=True)
        return (
            stacked([axis(side) for side in heights], shape[0], self.device),
            stacked([axis(side) for side in widths], shape[1], self.device),
        )

    def to_part(
        self, parts: Windows, axis: Callable[[int, int, int], np.ndarray], shape: tuple[int, int]
    ) -> Matrices:
        """The same for a part of each window, by the window's side, where the part begins and how long it
        is, all in units."""
        rows, columns = [], []
        for window, part in zip(self.own, parts.own, strict=True):
            rows.append(axis(window.shape[0], part.top - window.top, part.shape[0]))
            columns.append(axis(window.shape[1], part.left - window.left, part.shape[1]))
        return stacked(rows, shape[0], self.device), stacked(columns, shape[1], self.device)

    def pixels(self, size: int) -> Matrices:
        """x (B,1,w) and y (B,h,1), float32: the indices of the canvas' pixels in crops of `size`."""
        if size not in self._pixels:
            height, width = self.canvas(size)
            sides = np.array([window.pixels(size) for window in self.own])
            x = np.minimum(sides[:, 1, None] + np.arange(width), sides[:, 3, None] - 1)
            y = np.minimum(sides[:, 0, None] + np.arange(height), sides[:, 2, None] - 1)
            both = on(np.concatenate([x, y], axis=1).astype(np.float32), self.device)
            self._pixels[size] = both[:, None, :width], both[:, width:, None]
        return self._pixels[size]

    def cut(self, crops: Tensor) -> Tensor:
        """The windows of crops (B,C,S,S): (B,C,h,w)."""
        size = crops.shape[-1]
        height, width = self.canvas(size)
        x, y = self.pixels(size)
        at = (y * size + x).long().flatten(1)[:, None].expand(-1, crops.shape[1], -1)
        return crops.flatten(2).gather(2, at).unflatten(2, (height, width))

    def put(self, pictures: Tensor, crops: Tensor) -> None:
        """Write pictures (B,C,h,w) of the canvas into the windows of crops (B,C,S,S)."""
        for window, crop, picture in zip(self.own, crops, pictures, strict=True):
            top, left, bottom, right = window.pixels(crops.shape[-1])
            crop[:, top:bottom, left:right] = picture[:, : bottom - top, : right - left]

    def packed(self, grids: Sequence[np.ndarray], beyond: str = "edge") -> Tensor:
        """Grids (h,w,...) of the windows, of any number of samples a unit, on the canvas: (B,H,W,...).

        beyond: "edge" repeats the last row and column, "constant" is 0.
        """
        step = self.own[0].shape[0] / grids[0].shape[0]
        height, width = (round(side / step) for side in self.shape)
        made = np.zeros((len(grids), height, width, *grids[0].shape[2:]), grids[0].dtype)
        for row, grid in zip(made, grids, strict=True):
            high, wide = grid.shape[:2]
            row[:high, :wide] = grid
            if beyond == "edge":
                row[high:, :wide] = grid[-1]
                row[:, wide:] = row[:, wide - 1 : wide]
        return on(made, self.device)


def on(array: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor on a device; what has twice the digits becomes float32, which every device has."""
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda" and tensor.numel():
        # From other memory a card takes nothing before it has done all that it was given.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def applied(matrices: Matrices, planes: Tensor) -> Tensor:
    """Rows (B,h,H) and columns (B,w,W) applied to planes (B,...,H,W): (B,...,h,w)."""
    rows, columns = (
        matrix.view(len(matrix), *[1] * (planes.ndim - 3), *matrix.shape[1:]) for matrix in matrices
    )
    return rows @ planes @ columns.mT


def stacked(matrices: Sequence[np.ndarray], rows: int, device: torch.device) -> Tensor:
    """Matrices (h,H) of B frames as (B,rows,largest H): the last row repeated, columns of nothing behind."""
    unique = {id(matrix): matrix for matrix in matrices}
    order = sorted(unique)
    own = [unique[one] for one in order]
    table = KEPT.get((device, rows, *order), own, lambda: on(_table(own, rows), device))
    if len(order) == 1:
        return table.expand(len(matrices), -1, -1)
    numbers = tuple(order.index(id(matrix)) for matrix in matrices)
    # Blurs of the same sides have the same numbers.
    which = KEPT.get((device, "rows", *numbers), [], lambda: on(np.array(numbers), device))
    return table[which]


class Kept:
    """Tensors that stay on a device: frames that follow each other need the same ones. most: how many are
    kept, those that were asked for last."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._kept: OrderedDict[tuple[object, ...], tuple[list[np.ndarray], Tensor]] = OrderedDict()

    def get(self, key: tuple[object, ...], of: list[np.ndarray], make: Callable[[], Tensor]) -> Tensor:
        """What was made for a key that has the device in it; of: arrays whose ids are in the key, which are
        kept too, so that no others take their numbers."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            else:
                self._kept[key] = of, make()
            tensor = self._kept[key][1]
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return tensor


# Some thirty matrices belong to a batch, at 512 px one has half a megabyte; and a few rows of numbers.
KEPT = Kept(128)


def _table(matrices: list[np.ndarray], rows: int) -> np.ndarray:
    """Matrices (h,H) as (N,rows,largest H)."""
    table = np.zeros((len(matrices), rows, max(matrix.shape[1] for matrix in matrices)), np.float32)
    for part, matrix in zip(table, matrices, strict=True):
        high, wide = matrix.shape
        part[:high, :wide] = matrix
        part[high:, :wide] = matrix[-1]
    return table


@lru_cache(maxsize=256)
def blurring(length: int, sigma: float, border: int = cv2.BORDER_DEFAULT) -> np.ndarray:
    """What `cv2.GaussianBlur` of float32 does along an axis of that length: float32 (length, length)."""
    size = round(8 * sigma + 1) | 1
    return cv2.GaussianBlur(_identity(length), (1, size), sigmaX=sigma, sigmaY=sigma, borderType=border)


@lru_cache(maxsize=256)
def averaging(length: int, width: int) -> np.ndarray:
    """What `cv2.blur` does along an axis of that length: float32 (length, length)."""
    return cv2.blur(_identity(length), (1, width))


@lru_cache(maxsize=256)
def resizing(length: int, wanted: int, kernel: int = cv2.INTER_LINEAR) -> np.ndarray:
    """What `cv2.resize` does along an axis: float32 (wanted, length)."""
    return cv2.resize(_identity(length), (length, wanted), interpolation=kernel)


@lru_cache(maxsize=1024)
def enlarging(whole: int, start: int, length: int, wanted: int) -> np.ndarray:
    """A part of an axis, cut out and enlarged: float32 (wanted, whole)."""
    matrix = np.zeros((wanted, whole), np.float32)
    matrix[:, start : start + length] = resizing(length, wanted)
    return matrix


@lru_cache(maxsize=1024)
def smoothing_and_enlarging(whole: int, start: int, length: int, size: int) -> np.ndarray:
    """A part of an axis of units, cut out, smoothed as a warp is and enlarged to the pixels of a crop of
    `size`: float32 (pixels, whole)."""
    enlarged = enlarging(whole, start, length, length * size // UNITS)
    smoothed = cv2.sepFilter2D(_identity(length), -1, np.ones(1, np.float32), smoothing(size))
    matrix = np.zeros_like(enlarged)
    matrix[:, start : start + length] = enlarged[:, start : start + length] @ smoothed
    return matrix


def _identity(length: int) -> np.ndarray:
    return np.eye(length, dtype=np.float32)
