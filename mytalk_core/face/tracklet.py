"""One face while it is followed without a cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .look import Look
from .packed import PackedLandmarks
from .shots import Shots


@dataclass(frozen=True)
class Tracklet:
    """One face while it is followed without a cut: rows (n,) frame numbers, landmarks (n..,N,3) frame px,
    looks by the frame they are of (none where no pictures were read)."""

    shot: int
    rows: np.ndarray
    landmarks: PackedLandmarks
    looks: Mapping[int, Look] = field(default_factory=dict)

    def _sample(self) -> np.ndarray:
        return self.landmarks[np.linspace(0, len(self.rows) - 1, min(len(self.rows), 50)).astype(int)]

    @cached_property
    def size_px(self) -> float:
        """Median of the longer side of the landmarks' box."""
        return float(np.median(np.ptp(self._sample()[..., :2], axis=1).max(-1)))

    @cached_property
    def centre_px(self) -> np.ndarray:
        """Median point (x, y) in the frame."""
        return np.median(self._sample()[..., :2].mean(-2), axis=0)

    @property
    def centre_x_px(self) -> float:
        """Median x in the frame."""
        return float(self.centre_px[0])

    def place_px(self, row: int) -> np.ndarray:
        """Point (x, y) in the frame at the frame nearest to `row` that shows the face."""
        return self.landmarks[int(np.abs(self.rows - row).argmin())][:, :2].mean(0)

    def parts(self, shots: Shots) -> list[Tracklet]:
        """What is left of it without blended frames, in the shots that these leave."""
        numbers = np.where(shots.blended[self.rows], -1, shots.numbers[self.rows])
        parts = []
        for shot in np.unique(numbers[numbers >= 0]):
            kept = np.flatnonzero(numbers == shot)
            rows = self.rows[kept]
            looks = {row: look for row, look in self.looks.items() if row in rows}
            parts.append(Tracklet(int(shot), rows, self.landmarks.select(kept), looks))
        return parts
