"""What is about the mouths of a batch follows the jaws: see the file of this name one folder up."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...face.alignment import UNITS
from ..square.frame_edge import FREE, depth_units
from ..square.reading import read_at
from ..surroundings import BLEND_UNITS, FOLD_UNITS
from .batch import Batch
from .frame_edge import slowed_at_edge
from .warp import levels
from .windows import applied, averaging, blurring, on


def move_surroundings(batch: Batch) -> Tensor:
    """Let neck and cheeks follow the jaws in the batch's crops, in place; where, (B,1,h,w) 0..1 by unit: see
    `move_surroundings` of one frame."""
    windows, reach = batch.windows, batch.of_masks("reach")
    moves = np.array([frame.moves for frame in batch.frames])
    if not moves.any():
        return torch.zeros_like(reach)
    coarse = batch.coarse
    shift = (coarse.coordinates(batch.unit_maps[:, :1])[:, 0] - coarse.pixels()) * reach
    shift = shift * on(moves, batch.device)[:, None, None, None]
    shift = applied(windows.matrices(lambda side: blurring(side, FOLD_UNITS), windows.shape), shift)
    if any(frame.inside is not None for frame in batch.frames):
        shift = slowed_at_edge(shift, _depth(batch))
    # Half a unit of movement is a full replacement; blurred, for a mask without teeth of its own.
    moved = ((torch.linalg.vector_norm(shift, dim=1, keepdim=True) - 0.1) / 0.4).clamp(0, 1)
    blur = windows.matrices(lambda side: averaging(side, BLEND_UNITS), windows.shape)
    moved = applied(blur, moved) * (4 * reach).clamp(max=1)
    shift = applied(batch.on_pixels(windows, batch.size), shift) * (batch.size / UNITS)
    x, y = windows.pixels(batch.size)
    at = torch.stack([x + shift[:, 0], y + shift[:, 1]], dim=1)
    windows.put(levels(read_at(batch.crops, at)), batch.crops)
    return moved


def _depth(batch: Batch) -> Tensor:
    """How far inside its frame each unit of the windows is, (B,1,h,w)."""
    far = np.full((UNITS, UNITS), FREE, np.float32)
    depths = [far if frame.inside is None else depth_units(frame.inside) for frame in batch.frames]
    pairs = zip(batch.windows.own, depths, strict=True)
    return batch.windows.packed([window.cut(depth) for window, depth in pairs])[:, None]
