"""Between the lips of a batch: see the file of this name one folder up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout
from ..mouth import HIDDEN, PARTING, REDDER, SEAM, SMOOTH, MouthInterior, lip_lines, ring_pixels
from .colour import masked_median
from .windows import Windows, applied, blurring, on


@dataclass(frozen=True)
class Mouths:
    """The inner lips of B frames on the pixels of their windows in crops of `size`.

    rows (B,1,h,1), columns (B,1,1,w): each pixel's own, from its window's corner; last (B,1,1,1): the last
    row of each window; top, bottom (B,1,1,w): the rows of the lips; above, below: of the outer lips; left,
    right (B,1,1,1): the columns of their corners.
    """

    scale: float
    rows: Tensor
    columns: Tensor
    last: Tensor
    top: Tensor
    bottom: Tensor
    above: Tensor
    below: Tensor
    left: Tensor
    right: Tensor

    @classmethod
    def of(cls, targets: Sequence[np.ndarray], layout: LandmarkLayout, windows: Windows, size: int) -> Mouths:
        """targets: (N,2) canonical units, of each frame."""
        inner, outer = (
            [
                ring_pixels(ring, target, window, size)
                for target, window in zip(targets, windows.own, strict=True)
            ]
            for ring in (layout.lips_inner, layout.lips_outer)
        )
        every = np.arange(windows.canvas(size)[1], dtype=np.float32)
        widths = [window.shape[1] * size // UNITS for window in windows.own]
        # Of each frame the lips at all columns.
        lines = [
            [line for ring in rings for line in lip_lines(ring, every.clip(max=width - 1))]
            for *rings, width in zip(inner, outer, widths, strict=True)
        ]
        corners = np.array([[ring[:, 0].min(), ring[:, 0].max()] for ring in inner], np.float32)
        x, y = (own[:, None] for own in windows.pixels(size))
        rows = y - y[:, :, :1]
        top, bottom, above, below = on(np.array(lines), x.device)[:, None, :, None].unbind(2)
        left, right = on(corners, x.device)[:, None, :, None, None].unbind(2)
        columns, last = x - x[..., :1], rows[:, :, -1:]
        return cls(size / UNITS, rows, columns, last, top, bottom, above, below, left, right)

    def parted(self, coordinates: Tensor, how: np.ndarray) -> tuple[Tensor, Tensor]:
        """R warps (B,R,2,h,w) with teeth of their own size, or none where lips meet, and how dark it is
        between the parts, (B,R,h,w) 0..1; see `part_interior` and `hide_edges`. how: (B,R,3), the sealed,
        apart and gap of a `Parting`."""
        sealed, apart, gap = on(how, coordinates.device)[..., None, None].unbind(2)
        high = (self.bottom - self.top).clamp_min(1e-3)
        share = (self.rows - self.top) / high
        inside = (share > 0) & (share < 1) & (self.columns > self.left) & (self.columns < self.right)
        inside = inside & (apart != 1)
        above, below = share * apart, (1 - share) * apart
        read = torch.where(above <= gap, above, torch.where(below <= 1 - gap, 1 - below, gap))
        parted = self._read(coordinates, torch.where(inside, self.top + read * high, self.rows))
        away = torch.minimum(above - gap, below - (1 - gap)) * high / apart
        dark = (away / self.scale).clamp(0, 1) * ((apart - 1) / (PARTING - 1)).clamp(0, 1) * inside
        if how[..., 0].any():
            parted = self._read(parted, self._hidden(sealed))
        return parted, dark

    def _hidden(self, sealed: Tensor) -> Tensor:
        """The rows (B,R,h,w) that are read where lips nearly shut by `sealed` (B,R,1,1)."""
        seam, reach = (self.top + self.bottom) / 2, HIDDEN * self.scale
        corners = torch.minimum(self.columns - self.left, self.right - self.columns)
        is_upper = self.rows < seam
        away = (self.rows - seam).abs()
        high = torch.where(is_upper, seam - self.above, self.below - seam).clamp_min(1e-3)
        hidden = torch.minimum(reach + (self.bottom - self.top) / 2, high / 2)
        hidden = sealed * hidden * (1 + corners / reach).clamp(0, 1)
        read = away + hidden * (1 - away / high).clamp_min(0)
        return torch.where(is_upper, seam - read, seam + read)

    def _read(self, planes: Tensor, rows: Tensor) -> Tensor:
        """Planes (B,R,C,h,w) read at rows (B,R,h,w) of each column."""
        rows = torch.minimum(rows.clamp_min(0), self.last)
        low = rows.floor()
        share = (rows - low)[:, :, None]
        pair = (low, torch.minimum(low + 1, self.last))
        above, below = (planes.gather(3, at.long()[:, :, None].expand_as(planes)) for at in pair)
        return above + share * (below - above)


def dark_interior(
    pictures: Tensor, interiors: Sequence[MouthInterior], amount: Tensor, windows: Windows, size: int
) -> Tensor:
    """Fill the inner lip rings of pictures (B,3,h,w) with a smooth dark red, or draw the seam of lips that
    meet; amount: (B,1,h,w), 0..1."""
    skin = windows.packed([interior.skin for interior in interiors], "constant")[:, None]
    colour, known = masked_median(pictures, skin), skin.any((1, 2, 3), keepdim=True)
    alpha = amount * windows.packed([interior.alpha for interior in interiors])[:, None]
    # Without lips there is no colour to fill with.
    alpha = alpha * known
    light = windows.packed([interior.light[:, None] for interior in interiors])[:, None]
    filling = torch.minimum(light * colour, pictures) * alpha
    near = windows.matrices(
        lambda side: blurring(side * size // UNITS, SMOOTH * size / UNITS, cv2.BORDER_CONSTANT),
        windows.canvas(size),
    )
    filling = applied(near, filling) / applied(near, alpha).clamp_min(1e-3)
    filled = pictures + alpha * (filling - pictures)
    seam = amount * known * windows.packed([interior.seam for interior in interiors])[:, None]
    bright = filled.mean(1, keepdim=True) / colour.mean(1, keepdim=True).clamp_min(1e-3)
    left = ((bright - (1 - SEAM)) / SEAM).clamp(0, 1)
    red = (colour + REDDER * (colour - colour.mean(1, keepdim=True))).clamp_min(0)
    return (filled + seam / SEAM * (bright * red - filled)) * (1 - seam * left)
