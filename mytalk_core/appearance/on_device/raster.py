"""Which triangle covers which pixel, of a batch at once: what `draw_triangles` paints one after the other.

OpenCV paints a triangle as three lines, a pixel wide, and what is between them row by row, in whole numbers
with 16 binary digits behind the point. Here the same numbers are worked out of all triangles together; each
knows when its turn would have come, and a pixel keeps the latest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..raster import SUBPIXEL_BITS, Triangulation, draw_triangles, on_window, signed_area
from .windows import Windows, on

BITS = 16
HALF = 1 << (BITS - 1)


def cover(
    vertices: np.ndarray, triangulation: Triangulation, places: Sequence[tuple[Windows, int]]
) -> list[Tensor]:
    """The triangle that covers each pixel of B windows in crops of a size, int64 (B,h,w), for each such pair:
    see `draw_triangles`; beyond a window its last row and column repeat. vertices: float32 (B,V,2) units."""
    device = places[0][0].device
    sides = [np.array([window.pixels(size) for window in windows.own]) for windows, size in places]
    if device.type == "mps":
        # Whether Apple's devices can do it nobody has tried.
        return [_by_opencv(vertices, triangulation, *place) for place in places]
    points = [
        on_window(vertices, own[:, None, 1::-1], size) for own, (_, size) in zip(sides, places, strict=True)
    ]
    whole = np.rint(np.concatenate(points) * (1 << SUBPIXEL_BITS)).astype(np.int32)
    # Coordinates apart: NumPy is several times as fast on what lies beside each other.
    corners = np.stack([np.take(whole[..., axis], triangulation.triangles, axis=1) for axis in (0, 1)])
    order = 2 * triangulation.layer + (signed_area(vertices, triangulation.triangles) > 0)
    # Later ones have a higher turn, which tells the number too; 0 is where nothing was painted.
    batch, count = order.shape
    turns = np.tile(order.astype(np.int64) * count + np.arange(count) + 1, (len(places), 1))
    height, width = map(max, zip(*(windows.canvas(size) for windows, size in places), strict=True))
    # The last row is nobody's.
    canvas = torch.zeros(len(turns) * height + 1, width, dtype=torch.int32, device=device)
    shapes = np.concatenate([own[:, 2:] - own[:, :2] for own in sides])
    _paint_lines(canvas, height, corners, turns, shapes)
    _fill(canvas, height, corners, turns)
    triangle = (canvas[:-1].view(len(places), batch, -1).long() - 1).clamp_min(0) % count
    return [
        own.gather(1, at.flatten(1)).view(at.shape)
        for own, at in zip(triangle, (_indices(*place, width) for place in places), strict=True)
    ]


def _by_opencv(vertices: np.ndarray, triangulation: Triangulation, windows: Windows, size: int) -> Tensor:
    """One pair of `cover`, a frame after the other on the CPU."""
    pairs = zip(vertices, windows.own, strict=True)
    drawn = [draw_triangles(own, triangulation, window.pixels(size), size) for own, window in pairs]
    return windows.packed([one.astype(np.int16) for one in drawn]).long()


def _indices(windows: Windows, size: int, width: int) -> Tensor:
    """Where in pictures of that width the pixels of the windows' canvas are: int64 (B,h,w)."""
    x, y = windows.pixels(size)
    return ((y - y[:, :1]) * width + (x - x[..., :1])).long()


def _paint_lines(
    canvas: Tensor, height: int, corners: np.ndarray, turns: np.ndarray, shapes: np.ndarray
) -> None:
    """The edges of triangles (2,B,F,3), x and y with `SUBPIXEL_BITS` binary digits, into pictures `height`
    rows high, one below the other in the canvas; turns: (B,F); shapes: of each picture's window, (B,2)
    (height, width)."""
    last = (shapes[:, ::-1, None, None] << SUBPIXEL_BITS) - 1
    before = np.take(corners, [2, 0, 1], axis=3)
    low, high = np.minimum(before, corners), np.maximum(before, corners)
    shown = (high[0] >= 0) & (high[1] >= 0) & (low[0] <= last[:, 0]) & (low[1] <= last[:, 1])
    number = np.flatnonzero(shown)
    p, q = (end.reshape(2, -1)[:, number].astype(np.int64) for end in (before, corners))
    picture = number // (3 * turns.shape[1])
    last = (shapes[:, ::-1].T << BITS)[:, picture] - 1
    p, q, inside = _clipped(p << BITS - SUBPIXEL_BITS, q << BITS - SUBPIXEL_BITS, last)
    # The end is painted apart.
    pixels = (np.maximum(*np.abs(q - p)) >> BITS) + 2
    facts = [*p, *q, pixels, picture * height, turns.ravel()[number // 3]]
    table = np.stack([fact[inside] for fact in facts], dtype=np.int32, casting="same_kind")
    _paint(canvas, height, on(table, canvas.device).long().T, int(pixels[inside].sum()))


def _paint(canvas: Tensor, height: int, lines: Tensor, total: int) -> None:
    """Lines int64 (N,7): both ends, how many pixels with the last apart, on which row of the canvas their
    picture begins, and their turn; total: of all pixels."""
    p, q, pixels = lines[:, :2], lines[:, 2:4], lines[:, 4]
    run, rise = (q - p).abs().unbind(1)
    across = (run > rise)[:, None]
    # First the coordinate that goes on by whole pixels, upwards.
    p, q = torch.where(across, p, p.flip(1)), torch.where(across, q, q.flip(1))
    back = q[:, :1] < p[:, :1]
    p, q = torch.where(back, q, p), torch.where(back, p, q)
    run, rise = (q - p).unbind(1)
    slope = torch.div(rise << BITS, run | 1, rounding_mode="trunc")
    which, place = _expanded(pixels, total)
    facts = torch.column_stack([p + HALF, (q + HALF) >> BITS, slope, across, lines[:, 4:]])[which]
    along, aside, last, beside, slope, across, pixels, start, turn = facts.unbind(1)
    is_end = place == pixels - 1
    along = torch.where(is_end, last, (along >> BITS) + place)
    aside = torch.where(is_end, beside, (aside + place * slope) >> BITS)
    x, y = (torch.where(across > 0, one, other) for one, other in ((along, aside), (aside, along)))
    width = canvas.shape[1]
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    at = torch.where(inside, (start + y) * width + x, canvas.numel() - 1)
    canvas.view(-1).scatter_reduce_(0, at, turn.int(), "amax")


def _clipped(p: np.ndarray, q: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ends (2,N) of lines where they enter and leave their pictures, whose last places are `last` (2,N),
    each step rounded as OpenCV does; and which of them meet theirs at all, (N,)."""
    beyond = (np.minimum(p, q) < 0) | (np.maximum(p, q) > last)
    row = np.flatnonzero(beyond[0] | beyond[1])
    ends, last = (p[:, row], q[:, row]), last[:, row]
    for axis in (1, 0):
        for end in ends:
            own, other = ends[0][axis], ends[1][axis]
            # What lies on one side as a whole is not seen.
            apart = ((own < 0) & (other < 0)) | ((own > last[axis]) & (other > last[axis]))
            at = np.flatnonzero(((end[axis] < 0) | (end[axis] > last[axis])) & ~apart)
            side = np.where(end[axis, at] < 0, 0, last[axis, at])
            way = ends[1][:, at] - ends[0][:, at]
            moved = (side - end[axis, at]).astype(np.float64) * way[1 - axis] / way[axis]
            end[1 - axis, at] += np.trunc(moved).astype(np.int64)
            end[axis, at] = side
    inside = np.ones(p.shape[1], bool)
    inside[row] = np.all([(end >= 0) & (end <= last) for end in ends], axis=(0, 1))
    p[:, row], q[:, row] = ends
    return p, q, inside


def _fill(canvas: Tensor, height: int, corners: np.ndarray, turns: np.ndarray) -> None:
    """What is between the edges of triangles, row by row; see `_paint_lines`."""
    each, half = turns.shape[1], 1 << (SUBPIXEL_BITS - 1)
    first, second, third = np.moveaxis((corners[1] + half) >> SUBPIXEL_BITS, 2, 0)
    low = np.minimum(np.minimum(first, second), third).ravel()
    high = np.maximum(np.maximum(first, second), third).ravel()
    above, rows = np.maximum(-low, 0), np.minimum(high, height) - np.maximum(low, 0)
    number = np.flatnonzero(rows > 0)
    facts = [*corners.reshape(2, -1, 3).transpose(0, 2, 1).reshape(6, -1), rows, above, turns.ravel()]
    facts = [*(fact[number] for fact in facts), number // each * height]
    table = on(np.stack(facts, dtype=np.int32, casting="same_kind"), canvas.device).long()
    counts, above, turn, start = table[6:].unbind(0)
    corner, total = table[:6].view(2, 3, -1).permute(2, 1, 0), int(facts[6].sum())
    x, y = (_in_order(corner << (BITS - SUBPIXEL_BITS))).unbind(0)
    # The edge from the first corner to the last, and both on the other side.
    (x_0, x_1, x_2), (y_0, y_1, y_2) = x.unbind(1), y.unbind(1)
    rows = torch.stack([y_2 - y_0, y_1 - y_0, y_2 - y_1], dim=1)
    slopes = _slope(torch.stack([x_2 - x_0, x_1 - x_0, x_2 - x_1], dim=1), rows)
    which, place = _expanded(counts, total)
    own = torch.column_stack([x[:, :2], slopes, rows[:, 1], above, start + y_0, turn])[which]
    top, middle, straight, first, second, bend, above, start, turn = own.unbind(1)
    down = place + above
    below = down - bend
    one, bent = top + straight * down, middle + second * below
    other = torch.where(below < 0, top + first * down, bent)
    left, right = (torch.minimum(one, other) + HALF) >> BITS, (torch.maximum(one, other) + HALF) >> BITS
    columns = torch.arange(canvas.shape[1], device=canvas.device)
    filled = (columns >= left[:, None]) & (columns <= right[:, None])
    painted = turn.int()[:, None] * filled
    canvas.scatter_reduce_(0, (start + down)[:, None].expand_as(painted), painted, "amax")


def _in_order(corners: Tensor) -> Tensor:
    """Of corners (T,3,2) first the uppermost, last the one in whose row the triangle ends: x, and the whole
    rows, (2,T,3)."""
    planes = torch.stack([corners[..., 0], (corners[..., 1] + HALF) >> BITS])
    first = corners[..., 1].argmin(1)
    order = torch.stack([first, (first + 1) % 3, (first + 2) % 3], dim=1).expand(2, -1, -1)
    planes = planes.gather(2, order)
    swapped = torch.stack([planes[..., 0], planes[..., 2], planes[..., 1]], dim=-1)
    return torch.where((planes[1, :, 1] > planes[1, :, 2])[:, None], swapped, planes)


def _slope(way: Tensor, rows: Tensor) -> Tensor:
    """By how much x changes a row, rounded as OpenCV does."""
    rows = rows.clamp_min(1)
    return torch.div(2 * way + rows, 2 * rows, rounding_mode="trunc")


def _expanded(counts: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Each number 0..N-1 as often as counts (N,) says, and how often it came before: int64 (total,)."""
    which = torch.repeat_interleave(counts, output_size=total)
    before = counts.cumsum(0) - counts
    return which, torch.arange(total, device=counts.device) - before[which]
