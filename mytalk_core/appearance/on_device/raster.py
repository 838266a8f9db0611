"""Which triangle covers which pixel, of a batch at once: what `draw_triangles` draws one after the other.

The rows of all triangles are worked out together, in the same whole numbers; each knows when its turn would
have come, and a pixel keeps the latest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..square.raster import (
    SUBPIXELS,
    Triangulation,
    covered_rows,
    crossing,
    draw_triangles,
    drawing_order,
    steps,
)
from .windows import Windows, on


def cover(
    vertices: np.ndarray, triangulation: Triangulation, places: Sequence[tuple[Windows, int]]
) -> list[Tensor]:
    """The triangle that covers each pixel of B windows in crops of a size, int64 (B,h,w), for each such pair:
    see `draw_triangles`; beyond a window its last row and column repeat. vertices: float32 (B,V,2) units."""
    device = places[0][0].device
    if device.type == "mps":
        # Whether Apple's devices can do it nobody has tried.
        return [_by_turns(vertices, triangulation, *place) for place in places]
    order, count = drawing_order(vertices, triangulation), len(triangulation.triangles)
    # Later ones have a higher turn, which tells the number too; 0 is where nothing was drawn.
    turns = np.tile(order.astype(np.int64) * count + np.arange(count) + 1, (len(places), 1))
    corners = [
        steps(vertices, triangulation, np.array([own.pixels(size)[1::-1] for own in windows.own]), size)
        for windows, size in places
    ]
    height, width = map(max, zip(*(windows.canvas(size) for windows, size in places), strict=True))
    canvas = _drawn(np.concatenate(corners, axis=1), turns, (height, width), device)
    triangle = (canvas.view(len(places), len(vertices), -1).long() - 1).clamp_min(0) % count
    return [
        own.gather(1, at.flatten(1)).view(at.shape)
        for own, at in zip(triangle, (_indices(*place, width) for place in places), strict=True)
    ]


def _drawn(corners: np.ndarray, turns: np.ndarray, shape: tuple[int, int], device: torch.device) -> Tensor:
    """The highest turn (P,F) of triangles with corners (2,P,F,3), see `steps`, at each pixel of P pictures of
    a shape (h,w), one below the other: int32 (P h,w), 0 where there is none."""
    height, width = shape
    begin, rows = covered_rows(corners[1], height)
    seen = np.flatnonzero(rows)
    above = seen // turns.shape[1] * height
    facts = [fact.ravel()[seen] for fact in (begin, rows, turns)]
    table = np.stack([*corners.reshape(2, -1, 3)[:, seen].transpose(0, 2, 1).reshape(6, -1), *facts, above])
    whole = on(table.astype(np.int32), device).long()
    (x, y), (first, count, turn, start) = whole[:6].view(2, 3, -1), whole[6:]
    downwards = y.argsort(0)
    # Of each row of each triangle: the pixels from where it enters to where it leaves.
    which = torch.repeat_interleave(count, output_size=int(rows.ravel()[seen].sum()))
    row = torch.arange(len(which), device=device) + (first - count.cumsum(0) + count)[which]
    (x0, x1, x2), (y0, y1, y2) = (axis.gather(0, downwards)[:, which] for axis in (x, y))
    is_bent = SUBPIXELS * row >= y1
    upper = torch.where(is_bent, x1, x0), torch.where(is_bent, y1, y0)
    lower = torch.where(is_bent, x2, x1), torch.where(is_bent, y2, y1)
    ends = crossing(x0, y0, x2, y2, row), crossing(*upper, *lower, row)
    columns = torch.arange(width, device=device)
    inside = (columns >= torch.minimum(*ends)[:, None]) & (columns < torch.maximum(*ends)[:, None])
    drawn = turn.int()[which, None] * inside
    canvas = torch.zeros(corners.shape[1] * height, width, dtype=torch.int32, device=device)
    return canvas.scatter_reduce_(0, (start[which] + row)[:, None].expand_as(drawn), drawn, "amax")


def _by_turns(vertices: np.ndarray, triangulation: Triangulation, windows: Windows, size: int) -> Tensor:
    """One pair of `cover`, a frame after the other on the CPU."""
    pairs = zip(vertices, windows.own, strict=True)
    drawn = [draw_triangles(own, triangulation, window.pixels(size), size) for own, window in pairs]
    return windows.packed([one.astype(np.int16) for one in drawn]).long()


def _indices(windows: Windows, size: int, width: int) -> Tensor:
    """Where in pictures of that width the pixels of the windows' canvas are: int64 (B,h,w)."""
    x, y = windows.pixels(size)
    return ((y - y[:, :1]) * width + (x - x[..., :1])).long()
