"""The frame's edge in a batch: see `square/frame_edge.py`."""

from __future__ import annotations

import torch
from torch import Tensor

from ..square.areas import smooth_step
from ..square.frame_edge import FREE


def fill_unseen(pictures: Tensor, lent: Tensor, weights: Tensor, used: Tensor) -> Tensor:
    """Warped pictures (B,R,3,h,w); what one has not seen is taken from those that have.

    lent: (B,R,1,h,w) 0..1, see `lent_part`; weights: (B,R); used: bool (B,R), false for what only fills up R.
    """
    heavy = weights.clamp_min(1e-3).masked_fill(~used, 0)[..., None, None, None]
    least = heavy.masked_fill(heavy == 0, torch.inf).amin(1)
    total = (heavy * lent).sum(1)
    common = (heavy * lent * pictures).sum(1) / total.clamp_min(1e-6)
    known = (total / least).clamp(max=1)
    return pictures + (known[:, None] * (1 - lent)) * (common[:, None] - pictures)


def slowed_at_edge(shift: Tensor, depth: Tensor) -> Tensor:
    """Movement (B,2,h,w) in units, less towards the frame's edge and none there; depth: (B,1,h,w), see
    `depth_units`."""
    near = (torch.linalg.vector_norm(shift, dim=1, keepdim=True) * (depth < FREE)).amax((2, 3), keepdim=True)
    return torch.where(near > 0, shift * smooth_step(depth / (2 * near).clamp_min(2)), shift)
