"""`softened` of a batch of pictures on a device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from ..focus import kernel
from .windows import on


def softened(pictures: Tensor, variances: Sequence[np.ndarray], size: int) -> Tensor:
    """Parts float32 (B,3,h,w) of crops of `size`, each blurred by its variance (2,); see `softened`."""
    for row, variance in enumerate(variances):
        if variance.any():
            x, y = (on(kernel(value, size), pictures.device) for value in variance)
            reach = (len(x) // 2, len(x) // 2, len(y) // 2, len(y) // 2)
            wide = functional.pad(pictures[row, :, None], reach, "replicate")
            along = functional.conv2d(wide, x.view(1, 1, 1, -1))
            pictures[row] = functional.conv2d(along, y.view(1, 1, -1, 1))[:, 0]
    return pictures
