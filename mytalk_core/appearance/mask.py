"""Which pixels are made anew: mouth, chin and jaw of both the source's and the target's landmarks.

Everything is drawn on a grid of one sample a canonical unit, whatever the crop's size, inside a window;
masks are smooth there and are enlarged to the crop's pixels afterwards. They have four parts:

- `lips`: what the references (or a network) fill. The hull of mouth and chin of both shapes, so that the old
  mouth can never show through, feathered (by default by 5 % of the crop) and clipped to the inside of the
  target's jaw line.
- `reach`: how far the surroundings follow when the jaw moves: 1 around the hull, 0 a chin's height away.
- `ring`: where frame and rendering may be compared for colour: skin just outside `lips`, away from the jaw.
- `mouth`: the target's lips and what is between them, where the mesh is followed exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from torch import Tensor

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from ..media.colour import Box

Grid = TypeVar("Grid", np.ndarray, Tensor)

FEATHER = 0.05 * UNITS
SOLID = 2.0  # units around the hull that are still fully new
SIDE = 1.2  # the lips' hull is this much wider than the lips: their corners pull the cheek along
JAW_EDGE = 3.0  # softness of the jaw line, units
REACH = 28.0
RING = 20.0
NEAR_LIPS = 3.0
FAR = 16.0 * UNITS
LIPS, INNER = 1, 2  # values of `lip_map`
BLOCK = 8  # windows start and end on whole blocks of units, which are whole pixels at every crop size


@dataclass(frozen=True)
class Window:
    """A part of the canonical square, in units; every side is a multiple of 8."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) in units."""
        return self.bottom - self.top, self.right - self.left

    def around(self, whole: Window) -> list[Window]:
        """What a window that it lies in has beside it, as windows: up to four."""
        beside = [
            Window(whole.top, whole.left, self.top, whole.right),
            Window(self.bottom, whole.left, whole.bottom, whole.right),
            Window(self.top, whole.left, self.bottom, self.left),
            Window(self.top, self.right, self.bottom, whole.right),
        ]
        return [one for one in beside if min(one.shape) > 0]

    def shared(self, other: Window) -> Window:
        """What of it another window shows, too."""
        return Window(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def pixels(self, size: int) -> Box:
        """(top, left, bottom, right) in pixels of a crop of `size`, a multiple of 32."""
        sides = (self.top, self.left, self.bottom, self.right)
        top, left, bottom, right = (side * size // UNITS for side in sides)
        return top, left, bottom, right

    def cut(self, crop: np.ndarray) -> np.ndarray:
        """The window of a crop (S, S, ...), as a view."""
        top, left, bottom, right = self.pixels(crop.shape[0])
        return crop[top:bottom, left:right]

    def part(self, grid: np.ndarray, other: Window) -> np.ndarray:
        """The part of a grid (h, w, ...) on this window that `other`, a window inside it, covers: a view.

        The grid may have one sample a unit or any power of two up to 8 units.
        """
        step = self.shape[0] // grid.shape[0]
        top, left = (other.top - self.top) // step, (other.left - self.left) // step
        return grid[top : top + other.shape[0] // step, left : left + other.shape[1] // step]

    def enlarge(self, grid: np.ndarray, size: int) -> np.ndarray:
        """Values (h, w, ...) on the unit grid -> pixels of the window in a crop of `size`."""
        top, left, bottom, right = self.pixels(size)
        return cv2.resize(grid, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)


@dataclass(frozen=True)
class MouthMask:
    """Masks float32 (h, w) in 0..1 on the unit grid of `window`; `core` is the part where lips > 0."""

    window: Window
    core: Window
    lips: np.ndarray
    reach: np.ndarray
    ring: np.ndarray
    mouth: np.ndarray


def mouth_mask(
    source: np.ndarray, target: np.ndarray, layout: LandmarkLayout, feather: float = FEATHER
) -> MouthMask:
    """The masks of one frame.

    Args:
        source: float (N, 2), the frame's own landmarks in canonical units.
        target: float (N, 2), the landmarks it is given.
        feather: over how many units `lips` falls from 1 to 0, more than 0.
    """
    points = _mouths_and_chins(source, target, layout)
    window = _window(points, feather)
    hull = _fill(window, cv2.convexHull(points.astype(np.float32)))
    away = _distance(hull)
    face = _distance(_fill(window, _face(target, layout)))
    inside = cv2.GaussianBlur(_falling(face, JAW_EDGE), (0, 0), 0.8)
    lips = _falling(away - SOLID, feather) * np.where(inside < 0.02, 0, inside)
    ring = (lips == 0) * (away < SOLID + feather + RING)
    both = _fill(window, _face(source, layout)) & _fill(window, _face(target, layout))
    # Near the jaw line and beyond it frame and rendering differ for good reasons: pose, neck, background.
    skin = np.clip(cv2.distanceTransform(both, cv2.DIST_L2, 3) / 6.0, 0, 1)
    return MouthMask(
        window,
        _core(window, lips),
        lips=lips.astype(np.float32),
        reach=_falling(away - BLOCK, REACH),
        ring=(ring * skin).astype(np.float32),
        mouth=_falling(_distance(_fill(window, target[layout.lips_outer])), NEAR_LIPS),
    )


def mask_window(
    source: np.ndarray, target: np.ndarray, layout: LandmarkLayout, feather: float = FEATHER
) -> Window:
    """The window of `mouth_mask`."""
    return _window(_mouths_and_chins(source, target, layout), feather)


def slices_between(shape: tuple[int, ...], low: np.ndarray, high: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of a picture (h, w, ...) that hold all between two points (x, y): one at least."""
    end = np.array(shape[1::-1])
    low = np.clip(low, 0, end - 1).astype(int)
    high = np.clip(high + 1, low + 1, end).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def lip_map(landmarks: np.ndarray, layout: LandmarkLayout, window: Window) -> np.ndarray:
    """uint8 (h, w) on the unit grid of a window: INNER between the lips, LIPS on them, 0 elsewhere."""
    lips, inner = (_fill(window, landmarks[ring]) for ring in (layout.lips_outer, layout.lips_inner))
    return np.where(inner, INNER, LIPS * lips).astype(np.uint8)


def near_lips(lips: np.ndarray, reach: float) -> np.ndarray:
    """A `lip_map` -> float32 (h, w): 1 on the lips and between them, smoothly to 0 at `reach` units beyond;
    1 everywhere if that is 0."""
    if reach == 0:
        return np.ones(lips.shape, np.float32)
    return _falling(_distance((lips > 0).astype(np.uint8)), reach)


def _mouths_and_chins(source: np.ndarray, target: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    return np.concatenate([_mouth_and_chin(points, layout) for points in (source, target)])


def _mouth_and_chin(points: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """The points (M, 2) whose hull is mouth and chin: widened outer lips, the chin's part of the jaw."""
    lips = points[layout.lips_outer]
    centre = lips.mean(0)
    skip = int(0.3 * len(layout.jaw))
    return np.concatenate([centre + (lips - centre) * (SIDE, 1.0), points[layout.jaw[skip:-skip]]])


def _face(points: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """The polygon (M, 2) of everything above the jaw line."""
    jaw = points[layout.jaw]
    return np.concatenate([jaw, [[jaw[-1, 0], -UNITS], [jaw[0, 0], -UNITS]]])


def _window(points: np.ndarray, feather: float) -> Window:
    room = max(REACH + BLOCK, SOLID + feather + RING)
    low = np.clip(np.floor((points.min(0) - room) / BLOCK) * BLOCK, 0, UNITS - BLOCK)
    high = np.clip(np.ceil((points.max(0) + room) / BLOCK) * BLOCK, low + BLOCK, UNITS)
    return Window(int(low[1]), int(low[0]), int(high[1]), int(high[0]))


def _core(window: Window, lips: np.ndarray) -> Window:
    rows, columns = np.flatnonzero(lips.any(1)), np.flatnonzero(lips.any(0))
    if len(rows) == 0:  # nothing of the mouth lies inside the square
        return Window(window.top, window.left, window.top + BLOCK, window.left + BLOCK)
    low = rows[0] // BLOCK * BLOCK, columns[0] // BLOCK * BLOCK
    high = (rows[-1] // BLOCK + 1) * BLOCK, (columns[-1] // BLOCK + 1) * BLOCK
    return Window(
        int(window.top + low[0]),
        int(window.left + low[1]),
        int(window.top + high[0]),
        int(window.left + high[1]),
    )


def filled(polygon: np.ndarray) -> np.ndarray:
    """1 inside a polygon (M, 2) in units, uint8 (256, 256), on the whole square."""
    return _fill(Window(0, 0, UNITS, UNITS), polygon)


def disc(units: int) -> np.ndarray:
    """The kernel uint8 (2 units + 1, 2 units + 1) that widens or narrows a part by so much."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * units + 1, 2 * units + 1))


def widened(part: np.ndarray, units: int) -> np.ndarray:
    """A part uint8 (h, w), 0 or 1, and what is so near to it."""
    wider = np.zeros_like(part)
    left, top, width, height = cv2.boundingRect(part)
    # The rest of a square takes as long as what is widened.
    box = (
        slice(max(top - units, 0), top + height + units),
        slice(max(left - units, 0), left + width + units),
    )
    wider[box] = cv2.dilate(part[box], disc(units))
    return wider


def smooth_step(share: Grid) -> Grid:
    """0 up to 0, 1 from 1 on, smoothly between; of an array or a tensor."""
    share = share.clip(0, 1)
    return share * share * (3 - 2 * share)


def _fill(window: Window, polygon: np.ndarray) -> np.ndarray:
    """1 inside a polygon (M, 2) in units, uint8 on the window's grid."""
    drawn = np.zeros(window.shape, np.uint8)
    # OpenCV's time grows with the polygon's height; far outside the square nothing of it is seen.
    near = np.clip(polygon.reshape(-1, 2), -FAR, FAR)
    points = np.rint((near - (window.left, window.top) - 0.5) * 16).astype(np.int32)
    return cv2.fillPoly(drawn, [points], 1, shift=4)


def _distance(filled: np.ndarray) -> np.ndarray:
    """Distance in units to the filled part, 0 inside it; far everywhere if nothing is."""
    if not filled.any():
        return np.full(filled.shape, float(UNITS), np.float32)
    return cv2.distanceTransform(1 - filled, cv2.DIST_L2, 5)


def _falling(distance: np.ndarray, width: float) -> np.ndarray:
    """1 at distance 0 and less, smoothly to 0 at `width`."""
    return (1 - smooth_step(distance / width)).astype(np.float32)
