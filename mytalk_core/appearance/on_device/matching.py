"""The references of a batch matched in colour: see `references/matching.py`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import torch
from torch import Tensor

from ...face.alignment import UNITS
from ..colour import CELL
from ..square.frame_edge import WHOLE
from ..square.reading import read_each_at
from .batch import Batch
from .colour import cell_blurs, ring_correction
from .frame_edge import fill_unseen
from .warp import levels
from .windows import Windows, applied, on, resizing


@dataclass(frozen=True)
class Matched:
    """R references of B frames: weights float32 (B,R), sum 1, 0 for what only fills up R; corrections
    (B,R,3,h/4,w/4) levels on the windows, to be added once warped; None where colours are left alone."""

    weights: Tensor
    corrections: Tensor | None

    def corrected(self, pictures: Tensor, batch: Batch, parts: Windows, size: int) -> Tensor:
        """Warped pictures (B,R,3,h,w) of parts of the windows in crops of `size`, in the frame's colours,
        and what one has not seen from those that have."""
        if self.corrections is not None:
            pictures += applied(batch.on_pixels(parts, size, CELL), self.corrections)
        if batch.lent is None:
            return pictures
        lent = applied(batch.on_pixels(parts, size), batch.lent)
        return fill_unseen(pictures, lent[:, :, None], self.weights, batch.used)


def match_references(batch: Batch, misfit: float | None) -> Matched:
    """Match a batch's references to its frames on the ring around each mouth.

    misfit: levels of misfit on the ring at which a reference loses its weight to a better one; None leaves
    colours and weights alone.
    """
    weights = on(batch.borrowed.weights, batch.device)
    if misfit is None:
        return Matched(weights / weights.sum(1, keepdim=True), None)
    windows = batch.windows
    shrink = windows.matrices(
        lambda side: resizing(side * batch.size // UNITS, side, cv2.INTER_AREA), windows.shape
    )
    around = levels(applied(shrink, windows.cut(batch.crops)))
    at = (batch.units + 0.5) * (batch.size / UNITS) - 0.5
    warped = levels(read_each_at(batch.lenders(), at, "bilinear"))
    ring = batch.of_masks("ring")[:, None].expand(-1, warped.shape[1], -1, -1, -1)
    if batch.lent is not None:
        ring = ring * (batch.lent[:, :, None] > WHOLE)
    corrections, left = ring_correction(around, warped, ring, cell_blurs(windows))
    least = left.masked_fill(~batch.used, torch.inf).amin(1, keepdim=True)
    weights = weights * torch.exp((least - left) / misfit)
    return Matched(weights / weights.sum(1, keepdim=True), corrections)
