"""Fades on a device, see `Fade`: pictures float32 (B,3,h,w), levels, of B frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..fade import Fade
from .warp import levels
from .windows import on


def undone(pictures: Tensor, fades: Sequence[Fade]) -> Tensor:
    """They as they were before; themselves if nothing has faded."""
    if all(fade.is_none for fade in fades):
        return pictures
    left, gone = _shares(fades, pictures.device)
    return levels((pictures - gone) / left)


def done(pictures: Tensor, fades: Sequence[Fade]) -> Tensor:
    """They as they are after; themselves if nothing fades."""
    if all(fade.is_none for fade in fades):
        return pictures
    left, gone = _shares(fades, pictures.device)
    return left * pictures + gone


def _shares(fades: Sequence[Fade], device: torch.device) -> tuple[Tensor, Tensor]:
    """What is left of each, and the levels that the rest has: float32 (B,1,1,1)."""
    pairs = np.array([(fade.left, (1 - fade.left) * fade.colour) for fade in fades])
    left, gone = on(pairs, device)[..., None, None, None].unbind(1)
    return left, gone
