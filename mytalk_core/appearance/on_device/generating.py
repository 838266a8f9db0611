"""The generator's work for a batch: see `GeneratorRenderer`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import torch
from torch import Tensor

from ..networks.generator import AppearanceGenerator
from ..networks.generator_inputs import frame_pictures, whole_mask
from .batch import Batch
from .windows import applied, on, resizing


def generated(
    batch: Batch,
    generator: AppearanceGenerator,
    dtype: torch.dtype,
    to_own: Callable[[np.ndarray], np.ndarray],
    read: Callable[[int, np.ndarray, Tensor, torch.device], Tensor],
) -> Tensor:
    """The mouths float32 (B,3,h,w) of the cores, levels, drawn in one call of the generator.

    to_own: landmarks (N,2) in the generator's layout; read: what it takes as references of a frame, of its
    index, its own landmarks, its mask and the device.
    """
    config, device = generator.config, batch.device
    crops = batch.crops.to(torch.uint8).movedim(1, -1).cpu().numpy()
    references, pictures = [], []
    lips = batch.of_masks("lips").cpu().numpy()
    for frame, crop, own in zip(batch.frames, crops, lips, strict=True):
        height, width = frame.mask.window.shape
        mask = replace(frame.mask, lips=own[0, :height, :width])
        wanted, whole = to_own(frame.target), whole_mask(mask, config.size)
        references.append(read(frame.index, wanted, whole, device))
        pictures.append(frame_pictures(config, crop, wanted, whole))
    frames, images = (torch.stack(part).to(device) for part in zip(*pictures, strict=True))
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        made = generator(torch.cat(references), frames, images).frames.float()
    made = (made + 1) * 127.5
    if batch.size != config.size:
        whole_axis = on(resizing(config.size, batch.size, cv2.INTER_CUBIC), device)[None]
        made = applied((whole_axis, whole_axis), made)
    return batch.cores.cut(made).clamp(0, 255)
