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

    def affines(self, sources: np.ndarray) -> Tensor:
        """The triangles' maps by the landmarks (B,R,N,2) of each frame's R sources, on the device: float32
        (B,R,F,6), see `MeshWarp.affines`; zeros behind the triangles of a warp that has fewer."""
        most = max(len(warp.triangles) for warp in self.warps)
        made = np.zeros((*sources.shape[:2], most, 6), np.float32)
        for own, warp, source in zip(made, self.warps, sources, strict=True):
            own[:, : len(warp.triangles)] = warp.affines(source).reshape(len(source), -1, 6)
        return on(made, self.triangle.device)

    def coordinates(self, affines: Tensor) -> Tensor:
        """Where the pixels come from, by the maps (B,R,F,6) of R sources: float32 (B,R,2,h,w), indices
        (x, y)."""
        a, b, c, d, e, f = self._taken(affines)
        x, y = self.x[:, None], self.y[:, None]
        mapped = torch.stack([a * x + b * y + c, d * x + e * y + f], dim=2)
        if self.exact is None or self.smooth is None:
            return mapped
        own = self.pixels()[:, None]
        moved = mapped - own
        smooth = applied(self.smooth, moved)
        return smooth + own + (moved - smooth) * self.exact[:, None]

    def stretch(self, affines: Tensor) -> Tensor:
        """log2 of how many of a source's pixels make one of the target's: float32 (B,R,h,w) in -3..3."""
        a, b, _, d, e, _ = affines.unbind(-1)
        stretches = (a * e - b * d).abs().clamp(1 / 8, 8).log2()
        return self._taken(stretches[..., None])[0]

    def pixels(self) -> Tensor:
        """The pixels' own indices (x, y): float32 (B,2,h,w)."""
        shape = self.triangle.shape
        return torch.stack([self.x.expand(shape), self.y.expand(shape)], dim=1)

    def _taken(self, values: Tensor) -> Tensor:
        """Of values (B,R,F,C) those of each pixel's triangle: (C,B,R,h,w)."""
        batch, count, most, _ = values.shape
        start = most * torch.arange(batch * count, device=values.device).view(batch, count, 1, 1)
        return values.flatten(0, 2).T.contiguous()[:, self.triangle[:, None] + start]


def sample_units(crops: Tensor, coordinates: Tensor) -> Tensor:
    """Read crops (B,3,S,S) at indices (B,2,h,w) of the unit grid, bilinearly."""
    scale = crops.shape[-1] / UNITS
    return levels(read_at(crops, (coordinates + 0.5) * scale - 0.5, "bilinear"))


def levels(pictures: Tensor) -> Tensor:
    """Whole levels 0..255, as pictures of uint8 have them; float32."""
    return pictures.round().clamp(0, 255)
