"""Mesh warps of a batch: where each pixel comes from, and reading there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...face.alignment import UNITS
from ..reading import read_at
from ..warp import SMOOTH_UNITS, MeshWarp
from .windows import Matrices, Windows, applied, averaging, on


@dataclass(frozen=True)
class MeshWarps:
    """B warps, each to its frame's target, on windows of crops of `size`.

    triangle: int64 (B,h,w), which triangle covers a pixel; x (B,1,w), y (B,h,1): the pixels' own indices;
    exact: float32 (B,1,h,w) 0..1, where the mesh is followed to the letter, everywhere if None; smooth: the
    blur of what is moved elsewhere.
    """

    warps: Sequence[MeshWarp]
    triangle: Tensor
    x: Tensor
    y: Tensor
    exact: Tensor | None = None
    smooth: Matrices | None = None

    @classmethod
    def of(
        cls, warps: Sequence[MeshWarp], windows: Windows, size: int, exact: Tensor | None = None
    ) -> MeshWarps:
        """warps: of the windows in crops of `size`, made without `exact`."""
        triangle = windows.packed([warp.triangle.astype(np.int16) for warp in warps]).long()
        smooth = None
        if exact is not None:
            width = 2 * round(SMOOTH_UNITS * size / UNITS / 2) + 1
            smooth = windows.matrices(
                lambda side: averaging(side * size // UNITS, width, times=2), windows.canvas(size)
            )
        return cls(warps, triangle, *windows.pixels(size), exact, smooth)

    def coordinates(self, sources: Sequence[np.ndarray]) -> Tensor:
        """Where the pixels come from, by the landmarks (N,2) of each frame's source: float32 (B,2,h,w),
        indices (x, y)."""
        tables = [warp.affines(source) for warp, source in zip(self.warps, sources, strict=True)]
        a, b, c, d, e, f = self._taken([table.reshape(-1, 6) for table in tables]).unbind(-1)
        mapped = torch.stack([a * self.x + b * self.y + c, d * self.x + e * self.y + f], dim=1)
        if self.exact is None or self.smooth is None:
            return mapped
        moved = mapped - self.pixels()
        smooth = applied(self.smooth, moved)
        return smooth + self.pixels() + (moved - smooth) * self.exact

    def stretch(self, sources: Sequence[np.ndarray]) -> Tensor:
        """log2 of how many of the source's pixels make one of the target's: float32 (B,h,w) in -3..3."""
        pairs = zip(self.warps, sources, strict=True)
        return self._taken([warp.stretches(source)[:, None] for warp, source in pairs])[..., 0]

    def pixels(self) -> Tensor:
        """The pixels' own indices (x, y): float32 (B,2,h,w)."""
        shape = self.triangle.shape
        return torch.stack([self.x.expand(shape), self.y.expand(shape)], dim=1)

    def _taken(self, tables: Sequence[np.ndarray]) -> Tensor:
        """Values (F,C) float32 of each pixel's triangle: (B,h,w,C)."""
        rows = max(len(table) for table in tables)
        whole = np.zeros((len(tables), rows, tables[0].shape[1]), np.float32)
        for row, table in zip(whole, tables, strict=True):
            row[: len(table)] = table
        device = self.triangle.device
        start = rows * torch.arange(len(tables), device=device)[:, None, None]
        return on(whole, device).flatten(0, 1)[self.triangle + start]


def sample_units(crops: Tensor, coordinates: Tensor) -> Tensor:
    """Read crops (B,3,S,S) at indices (B,2,h,w) of the unit grid, bilinearly."""
    scale = crops.shape[-1] / UNITS
    return levels(read_at(crops, (coordinates + 0.5) * scale - 0.5, "bilinear"))


def levels(pictures: Tensor) -> Tensor:
    """Whole levels 0..255, as pictures of uint8 have them; float32."""
    return pictures.round().clamp(0, 255)
