"""Between the lips: teeth keep their size however far the mouth opens, and hide where it shuts.

The mesh is elastic and would stretch and squeeze a reference's teeth with the opening. Here its upper part
stays with the upper lip and its lower part with the lower one. What comes apart between them is plainly dark:
a still has no more to show. Where the mouth is less open than the reference's, first the dark between them
goes and then the lower lip rises over the teeth; what would be left of them as a white line gives way to the
seam of the lips.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from .square.areas import Grid, slices_between, smooth_step
from .square.window import Window

DEEP, TONGUE = 0.26, 0.62  # brightness of throat and tongue, as a share of the lips'
SMOOTH = 4.0  # over so many units the filling has one colour
EDGE = 2.2  # softness of the inner lip's edge, units
# The line where closed lips meet: how much darker than the lips it is in its middle, its deviation in units,
# and how many of them before and beyond the corners it ends. Of 21 filmed people it is 0.66 times as bright
# and 3.2 units wide, from corner to corner alike (benchmarks/seams.py), and by so much redder than the lips.
SEAM, SEAM_WIDTH, SEAM_END = 0.35, 1.1, 2.0
REDDER = 0.5
STRETCH = 1.4  # teeth are stretched so much at most
SQUEEZE = 0.45, 0.65  # they are squeezed down to the second, and not at all from the first on
LIP = 1.0  # units of the lower lip's edge that stay
PARTING = 1.25  # times that, and the dark between the parts is wholly dark
NOTICEABLE = 1.5  # openings below this many units need no interior
SEALED = 0.5  # at openings below this many units the teeth of open references do not show
# Nor those of references three to six times as open below so many units, less below so many.
FLAT, AJAR = 1.0, 2.5
SQUEEZED = 3.0
HIDDEN = 2.5  # units of the lips' edges that do not show there either: they have some of the teeth
# Where a reference's teeth end, as a share of its opening from above: the darkest row between these, or, with
# less than so many levels between rows, the last: one row of teeth fills it.
GAP, PLAIN = (0.3, 0.9), 12.0
RIM = 0.1  # of the opening may be the upper lip's


def height_apart(opening: float, own: float) -> float:
    """How many times as high as a reference's an opening is, both in units, beyond what it is stretched or
    squeezed; 1 up to there, and where the wider of them is hardly open."""
    factor = max(opening, 1e-3) / max(own, 1e-3)
    if factor < 1:
        least, most = SQUEEZE
        share = float(np.clip((most - factor) / (most - least), 0, 1))
        return 1 - share * (1 - factor) if own > NOTICEABLE else 1.0
    open_enough = float(np.clip((opening - NOTICEABLE) / NOTICEABLE, 0, 1))
    return max((1 + (factor - 1) * open_enough) / STRETCH, 1.0)


def seal(opening: Grid, own: Grid) -> Grid:
    """How much of the interior hides between lips that nearly meet, 0..1; own: a reference's opening, or the
    mean of several, both in units, arrays or tensors of any shape."""
    squeezed = (own / (SQUEEZED * opening).clip(1e-3) - 1).clip(0, 1)
    ajar = squeezed * ((AJAR - opening) / (AJAR - FLAT)).clip(0, 1)
    shut = ((NOTICEABLE - opening) / (NOTICEABLE - SEALED)).clip(0, 1)
    return (own / NOTICEABLE - 1).clip(0, 1) * (shut + (ajar - shut).clip(0))


@dataclass(frozen=True)
class Parting:
    """What becomes of a reference's teeth.

    sealed: 0..1, how far they hide, see `seal`; apart: see `height_apart`; gap: where the upper part ends,
    0..1 of the reference's opening.
    """

    sealed: float = 0.0
    apart: float = 1.0
    gap: float = GAP[1]


def parting(opening: float, own: float, teeth: Callable[[], tuple[bool, float]]) -> Parting:
    """For an opening and a reference's own, units; teeth: of the reference, see `upper_teeth`."""
    sealed, apart = float(seal(np.array(opening), np.array(own))), height_apart(opening, own)
    if apart == 1:
        return Parting(sealed)
    shown, gap = teeth()
    if apart > 1:
        return Parting(sealed, apart, gap)
    # The lower lip keeps its edge, whatever it rises over.
    return Parting(sealed, apart, min(gap, apart - min(LIP / own, apart / 2))) if shown else Parting(sealed)


def upper_teeth(crop: np.ndarray, landmarks: np.ndarray, layout: LandmarkLayout) -> tuple[bool, float]:
    """Whether a crop (S, S, 3) with landmarks (N, 2) shows upper teeth, and where it is darkest below them:
    0..1 from the upper to the lower inner lip."""
    scale = len(crop) / UNITS
    inner = landmarks[layout.lips_inner] * scale - 0.5
    middle, reach = inner[:, 0].mean(), 0.2 * np.ptp(inner[:, 0])
    columns = np.linspace(middle - reach, middle + reach, 9)
    top, bottom = lip_lines(inner, columns)
    share = np.linspace(RIM, GAP[1], 17)
    rows = top + share[:, None] * (bottom - top)
    at = np.dstack([np.broadcast_to(columns, rows.shape), rows]).astype(np.float32)
    read = cv2.remap(crop, at, None, cv2.INTER_LINEAR)  # type: ignore[call-overload]
    profile = read.astype(np.float32).mean((1, 2))
    below = np.where(share < GAP[0], np.inf, profile)
    if profile[share >= GAP[0]].max() - below.min() < PLAIN:
        return True, GAP[1]
    darkest = int(below.argmin())
    return bool(profile[:darkest].max() - profile[darkest] >= PLAIN), float(share[darkest])


def part_interior(
    coordinates: np.ndarray,
    target: np.ndarray,
    layout: LandmarkLayout,
    window: Window,
    size: int,
    apart: float,
    gap: float,
) -> tuple[np.ndarray, np.ndarray]:
    """A warp that stretches and squeezes what is between the lips as far as `STRETCH` and `SQUEEZE` let it:
    see the top of this file.

    Args:
        coordinates: float32 (h, w, 2), where the pixels of a window in a crop of `size` come from.
        target: float (N, 2) landmarks, canonical units.
        apart, gap: see `Parting`.

    Returns:
        The coordinates, and float32 (h, w) 0..1, how dark it is between the parts.
    """
    scale = size / UNITS
    inner = ring_pixels(layout.lips_inner, target, window, size)
    parted, darkness = coordinates.copy(), np.zeros(coordinates.shape[:2], np.float32)
    part = slices_between(coordinates.shape, inner.min(0) - 1, inner.max(0) + 1)
    rows, columns = (np.arange(side.start, side.stop, dtype=np.float32) for side in part)
    top, bottom = lip_lines(inner, columns)
    high = np.maximum(bottom - top, 1e-3)
    share = (rows[:, None] - top) / high
    inside = (share > 0) & (share < 1) & (columns > inner[:, 0].min()) & (columns < inner[:, 0].max())
    above, below = share * apart, (1 - share) * apart
    read = np.where(above <= gap, above, np.where(below <= 1 - gap, 1 - below, gap))
    at_y = np.where(inside, top + read * high, rows[:, None])
    parted[part] = _read_rows(coordinates, part[1], at_y)
    away_px = np.minimum(above - gap, below - (1 - gap)) * high / apart
    darkness[part] = np.clip(away_px / scale, 0, 1) * np.clip((apart - 1) / (PARTING - 1), 0, 1) * inside
    return parted, darkness


def hide_edges(
    coordinates: np.ndarray,
    target: np.ndarray,
    layout: LandmarkLayout,
    window: Window,
    size: int,
    amount: float,
) -> np.ndarray:
    """A warp of an open mouth to one that nearly shuts, without the edges of its lips, where teeth and gap
    begin: squeezed together they would be a striped line along the seam.

    Next to the seam each lip is read from `HIDDEN` units farther off, but no more than half of its height,
    and stretched to it; its outer edge stays.

    Args:
        coordinates: float32 (h, w, 2), where the pixels of a window in a crop of `size` come from.
        target: float (N, 2) landmarks, canonical units.
        amount: 0..1, see `seal`; at 0 nothing changes.
    """
    scale = size / UNITS
    inner, outer = (
        ring_pixels(ring, target, window, size) for ring in (layout.lips_inner, layout.lips_outer)
    )
    part = slices_between(coordinates.shape, outer.min(0) - 1, outer.max(0) + 1)
    rows, columns = (np.arange(side.start, side.stop, dtype=np.float32) for side in part)
    rows = rows[:, None]
    (top, bottom), (above, below) = (lip_lines(ring, columns) for ring in (inner, outer))
    seam, reach = (top + bottom) / 2, HIDDEN * scale
    corners = np.minimum(columns - inner[:, 0].min(), inner[:, 0].max() - columns)
    away, high = np.abs(rows - seam), np.maximum(np.where(rows < seam, seam - above, below - seam), 1e-3)
    hidden = np.minimum(reach + (bottom - top) / 2, high / 2) * np.clip(1 + corners / reach, 0, 1)
    read = away + amount * hidden * np.maximum(1 - away / high, 0)
    hiding = coordinates.copy()
    hiding[part] = _read_rows(coordinates, part[1], seam + np.where(rows < seam, -read, read))
    return hiding


def _read_rows(coordinates: np.ndarray, columns: slice, rows: np.ndarray) -> np.ndarray:
    """A map float32 (h, w, 2) read between its rows, at those (h', w') of some columns."""
    (height, width), rows = coordinates.shape[:2], rows.clip(0, len(coordinates) - 1)
    # OpenCV would read it by 32nds of a pixel: too coarse where an open mouth is squeezed into a few rows.
    low, along = np.floor(rows).astype(int), np.arange(columns.start, columns.stop)
    # Pixels by one number each, which NumPy takes more than twice as fast as by row and column.
    pixels = coordinates.reshape(-1, 2)
    above, below = (
        pixels.take(row * width + along, axis=0) for row in (low, np.minimum(low + 1, height - 1))
    )
    return above + (rows - low).astype(np.float32)[..., None] * (below - above)


@dataclass(frozen=True)
class MouthInterior:
    """What is between the lips. alpha: float32 (h, w) 0..1, where; skin: bool (h, w), the lips about it;
    light: float32 (h,), how bright each row is, as a share of the lips' colour; seam: float32 (h, w)
    0..SEAM, how much darker it is where lips meet."""

    alpha: np.ndarray
    skin: np.ndarray
    light: np.ndarray
    seam: np.ndarray


def interior_between(shape: tuple[int, ...], rings: list[np.ndarray], scale: float) -> MouthInterior:
    """Of the outer and the inner ring of the lips, pixel indices (P, 2) of a picture (h, w); scale: pixels a
    unit."""
    outer, inner = (_filled((shape[0], shape[1]), ring) for ring in rings)
    alpha = cv2.GaussianBlur(inner, (0, 0), 0.5 * EDGE * scale).astype(np.float32) / 255.0
    columns = np.arange(shape[1], dtype=np.float32)
    top, bottom = lip_lines(rings[1], columns)
    # A gap thinner than its own edge is blurred away, one of no height drawn all the same: the seam is left.
    gap = float((bottom - top).max()) / (EDGE * scale)
    alpha *= min(max(2 * gap, 0.0), 1.0)
    thin, seam = float(np.clip(2 - gap, 0, 1)), np.zeros_like(alpha)
    if thin > 0:
        rows = np.arange(shape[0], dtype=np.float32)[:, None]
        line = np.exp(-0.5 * np.square((rows - (top + bottom) / 2) / (SEAM_WIDTH * scale)))
        corners = np.minimum(columns - rings[1][:, 0].min(), rings[1][:, 0].max() - columns)
        seam = (line * SEAM * thin * smooth_step(0.5 + corners / (2 * SEAM_END * scale))).astype(np.float32)
    skin: np.ndarray = (outer == 255) & (cv2.dilate(inner, np.ones((5, 5))) == 0)
    low, high = rings[1][:, 1].min(), rings[1][:, 1].max()
    depth = np.clip((np.arange(shape[0], dtype=np.float32) - low) / max(high - low, 1e-3), 0, 1)
    return MouthInterior(alpha, skin, DEEP + (1 - thin) * (TONGUE - DEEP) * depth**2, seam)


def dark_interior(
    picture: np.ndarray,
    target: np.ndarray,
    layout: LandmarkLayout,
    window: Window,
    size: int,
    amount: np.ndarray | float,
) -> np.ndarray:
    """Fill the inner lip ring with a smooth dark red, deeper above, lighter towards the tongue; where lips
    meet, draw their seam.

    Args:
        picture: float32 (h, w, 3), pixels of the window in a crop of `size`.
        target: float (N, 2) landmarks, canonical units.
        amount: 0..1, how much of the filling shows, everywhere or by pixel (h, w).

    Returns:
        float32 (h, w, 3). The colour is a darkened one of the lips themselves, so that skin, stone and paint
        each get their own.
    """
    scale = size / UNITS
    rings = [ring_pixels(ring, target, window, size) for ring in (layout.lips_outer, layout.lips_inner)]
    # Nothing changes beyond the lips and the softness of their edge.
    points, margin = np.concatenate(rings), 2 * EDGE * scale + 3
    # Of lips beyond the picture one pixel: OpenCV draws on no empty one.
    part = slices_between(picture.shape, points.min(0) - margin, points.max(0) + margin)
    low = np.array([part[1].start, part[0].start])
    amount = np.broadcast_to(np.float32(amount), picture.shape[:2])[part]
    filled = picture.copy()
    filled[part] = _darkened(picture[part], [ring - low for ring in rings], amount, scale)
    return filled


def _darkened(picture: np.ndarray, rings: list[np.ndarray], amount: np.ndarray, scale: float) -> np.ndarray:
    """`dark_interior` of a picture (h, w, 3) of the lips; rings: outer and inner, pixel indices (P, 2)."""
    interior = interior_between(picture.shape[:2], rings, scale)
    lips = picture[interior.skin]
    if len(lips) == 0:
        return picture
    alpha, light, colour = amount * interior.alpha, interior.light[:, None, None], np.median(lips, axis=0)
    # As dark as the picture's own gap between teeth, but without its streaks; there is none beyond the lips.
    filling = np.minimum(light * colour, picture) * alpha[..., None]
    both = np.dstack([filling, alpha]).astype(np.float32)
    soft = cv2.GaussianBlur(both, (0, 0), SMOOTH * scale, borderType=cv2.BORDER_CONSTANT)
    filling = soft[..., :3] / np.maximum(soft[..., 3:], 1e-3)
    filled = picture + alpha[..., None] * (filling - picture)
    # The seam is redder than the lips, not gray from teeth. Where it is as dark already, it stays so.
    bright = filled.mean(-1, keepdims=True) / max(float(colour.mean()), 1e-3)
    left = ((bright - (1 - SEAM)) / SEAM).clip(0, 1)
    seam, red = (amount * interior.seam)[..., None], (colour + REDDER * (colour - colour.mean())).clip(0)
    return (filled + seam / SEAM * (bright * red - filled)) * (1 - seam * left)


def between_lips(target: np.ndarray, layout: LandmarkLayout, window: Window, size: int) -> np.ndarray:
    """How far each pixel of a window in a crop of `size` is between the lips of landmarks (N, 2): float32
    (h, w), 0..1."""
    top, left, bottom, right = window.pixels(size)
    inner = _filled((bottom - top, right - left), ring_pixels(layout.lips_inner, target, window, size))
    return inner.astype(np.float32) / 255


def ring_pixels(ring: np.ndarray, target: np.ndarray, window: Window, size: int) -> np.ndarray:
    """A ring of landmarks, as pixel indices (P, 2) of a window in a crop of `size`."""
    top, left, _, _ = window.pixels(size)
    return target[ring] * (size / UNITS) - (left, top) - 0.5


def lip_lines(inner: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the upper and the lower inner lip at columns (w,), of the ring's points (P, 2): (w,) each."""
    half = len(inner) // 2
    lines = []
    for part in (np.concatenate([inner[half:], inner[:1]]), inner[: half + 1]):
        order = np.argsort(part[:, 0], kind="stable")
        lines.append(np.interp(columns, part[order, 0], part[order, 1]).astype(np.float32))
    return lines[0], lines[1]


def _filled(shape: tuple[int, int], ring: np.ndarray) -> np.ndarray:
    """255 inside a ring (P, 2) of pixel indices, uint8."""
    drawn = np.zeros(shape, np.uint8)
    return cv2.fillPoly(drawn, [np.rint(ring * 16).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=4)
