"""Lips of a batch, drawn towards what texture models expect: see `ExpectedTexture.draw`."""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from ...face.alignment import UNITS
from ..texture_model import COARSE, STEP, ExpectedTexture
from .batch import Batch
from .windows import applied, blurring, resizing


def draw_expected(batch: Batch, lips: Tensor) -> Tensor:
    """Lips (B,3,h,w), levels, pixels of the batch's cores, drawn towards what is expected of each frame."""
    if all(frame.texture is None for frame in batch.frames):
        return lips
    cores, size = batch.cores, batch.size
    textures = [
        frame.texture or _nothing(core.shape) for frame, core in zip(batch.frames, cores.own, strict=True)
    ]
    pictures = cores.packed([one.picture for one in textures]).movedim(-1, 1)
    shares = cores.packed([one.share for one in textures])[:, None]
    height, width = (side // STEP for side in cores.shape)
    shape = height, width
    smaller = cores.matrices(lambda side: resizing(side * size // UNITS, side // STEP, cv2.INTER_AREA), shape)
    soft = cores.matrices(lambda side: blurring(side // STEP, COARSE / STEP), shape)
    enlarge = cores.matrices(lambda side: resizing(side // STEP, side * size // UNITS), cores.canvas(size))
    apart = shares * (pictures - applied(smaller, lips))
    return lips + applied(enlarge, applied(soft, apart))


def _nothing(shape: tuple[int, int]) -> ExpectedTexture:
    """What draws lips on a window of that shape, units, towards nothing."""
    height, width = (side // STEP for side in shape)
    return ExpectedTexture(np.zeros((height, width, 3), np.float32), np.zeros((height, width), np.float32))
