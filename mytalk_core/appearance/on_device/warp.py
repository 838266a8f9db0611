"""Mesh warps of a batch: where each pixel comes from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...face.alignment import UNITS
from ..square.raster import Triangulation, edge_inverses, triangle_affines
from .windows import Windows, on


def triangle_maps(
    triangulation: Triangulation, targets: np.ndarray, sources: np.ndarray, device: torch.device
) -> Tensor:
    """The maps, in units, of all triangles over targets (B,V,2) to the R sources (B,R,V,2) of each, on a
    device: float32 (B,R,F,6)."""
    targets, triangles = targets[:, None], triangulation.triangles
    maps = triangle_affines(targets, edge_inverses(targets, triangles), sources, triangles)
    return on(maps.reshape(*maps.shape[:3], 6), device)


def pixel_maps(maps: Tensor, size: int) -> Tensor:
    """Maps (B,R,F,6) in units, from pixel indices of a crop of `size` to such: see `MeshWarp.affines`."""
    by_x, by_y, shift = maps.unflatten(-1, (2, 3)).unbind(-1)
    shift = shift * (size / UNITS) + (by_x + by_y) * 0.5 - 0.5
    return torch.stack([by_x, by_y, shift], dim=-1).flatten(-2)


@dataclass(frozen=True)
class MeshWarps:
    """B warps, each to its frame's target, on windows of crops of one size.

    triangle: int64 (B,h,w), which triangle covers a pixel; x (B,1,w), y (B,h,1): the pixels' own indices.
    """

    triangle: Tensor
    x: Tensor
    y: Tensor

    @classmethod
    def of(cls, triangle: Tensor, windows: Windows, size: int) -> MeshWarps:
        """triangle: see above, of the windows in crops of `size`."""
        return cls(triangle, *windows.pixels(size))

    def coordinates(self, affines: Tensor) -> Tensor:
        """Where the pixels come from, by the maps (B,R,F,6), see `pixel_maps`, of R sources: float32
        (B,R,2,h,w), indices (x, y)."""
        a, b, c, d, e, f = self._taken(affines)
        x, y = self.x[:, None], self.y[:, None]
        return torch.stack([a * x + b * y + c, d * x + e * y + f], dim=2)

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


def levels(pictures: Tensor) -> Tensor:
    """Whole levels 0..255, as pictures of uint8 have them; float32."""
    return pictures.round().clamp(0, 255)
