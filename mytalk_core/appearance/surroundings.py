"""What is about a mouth follows the jaw: neck and cheeks are the frame's own, stretched."""

from __future__ import annotations

import cv2
import numpy as np

from ..face.alignment import UNITS
from .prepared import PreparedFrame
from .square.frame_edge import depth_units, slowed_at_edge
from .square.warp import pixel_grid, sample

BLEND_UNITS = 9
FOLD_UNITS = 2.5


def move_surroundings(crop: np.ndarray, prepared: PreparedFrame) -> np.ndarray:
    """Let neck and cheeks follow the jaw in a crop uint8 (S, S, 3), in place; where, (h, w) 0..1 by unit.

    Without it a jaw that closes would leave the old chin standing below the new one. What lies beyond
    the new jaw is the frame's own neck and background, stretched, never a reference's. At the frame's
    edge nothing moves.
    """
    mask, coarse = prepared.mask, prepared.warps.coarse
    if not prepared.moves:
        return np.zeros(mask.window.shape, np.float32)
    # On the unit grid and blurred: a fold of the mesh, as between lips and nose, must not tear the skin.
    shift = (coarse.coordinates(prepared.source) - coarse.pixels()) * mask.reach[..., None]
    shift = cv2.GaussianBlur(shift, (0, 0), FOLD_UNITS)
    if prepared.inside is not None:
        shift = slowed_at_edge(shift, mask.window.cut(depth_units(prepared.inside)))
    # Half a unit of movement is a full replacement; blurred, for a mask without teeth of its own.
    moved = np.clip((np.hypot(shift[..., 0], shift[..., 1]) - 0.1) / 0.4, 0, 1)
    moved = cv2.blur(moved, (BLEND_UNITS, BLEND_UNITS)) * np.minimum(1, 4 * mask.reach)
    size = crop.shape[0]
    shift = mask.window.enlarge(shift, size) * np.float32(size / UNITS)
    mask.window.cut(crop)[:] = sample(crop, pixel_grid(mask.window.pixels(size)) + shift)
    return moved
