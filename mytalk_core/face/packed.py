"""Landmarks of a long video in half the memory: 16-bit steps within each frame's own box."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

STEPS = 32000


class Rows(Protocol):
    """Rows (n,...) read by their numbers: an array, or what makes them when it is indexed."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray: ...


class PackedLandmarks:
    """A (T,N,3) array of landmarks, read by indexing.

    Ten minutes of 478 points are 100 MB as float32. Here each frame is kept as int16 steps about its centre,
    1/32000 of half its box: 0.02 px for a face of 1000 px, a tenth of the mesh's own jitter. Rows never
    written read as zeros and cost nothing: the operating system allocates the store lazily.
    """

    def __init__(self, length: int, points: int) -> None:
        self._steps = np.zeros((length, points, 3), np.int16)
        self._centre = np.zeros((length, 1, 3), np.float32)
        self._unit = np.zeros((length, 1, 1), np.float32)

    @staticmethod
    def pack(landmarks: np.ndarray) -> PackedLandmarks:
        """The packed form of an array (T,N,3)."""
        packed = PackedLandmarks(*landmarks.shape[:2])
        packed[:] = landmarks
        return packed

    @staticmethod
    def from_parts(steps: np.ndarray, centre: np.ndarray, unit: np.ndarray) -> PackedLandmarks:
        """What `parts` gave, bit for bit."""
        packed = PackedLandmarks(0, steps.shape[1])
        packed._steps, packed._centre, packed._unit = steps, centre, unit
        return packed

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """The store itself: steps int16 (T,N,3), centre float32 (T,1,3), unit float32 (T,1,1)."""
        return {"steps": self._steps, "centre": self._centre, "unit": self._unit}

    def __len__(self) -> int:
        return len(self._steps)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, N, 3)."""
        return self._steps.shape

    def __setitem__(self, rows: slice | np.ndarray | int, landmarks: np.ndarray) -> None:
        low, high = landmarks.min(-2, keepdims=True), landmarks.max(-2, keepdims=True)
        centre = (low + high) / 2
        unit = np.maximum((high - low).max(-1, keepdims=True) / 2, 1e-6) / STEPS
        self._centre[rows], self._unit[rows] = centre, unit
        self._steps[rows] = np.rint((landmarks - centre) / unit)

    def __getitem__(self, rows: slice | np.ndarray | int) -> np.ndarray:
        return self._steps[rows] * self._unit[rows] + self._centre[rows]

    def of(self, points: np.ndarray, rows: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Only some points: (rows,P,3) float32, without unpacking the others."""
        return self._steps[rows][:, points] * self._unit[rows] + self._centre[rows]

    def copy_rows(self, rows: np.ndarray, other: PackedLandmarks) -> None:
        """Take over `other`'s rows, in order, as this one's `rows`."""
        count = len(rows)
        self._steps[rows], self._centre[rows] = other._steps[:count], other._centre[:count]
        self._unit[rows] = other._unit[:count]

    def select(self, index: np.ndarray) -> PackedLandmarks:
        """The frames `index`, packed."""
        chosen = PackedLandmarks(0, self.shape[1])
        chosen._steps, chosen._centre, chosen._unit = (
            a[index] for a in (self._steps, self._centre, self._unit)
        )
        return chosen


class Mapped:
    """An array seen through a function of its rows: computed when indexed, never held whole."""

    def __init__(self, length: int, read: Callable[[slice | np.ndarray | int], np.ndarray]) -> None:
        self._length, self._read = length, read

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, rows: slice | np.ndarray | int) -> np.ndarray:
        return self._read(rows)
