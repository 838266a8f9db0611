"""Pasting RGB patches into a frame's native samples, leaving every other sample as it was."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .colour import Box, Colour, rgb_to_native
from .picture import Picture
from .pixels import PixelLayout, copy_frame, layout_of, planes_of

# A scaler that interpolates chroma reads at most this many chroma samples to either side (Lanczos 3, the
# widest in use).
CHROMA_REACH = 3


@dataclass(frozen=True, eq=False)
class Patch:
    """New pixels for a rectangle of an upright frame; it may reach over the frame's edge.

    top, left: px; rgb: (h, w, 3) uint8 or float32, 0..255; alpha: float32 (h, w), 0..1, 0 = the frame's own
    samples stay.
    """

    top: int
    left: int
    rgb: np.ndarray
    alpha: np.ndarray

    def __post_init__(self):
        if self.rgb.ndim != 3 or self.rgb.shape[2] != 3 or self.rgb.shape[:2] != self.alpha.shape:
            raise ValueError(
                f"rgb (h, w, 3) and alpha (h, w) were required, but shapes {self.rgb.shape} and "
                f"{self.alpha.shape} arrived"
            )

    @property
    def box(self) -> Box:
        """Top, left, bottom, right of its rectangle, px."""
        height, width = self.alpha.shape
        return self.top, self.left, self.top + height, self.left + width


def paste(picture: Picture, patches: Sequence[Patch]) -> Picture:
    """A new picture with the patches blended in, one after the other; the given one is not changed.

    Only the patches' own samples are converted, by the inverse of `Picture.rgb`. A luma (or RGB, gray) sample
    changes only where alpha > 0. A subsampled chroma sample changes only where alpha > 0 at every pixel that
    any scaler would colour with it, so that a pixel with alpha 0 has the source's RGB in every player; in
    that rim the brightness alone is blended.
    """
    patches = [
        trimmed for patch in patches if (trimmed := trim(patch, picture.height, picture.width)) is not None
    ]
    if not patches:
        return picture
    frame = copy_frame(picture.frame)
    planes = planes_of(frame)
    layout = layout_of(picture.format_name)
    for patch in patches:
        blend(planes, patch, layout, picture.colour, picture.format_name)
    return Picture(picture.index, frame, picture.colour, picture.converter)


def coverage(patches: Sequence[Patch], height: int, width: int) -> np.ndarray:
    """The mask to save: uint8 (H, W), the largest alpha of the patches, rounded up, so 0 exactly where no
    sample was edited.
    """
    mask = np.zeros((height, width), np.uint8)
    for whole in patches:
        patch = trim(whole, height, width)
        if patch is None:
            continue
        region = mask[
            patch.top : patch.top + len(patch.alpha), patch.left : patch.left + patch.alpha.shape[1]
        ]
        np.maximum(region, np.ceil(patch.alpha * 255.0).astype(np.uint8), out=region)
    return mask


def trim(patch: Patch, height: int, width: int) -> Patch | None:
    """The part of a patch inside the frame and around alpha > 0, alpha clipped to 0..1; None where nothing is
    left.
    """
    top, left = max(0, patch.top), max(0, patch.left)
    bottom, right = (
        min(height, patch.top + patch.alpha.shape[0]),
        min(width, patch.left + patch.alpha.shape[1]),
    )
    if top >= bottom or left >= right:
        return None
    alpha = patch.alpha[top - patch.top : bottom - patch.top, left - patch.left : right - patch.left]
    rows, columns = np.flatnonzero((alpha > 0).any(1)), np.flatnonzero((alpha > 0).any(0))
    if len(rows) == 0:
        return None
    inner = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    rgb = patch.rgb[top - patch.top : bottom - patch.top, left - patch.left : right - patch.left][inner]
    return Patch(
        int(top + rows[0]), int(left + columns[0]), rgb, np.clip(alpha[inner], 0.0, 1.0).astype(np.float32)
    )


def blend(
    planes: list[np.ndarray], patch: Patch, layout: PixelLayout, colour: Colour, format_name: str
) -> None:
    """Blend one trimmed patch into the planes, in place."""
    native = rgb_to_native(patch.rgb, colour, format_name, layout.depth)
    highest = 2**layout.depth - 1
    height, width = patch.alpha.shape
    window = slice(patch.top, patch.top + height), slice(patch.left, patch.left + width)
    whole = 3 if layout.is_rgb or layout.step_x * layout.step_y == 1 else 1
    touched = patch.alpha > 0
    for channel in range(min(whole, native.shape[-1])):
        mix(planes[channel][window], native[..., channel], patch.alpha, touched, highest)
    if whole == 3 or layout.is_gray:
        return
    frame_size = planes[0].shape
    block, alpha_mean, allowed = chroma_grid(patch, layout, frame_size)
    for channel in (1, 2):
        weighted = chroma_mean(native[..., channel] * patch.alpha, patch, layout, frame_size)
        target = np.divide(weighted, alpha_mean, out=np.zeros_like(weighted), where=alpha_mean > 0)
        mix(planes[channel][block], target, alpha_mean, allowed, highest)


def mix(
    samples: np.ndarray, target: np.ndarray, alpha: np.ndarray, touched: np.ndarray, highest: int
) -> None:
    """samples <- samples + alpha (target - samples) where touched, rounded and clipped to the format's codes,
    in place.
    """
    own = samples.astype(np.float32)
    mixed = target - own
    mixed *= alpha
    mixed += own
    np.rint(mixed, out=mixed)
    np.copyto(samples, mixed.clip(0, highest, out=mixed).astype(samples.dtype), where=touched)


def chroma_grid(
    patch: Patch, layout: PixelLayout, frame_size: tuple[int, int]
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Where the patch lies among the chroma samples.

    Returns the chroma planes' window, the mean alpha (hc, wc) over each sample's pixels, and which samples
    may change (hc, wc).
    """
    rows, columns = chroma_range(patch, layout)
    reach_y = CHROMA_REACH * layout.step_y if layout.step_y > 1 else 0
    reach_x = CHROMA_REACH * layout.step_x if layout.step_x > 1 else 0
    top, left = rows.start * layout.step_y - reach_y, columns.start * layout.step_x - reach_x
    height = (rows.stop - rows.start) * layout.step_y + 2 * reach_y
    width = (columns.stop - columns.start) * layout.step_x + 2 * reach_x
    ys, xs = np.arange(top, top + height), np.arange(left, left + width)
    outside_y, outside_x = (ys < 0) | (ys >= frame_size[0]), (xs < 0) | (xs >= frame_size[1])
    covered = (outside_y[:, None] | outside_x[None]).astype(np.uint8)
    y, x = patch.top - top, patch.left - left
    covered[y : y + patch.alpha.shape[0], x : x + patch.alpha.shape[1]] |= patch.alpha > 0
    safe = cv2.erode(covered, np.ones((2 * reach_y + 1, 2 * reach_x + 1), np.uint8))
    safe = safe[reach_y : height - reach_y, reach_x : width - reach_x]
    # All of each sample's pixels, row by row and column by column: far quicker than over two axes at once.
    whole = functools.reduce(np.minimum, (safe[y :: layout.step_y] for y in range(layout.step_y)))
    whole = functools.reduce(np.minimum, (whole[:, x :: layout.step_x] for x in range(layout.step_x)))
    return (rows, columns), chroma_mean(patch.alpha, patch, layout, frame_size), whole > 0


def chroma_range(patch: Patch, layout: PixelLayout) -> tuple[slice, slice]:
    """The chroma rows and columns whose pixels the patch touches."""
    height, width = patch.alpha.shape
    return (
        slice(patch.top // layout.step_y, -(-(patch.top + height) // layout.step_y)),
        slice(patch.left // layout.step_x, -(-(patch.left + width) // layout.step_x)),
    )


def chroma_mean(
    values: np.ndarray, patch: Patch, layout: PixelLayout, frame_size: tuple[int, int]
) -> np.ndarray:
    """Mean of (h, w) values over the pixels of each chroma sample, 0 outside the patch; at odd edges over
    those that exist.
    """
    rows, columns = chroma_range(patch, layout)
    step_y, step_x = layout.step_y, layout.step_x
    padded = np.zeros(
        ((rows.stop - rows.start) * step_y, (columns.stop - columns.start) * step_x), np.float32
    )
    y, x = patch.top - rows.start * step_y, patch.left - columns.start * step_x
    padded[y : y + values.shape[0], x : x + values.shape[1]] = values
    size = (columns.stop - columns.start, rows.stop - rows.start)
    total = cv2.resize(padded, size, interpolation=cv2.INTER_AREA) * (step_x * step_y)
    pixels_y = np.minimum(step_y, frame_size[0] - np.arange(rows.start, rows.stop) * step_y)
    pixels_x = np.minimum(step_x, frame_size[1] - np.arange(columns.start, columns.stop) * step_x)
    return total / (pixels_y[:, None] * pixels_x[None]).astype(np.float32)
