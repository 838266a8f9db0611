"""The canonical crop: how large it is, how it is cut out of a frame and which matrix brings it back.

Coordinates are continuous: the centre of pixel ``i`` lies at ``i + 0.5``. The canonical square is 256 units
wide whatever the crop's side ``size`` in pixels, so one pixel is ``256 / size`` units and landmarks never
need rescaling.
"""

from __future__ import annotations

import cv2
import numpy as np

from ...face.alignment import UNITS
from ...media.colour import Box
from .window import SQUARE, Window

STEP = 32  # crop sides are multiples of this, so that windows of 8 units fall on whole pixels
SMALLEST, LARGEST = 256, 768
# This share of the frames has at most so many times as many pixels a side as are drawn.
NEAR, COARSER = 0.95, 1.25


def crop_size(similarity: np.ndarray, present: np.ndarray | None = None) -> int:
    """Side in pixels at which the canonical square has about the source's own resolution.

    Where the face comes nearer, or a cut brings it nearer, hardly a frame is drawn so much coarser than it is
    that it would be seen.

    Args:
        similarity: float (T, 2, 3), frame pixels to canonical units.
        present: bool (T,), frames to count; all where None.

    Returns:
        A multiple of 32 between 256 and 768.
    """
    similarity = similarity if present is None else similarity[present]
    if len(similarity) == 0:
        raise ValueError("crop_size needs at least one frame with a face, got none; skip this track")
    units_per_pixel = np.hypot(similarity[:, 0, 0], similarity[:, 1, 0])
    native = UNITS / units_per_pixel
    native = max(np.median(native), np.quantile(native, NEAR) / COARSER)
    return int(np.clip(np.ceil(native / STEP) * STEP, SMALLEST, LARGEST))


def crop_matrix(similarity: np.ndarray, size: int) -> np.ndarray:
    """Pixel-index matrix (2, 3) for cv2 from a frame to its crop of ``size`` pixels a side."""
    scale = size / UNITS
    linear = similarity[:, :2].astype(np.float64) * scale
    offset = similarity[:, 2] * scale + linear @ np.array([0.5, 0.5]) - 0.5
    return np.concatenate([linear, offset[:, None]], axis=1)


def crop_box(similarity: np.ndarray, size: int, height: int, width: int) -> Box:
    """Top, left, bottom, right of all that `cut_crop` reads of a frame of that height and width, px."""
    matrix = crop_matrix(similarity, size)
    back = cv2.invertAffineTransform(matrix)
    corners = np.array([[x, y, 1.0] for x in (0, size) for y in (0, size)]) @ back.T
    # A cubic kernel reaches two samples further, each the mean of as many pixels as the crop shrinks.
    reach = 4 * max(1, int(1 / max(np.hypot(matrix[0, 0], matrix[1, 0]), 1e-6)))
    # A square beside the frame repeats the frame's edge.
    left, top = np.clip(np.floor(corners.min(0)) - reach, 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)) + reach, (left + 1, top + 1), (width, height)).astype(int)
    return int(top), int(left), int(bottom), int(right)


def cut_crop(
    rgb: np.ndarray,
    similarity: np.ndarray,
    size: int,
    room: np.ndarray | None = None,
    sharp: Window = SQUARE,
) -> np.ndarray:
    """Cut the canonical square out of a frame.

    Args:
        rgb: uint8 (H, W, 3).
        similarity: float (2, 3), frame pixels to canonical units.
        size: side of the crop in pixels.
        room: uint8 (size, size, 3), memory that the crop is made in.
        sharp: the part that a cubic kernel reads; a linear one, which takes a third of the time, reads the
        rest.

    Returns:
        uint8 (size, size, 3); what lies outside the frame repeats its edge.
    """
    matrix = crop_matrix(similarity, size)
    shrink = int(1 / max(np.hypot(matrix[0, 0], matrix[1, 0]), 1e-6))
    if shrink >= 2:  # a face larger than the crop: average first, a cubic kernel alone would alias
        height, width = (max(side // shrink, 1) for side in rgb.shape[:2])
        fit = np.array([rgb.shape[1] / width, rgb.shape[0] / height])
        rgb = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
        matrix[:, 2] += matrix[:, :2] @ (0.5 * fit - 0.5)
        matrix[:, :2] *= fit
    crop = np.empty((size, size, 3), np.uint8) if room is None else room
    rest = [(part, cv2.INTER_LINEAR) for part in sharp.around(SQUARE)]
    for part, kernel in [(sharp, cv2.INTER_CUBIC), *rest]:
        top, left, bottom, right = part.pixels(size)
        shifted = matrix - [[0, 0, left], [0, 0, top]]
        part.cut(crop)[:] = cv2.warpAffine(
            rgb, shifted, (right - left, bottom - top), flags=kernel, borderMode=cv2.BORDER_REPLICATE
        )
    return crop
