"""Lips of a batch, drawn towards what texture models expect: see `ExpectedTexture.draw`."""

from __future__ import annotations

import cv2
from torch import Tensor

from ...face.alignment import UNITS
from ..references.texture_model import COARSE, STEP
from .batch import Batch
from .windows import applied, blurring, resizing


def draw_expected(batch: Batch, lips: Tensor) -> Tensor:
    """Lips (B,3,h,w), levels, pixels of the batch's cores, drawn towards what is expected of each frame."""
    # A renderer has a model for all of its frames, or for none.
    textures = [frame.texture for frame in batch.frames if frame.texture is not None]
    if not textures:
        return lips
    cores, size = batch.cores, batch.size
    pictures = cores.packed([one.picture for one in textures]).movedim(-1, 1)
    shares = cores.packed([one.share for one in textures])[:, None]
    height, width = cores.shape
    shape = height // STEP, width // STEP
    smaller = cores.matrices(lambda side: resizing(side * size // UNITS, side // STEP, cv2.INTER_AREA), shape)
    soft = cores.matrices(lambda side: blurring(side // STEP, COARSE / STEP), shape)
    enlarge = cores.matrices(lambda side: resizing(side // STEP, side * size // UNITS), cores.canvas(size))
    apart = shares * (pictures - applied(smaller, lips))
    return lips + applied(enlarge, applied(soft, apart))
