"""Bring a rendered crop back into its frame, at the frame's own resolution, inside the mask only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from .square.crop import SMALLEST, crop_matrix

if TYPE_CHECKING:
    from ..media.patch import Patch

LEAST_ALPHA = 1 / 512  # what is less new is not new
LEFT = 1.5  # samples a side that a cubic kernel reads for one, and neither blurs nor aliases
HELD = 2.0**-18  # so little of what is new changes no sample, of up to 16 bits


@dataclass(frozen=True)
class PatchArea:
    """Where a crop's new pixels lie in its frame.

    top, left, height, width: px; matrix: float (2, 3), from indices of its pixels to the crop's.
    """

    top: int
    left: int
    height: int
    width: int
    matrix: np.ndarray

    def shrink(self, size: int) -> int:
        """How many pixels a side of a crop of `size` are averaged before it is read: a power of two, so that
        a pixel of the frame still has `LEFT` of what comes of it. One of the smallest is the frame enlarged,
        and has nothing finer."""
        if size <= SMALLEST:
            return 1
        return 1 << int(np.log2(max(np.hypot(*self.matrix[:, 0]) / LEFT, 1)))

    def to_averaged(self, shrink: int) -> np.ndarray:
        """The matrix to a crop that was averaged so."""
        matrix = self.matrix / shrink
        matrix[:, 2] += (0.5 - 0.5 * shrink) / shrink
        return matrix


def patch_area(
    rows: np.ndarray, columns: np.ndarray, similarity: np.ndarray, shape: tuple[int, ...]
) -> PatchArea | None:
    """The smallest area that holds all that is new, None if it does not meet the frame.

    rows, columns: bool (S,), in which of the crop's anything is new; similarity: float (2, 3), frame pixels
    to canonical units; shape: the frame's (H, W, ...).
    """
    new_rows, new_columns = np.flatnonzero(rows), np.flatnonzero(columns)
    if len(new_rows) == 0:
        return None
    matrix = crop_matrix(similarity, len(rows))
    back = cv2.invertAffineTransform(matrix)
    corners = np.array(
        [
            [x, y, 1.0]
            for x in (new_columns[0] - 1, new_columns[-1] + 1)
            for y in (new_rows[0] - 1, new_rows[-1] + 1)
        ]
    )
    corners_px = corners @ back.T
    left, top = np.maximum(np.floor(corners_px.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners_px.max(0)).astype(int) + 1, shape[1::-1])
    if right <= left or bottom <= top:
        return None
    matrix[:, 2] += matrix[:, :2] @ (left, top)
    return PatchArea(int(top), int(left), int(bottom - top), int(right - left), matrix)


def make_patch(
    shape: tuple[int, ...], crop: np.ndarray, similarity: np.ndarray, alpha: np.ndarray
) -> Patch | None:
    """The part of a frame that a rendered crop replaces.

    Args:
        shape: the frame's (H, W, ...) px.
        crop: uint8 (S, S, 3), rendered in the canonical square.
        similarity: float (2, 3), frame pixels to canonical units.
        alpha: float32 (S, S) in 0..1, how much of the crop is new.

    Returns:
        A patch for the bounding box of alpha above zero; alpha is exactly 0 outside the mask. None if the
        mask does not meet the frame.
    """
    from ..media.patch import Patch

    is_new = alpha > 0
    area = patch_area(np.any(is_new, axis=1), np.any(is_new, axis=0), similarity, shape)
    if area is None:
        return None
    size = (area.width, area.height)
    side, shrink = len(crop), area.shrink(len(crop))
    if shrink > 1:  # a face smaller than the crop: a cubic kernel alone would alias
        crop = cv2.resize(crop, (side // shrink, side // shrink), interpolation=cv2.INTER_AREA)
    # WARP_INVERSE_MAP: the matrix tells where in the crop each pixel of the frame is read.
    rgb = cv2.warpAffine(
        crop,
        area.to_averaged(shrink),
        size,
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    new = cv2.warpAffine(
        alpha,
        area.matrix,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    new[new < LEAST_ALPHA] = 0
    return Patch(area.top, area.left, rgb, new.clip(0, 1, out=new))


def held(patch: Patch, matte: np.ndarray | None, similarity: np.ndarray) -> Patch:
    """A patch that lets the colour beside a cover change up to the cover's edge.

    Colour is mostly kept at half the resolution, and it stays where a player spreads it over a pixel with
    alpha 0: beside a cover new skin would keep the colour of the lips that were there. The cover's pixels get
    the alpha HELD: their own samples stay, and a sample that they share with the face is mixed.

    Args:
        patch: of a frame.
        matte: float32 (S, S) in 0..1 of the canonical square, 1 where the frame's own pixels stay on top;
        None where nothing does, and the patch stays as it is.
        similarity: float (2, 3), frame pixels to canonical units.
    """
    if matte is None:
        return patch
    matrix = crop_matrix(similarity, len(matte))
    matrix[:, 2] += matrix[:, :2] @ (patch.left, patch.top)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    covered = cv2.warpAffine(matte, matrix, patch.alpha.shape[::-1], flags=flags) > 0
    return replace(patch, alpha=np.where(covered, np.maximum(patch.alpha, np.float32(HELD)), patch.alpha))
