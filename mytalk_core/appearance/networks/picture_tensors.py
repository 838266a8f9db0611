"""Pictures of levels as the networks read them, and back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def to_tensor(rgb: np.ndarray) -> Tensor:
    """uint8 (...,H,W,3) -> float32 (...,3,H,W) in [-1,1]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).movedim(-1, -3).float() / 127.5 - 1.0


def to_rgb(pictures: Tensor) -> np.ndarray:
    """(...,3,H,W), about [-1,1], any dtype and device -> uint8 (...,H,W,3)."""
    levels = ((pictures.detach().float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return levels.movedim(-3, -1).cpu().numpy()
