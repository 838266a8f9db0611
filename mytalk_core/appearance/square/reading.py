"""Pictures read at places between their pixels, on any device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CUBIC = -0.75  # the cubic kernel's slope, OpenCV's and PyTorch's


def read_at(pictures: Tensor, coordinates: Tensor, kernel: str = "bicubic", beyond: str = "border") -> Tensor:
    """Pictures (B,C,H,W) at pixel indices (x, y) (B,2,h,w): (B,C,h,w).

    kernel: "bicubic" or "bilinear"; beyond: what is read beyond the edge, "border" repeats it, "zeros".
    """
    if pictures.device.type == "mps":
        return gathered_at(pictures, coordinates, kernel, beyond)
    grid = _grid(coordinates, pictures.shape[-2:])
    return F.grid_sample(pictures, grid, mode=kernel, padding_mode=beyond, align_corners=False)


def read_each_at(
    pictures: Iterable[Tensor], coordinates: Tensor, kernel: str = "bicubic", beyond: str = "border"
) -> Tensor:
    """`read_at` of R pictures (B,C,H,W) of one size, one after the other, each at its own coordinates
    (B,R,2,h,w): (B,R,C,h,w)."""
    read, grid = [], None
    for own, at in zip(pictures, coordinates.unbind(1), strict=True):
        if own.device.type == "mps":
            read.append(gathered_at(own, at, kernel, beyond))
            continue
        if grid is None:
            every = _grid(coordinates.flatten(0, 1), own.shape[-2:])
            grid = iter(every.unflatten(0, coordinates.shape[:2]).unbind(1))
        at = next(grid)
        read.append(F.grid_sample(own, at, mode=kernel, padding_mode=beyond, align_corners=False))
    return torch.stack(read, dim=1)


def _grid(coordinates: Tensor, shape: Sequence[int]) -> Tensor:
    """Pixel indices (x, y) (B,2,h,w) of pictures (H,W) as `grid_sample` has them: (B,h,w,2)."""
    (height, width), (x, y) = shape, coordinates.unbind(1)
    return torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)


def gathered_at(pictures: Tensor, coordinates: Tensor, kernel: str, beyond: str) -> Tensor:
    """`read_at`, pixel by pixel of the kernel: on Apple's devices PyTorch before 2.13 reads neither with a
    cubic kernel nor beyond the edge."""
    height, width = pictures.shape[-2:]
    low = coordinates.floor()
    taps = _taps(coordinates - low, kernel)
    first = 1 - len(taps) // 2
    flat, total = pictures.flatten(2), pictures.new_zeros(*pictures.shape[:2], *coordinates.shape[2:])
    for down, weights_y in enumerate(taps, first):
        for right, weights_x in enumerate(taps, first):
            x, y = low[:, 0] + right, low[:, 1] + down
            weight = weights_x[:, 0] * weights_y[:, 1]
            if beyond == "zeros":
                weight = weight * ((x >= 0) & (x < width) & (y >= 0) & (y < height))
            at = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).long().flatten(1)
            pixels = flat.gather(2, at[:, None].expand(-1, flat.shape[1], -1))
            total += weight[:, None] * pixels.unflatten(2, coordinates.shape[2:])
    return total


def _taps(share: Tensor, kernel: str) -> list[Tensor]:
    """Weights of the pixels about places that lie by `share` 0..1 behind the second of four, or the first of
    two."""
    if kernel == "bilinear":
        return [1 - share, share]

    def near(distance: Tensor) -> Tensor:
        return ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1

    def far(distance: Tensor) -> Tensor:
        return ((distance - 5) * distance + 8) * distance * CUBIC - 4 * CUBIC

    return [far(1 + share), near(share), near(1 - share), far(2 - share)]
