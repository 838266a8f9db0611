"""Windows about the mouths of a batch, all of one size: what costly losses look at."""

from __future__ import annotations

import torch
from torch import Tensor

from .data import MOUTH, MouthSamples


def mouths(maps: Tensor, samples: MouthSamples) -> Tensor:
    """The windows MOUTH about the lips of maps (B,C,S H,S W)."""
    return windows(maps, mouth_corners(samples.inputs.lips), samples.scale)


def windows(maps: Tensor, corners: Tensor, scale: int = 1) -> Tensor:
    """The windows MOUTH of maps (B,C,S H,S W), S pixels a unit, tops and lefts int64 (B,2), units:
    (B,C,S h,S w)."""
    size = scale * MOUTH[0], scale * MOUTH[1]
    rows, columns = (
        scale * corners[:, axis, None] + torch.arange(length, device=maps.device)
        for axis, length in enumerate(size)
    )
    # A gather and no index of three, whose gradient sorts its places first.
    places = (rows[:, :, None] * maps.shape[-1] + columns[:, None, :]).flatten(1)[:, None]
    return maps.flatten(2).gather(2, places.expand(-1, maps.shape[1], -1)).unflatten(2, size)


def mouth_corners(lips: Tensor) -> Tensor:
    """Top and left, units, of the window MOUTH about the lips of each of B maps of `lip_map` (B,1,H,W): int64
    (B,2); where there are none, of the middle's."""
    shown, middles = lips[:, 0] > 0, []
    for found in (shown.any(2), shown.any(1)):
        places = torch.arange(found.shape[1], device=lips.device) + 0.5
        count = found.sum(1)
        middles.append(torch.where(count > 0, (found * places).sum(1) / count.clamp_min(1), len(places) / 2))
    halves = torch.tensor(MOUTH, device=lips.device) / 2
    return within((torch.stack(middles, dim=1) - halves).round().long(), lips)


def within(corners: Tensor, maps: Tensor) -> Tensor:
    """Corners (B,2) of windows MOUTH, no farther than these lie inside maps (B,C,H,W)."""
    most = [whole - part for whole, part in zip(maps.shape[-2:], MOUTH, strict=True)]
    return corners.clamp_min(0).minimum(torch.tensor(most, device=corners.device))
