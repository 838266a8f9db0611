"""Bring a rendered crop back into its frame, at the frame's own resolution, inside the mask only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from .crop import crop_matrix

if TYPE_CHECKING:
    from ..media.patch import Patch


def make_patch(
    frame: np.ndarray, crop: np.ndarray, similarity: np.ndarray, alpha: np.ndarray
) -> Patch | None:
    """The part of a frame that a rendered crop replaces.

    Args:
        frame: uint8 (H, W, 3); only its size matters.
        crop: uint8 (S, S, 3), rendered in the canonical square.
        similarity: float (2, 3), frame pixels to canonical units.
        alpha: float32 (S, S) in 0..1, how much of the crop is new.

    Returns:
        A patch for the bounding box of alpha above zero; alpha is exactly 0 outside the mask. None if the
        mask does not meet the frame.
    """
    from ..media.patch import Patch

    size = crop.shape[0]
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if len(rows) == 0:
        return None
    matrix = crop_matrix(similarity, size)
    back = cv2.invertAffineTransform(matrix)
    corners = np.array(
        [[x, y, 1.0] for x in (columns[0] - 1, columns[-1] + 1) for y in (rows[0] - 1, rows[-1] + 1)]
    )
    corners_px = corners @ back.T
    left, top = np.maximum(np.floor(corners_px.min(0)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners_px.max(0)).astype(int) + 1, frame.shape[1::-1])
    if right <= left or bottom <= top:
        return None
    matrix[:, 2] += matrix[:, :2] @ (left, top)
    area = (int(right - left), int(bottom - top))
    # WARP_INVERSE_MAP: the matrix tells where in the crop each pixel of the frame is read.
    rgb = cv2.warpAffine(
        crop, matrix, area, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    new = cv2.warpAffine(
        alpha,
        matrix,
        area,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    new[new < 1 / 512] = 0
    return Patch(int(top), int(left), rgb, new.clip(0, 1, out=new))
