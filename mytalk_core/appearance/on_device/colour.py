"""Colour match of a batch: see the file of this name one folder up, whose numbers these are."""

from __future__ import annotations

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from ..colour import CELL, LIMIT, SIGMAS, TOLERANCE, TRUST
from .windows import Matrices, Windows, applied, blurring


def cell_blurs(windows: Windows) -> list[Matrices]:
    """The blurs of `ring_correction`, one for each of its scales, on the cells of the windows."""
    height, width = windows.shape
    return [
        windows.matrices(
            lambda side, sigma=sigma: blurring(side // CELL, sigma, cv2.BORDER_CONSTANT),  # type: ignore[misc]
            (height // CELL, width // CELL),
        )
        for sigma in SIGMAS
    ]


def ring_correction(
    frame: Tensor, rendering: Tensor, ring: Tensor, blurs: list[Matrices]
) -> tuple[Tensor, Tensor]:
    """What to add to renderings so that they meet their frames on the ring.

    frame (B,3,h,w), rendering (B,R,3,h,w): levels; ring: (B,R,1,h,w) weights 0..1, 0 beyond a frame's own
    window; blurs: see `cell_blurs`. Returns (B,R,3,h/4,w/4) levels, and the misfit (B,R).
    """
    weight = _cells(ring)
    weight = weight * (_cells((ring == 0).float()) == 0)
    difference = F.avg_pool2d(frame, CELL).round()[:, None] - _cells(rendering).round()
    known, on_ring = weight.sum((2, 3, 4), keepdim=True) >= 1e-3, weight > 0
    centre = masked_median(difference, on_ring)
    spread = (difference - centre).abs().mean(2, keepdim=True)
    scale = TOLERANCE + 1.5 * masked_median(spread, on_ring)
    weight = weight / (1 + (spread / scale) ** 2)
    total = weight.sum((2, 3, 4), keepdim=True).clamp_min(1e-6)
    correction = ((difference * weight).sum((3, 4), keepdim=True) / total).expand(difference.shape)
    for blur, trust in zip(blurs, TRUST, strict=True):
        packed = applied(blur, torch.cat([(difference - correction) * weight, weight], dim=2))
        correction = correction + packed[:, :, :3] / (packed[:, :, 3:] + trust)
    correction = correction.clamp(-LIMIT, LIMIT)
    left = ((difference - correction) ** 2).mean(2, keepdim=True)
    misfit = ((left * weight).sum((2, 3, 4), keepdim=True) / total).sqrt()
    return (correction * known), (misfit * known).flatten(1)


def _cells(planes: Tensor) -> Tensor:
    """The means of (B,R,C,h,w) over cells: (B,R,C,h/4,w/4)."""
    return F.avg_pool2d(planes.flatten(0, 1), CELL).unflatten(0, planes.shape[:2])


def masked_median(values: Tensor, mask: Tensor) -> Tensor:
    """The median of values (...,C,h,w) over each plane's part where mask (...,1,h,w) is true: (...,C,1,1); of
    an even number the mean of the middle two; 0 where the mask is empty."""
    count = mask.flatten(-3).sum(-1)[..., None, None].expand(*values.shape[:-2], 1)
    ranked = values.masked_fill(~mask, torch.inf).flatten(-2).sort(-1).values
    low, high = (ranked.gather(-1, at.clamp_min(0)) for at in ((count - 1) // 2, count // 2))
    return torch.where(count > 0, (low + high) / 2, 0.0)[..., None]
