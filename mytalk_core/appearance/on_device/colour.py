"""Colour match of a batch: see the file of this name one folder up, whose numbers these are."""

from __future__ import annotations

import cv2
import torch
import torch.nn.functional as F
from torch import Tensor

from ..colour import CELL, SIGMAS, TOLERANCE, TRUST
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
    frame: Tensor, rendering: Tensor, ring: Tensor, blurs: list[Matrices], limit: float = 48.0
) -> tuple[Tensor, Tensor]:
    """What to add to renderings so that they meet their frames on the ring.

    frame, rendering: (B,3,h,w) levels; ring: (B,1,h,w) weights 0..1, 0 beyond a frame's own window; blurs:
    see `cell_blurs`. Returns (B,3,h/4,w/4) levels, and the misfit (B,).
    """
    weight = F.avg_pool2d(ring, CELL)
    weight = weight * (F.avg_pool2d((ring == 0).float(), CELL) == 0)
    difference = F.avg_pool2d(frame, CELL).round() - F.avg_pool2d(rendering, CELL).round()
    known, on_ring = weight.sum((1, 2, 3), keepdim=True) >= 1e-3, weight > 0
    centre = masked_median(difference, on_ring)
    spread = (difference - centre).abs().mean(1, keepdim=True)
    scale = TOLERANCE + 1.5 * masked_median(spread, on_ring)
    weight = weight / (1 + (spread / scale) ** 2)
    total = weight.sum((1, 2, 3), keepdim=True).clamp_min(1e-6)
    correction = ((difference * weight).sum((2, 3), keepdim=True) / total).expand(difference.shape)
    for blur, trust in zip(blurs, TRUST, strict=True):
        packed = applied(blur, torch.cat([(difference - correction) * weight, weight], dim=1))
        correction = correction + packed[:, :3] / (packed[:, 3:] + trust)
    left = ((difference - correction) ** 2).mean(1, keepdim=True)
    misfit = ((left * weight).sum((1, 2, 3), keepdim=True) / total).sqrt()
    return (correction.clamp(-limit, limit) * known), (misfit * known).flatten()


def masked_median(values: Tensor, mask: Tensor) -> Tensor:
    """The median of values (B,C,h,w) over each plane's part where mask (B,1,h,w) is true: (B,C,1,1); of an
    even number the mean of the middle two; 0 where the mask is empty."""
    count = mask.flatten(1).sum(1)[:, None, None].expand(-1, values.shape[1], -1)
    ranked = values.masked_fill(~mask, torch.inf).flatten(2).sort(-1).values
    low, high = (ranked.gather(-1, at.clamp_min(0)) for at in ((count - 1) // 2, count // 2))
    return torch.where(count > 0, (low + high) / 2, 0.0)[..., None]
