"""Where metrics look: the face crop, the mouth in it, and all that lip sync has no business to change."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...appearance.square.crop import crop_matrix, cut_crop
from ...appearance.square.mask import mouth_mask
from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout

# The paper's pictures are 256 pixels a side: a pixel is one canonical unit.
FACE_PX = UNITS
# The edge of a mask is not sharp: encoders smear it over a block.
MARGIN_PX = 8


@dataclass(frozen=True)
class Regions:
    """Of one frame, on its face crop (256,256) bool: `mouth`, what the true lips and chin cover, the same
    for every system; `editable`, what either face's mouth, chin and moving jaw cover, with a margin."""

    mouth: np.ndarray
    editable: np.ndarray


def face_crop(rgb: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """The canonical square of a frame uint8 (H,W,3) at 256 pixels a side."""
    return cut_crop(rgb, similarity, FACE_PX)


def find_regions(truth: np.ndarray, guess: np.ndarray, layout: LandmarkLayout) -> Regions:
    """The regions of one frame from landmarks (N,2) in canonical units: the reference's and the other's."""
    mouth = np.zeros((FACE_PX, FACE_PX), bool)
    mask = mouth_mask(truth, truth, layout)
    mask.window.cut(mouth)[:] = mask.lips > 0
    editable = np.zeros((FACE_PX, FACE_PX), np.uint8)
    for one, other in ((truth, guess), (truth, truth)):
        mask = mouth_mask(one, other, layout)
        mask.window.cut(editable)[:] |= ((mask.lips > 0) | (mask.reach > 0)).astype(np.uint8)
    margin = np.ones((2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1), np.uint8)
    return Regions(mouth, cv2.dilate(editable, margin) > 0)


def outside_in_frame(editable: np.ndarray, similarity: np.ndarray, height: int, width: int) -> np.ndarray:
    """The frame's pixels (H,W) bool that are not in a face crop's editable part (256,256)."""
    covered = cv2.warpAffine(
        editable.astype(np.uint8),
        crop_matrix(similarity, FACE_PX),
        (width, height),
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return covered == 0


def change(truth: np.ndarray, guess: np.ndarray, inside: np.ndarray) -> float:
    """Mean absolute difference in levels (0 to 255) over the pixels (H,W) inside; 0 where there are none."""
    difference = cv2.absdiff(truth, guess)
    mean = cv2.mean(difference, inside.astype(np.uint8))
    return float(np.mean(mean[:3]))
