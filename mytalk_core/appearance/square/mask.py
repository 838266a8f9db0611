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

import cv2
import numpy as np

from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout
from .areas import filled, smooth_step
from .window import BLOCK, Window

FEATHER = 0.05 * UNITS
SOLID = 2.0  # units around the hull that are still fully new
SIDE = 1.2  # the lips' hull is this much wider than the lips: their corners pull the cheek along
JAW_EDGE = 3.0  # softness of the jaw line, units
REACH = 28.0
RING = 20.0
NEAR_LIPS = 3.0
LIPS, INNER = 1, 2  # values of `lip_map`


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
    hull = filled(cv2.convexHull(points.astype(np.float32)), window)
    away = _distance(hull)
    face = _distance(filled(_face(target, layout), window))
    inside = cv2.GaussianBlur(_falling(face, JAW_EDGE), (0, 0), 0.8)
    lips = _falling(away - SOLID, feather) * np.where(inside < 0.02, 0, inside)
    ring = (lips == 0) * (away < SOLID + feather + RING)
    both = filled(_face(source, layout), window) & filled(_face(target, layout), window)
    # Near the jaw line and beyond it frame and rendering differ for good reasons: pose, neck, background.
    skin = np.clip(cv2.distanceTransform(both, cv2.DIST_L2, 3) / 6.0, 0, 1)
    return MouthMask(
        window,
        _core(window, lips),
        lips=lips.astype(np.float32),
        reach=_falling(away - BLOCK, REACH),
        ring=(ring * skin).astype(np.float32),
        mouth=_falling(_distance(filled(target[layout.lips_outer], window)), NEAR_LIPS),
    )


def mask_window(source: np.ndarray, target: np.ndarray, layout: LandmarkLayout, feather: float) -> Window:
    """The window of `mouth_mask`."""
    return _window(_mouths_and_chins(source, target, layout), feather)


def lip_map(landmarks: np.ndarray, layout: LandmarkLayout, window: Window) -> np.ndarray:
    """uint8 (h, w) on the unit grid of a window: INNER between the lips, LIPS on them, 0 elsewhere."""
    lips, inner = (filled(landmarks[ring], window) for ring in (layout.lips_outer, layout.lips_inner))
    return np.where(inner, INNER, LIPS * lips).astype(np.uint8)


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


def _distance(area: np.ndarray) -> np.ndarray:
    """Distance in units to an area uint8 (h, w), 0 or 1, 0 inside it; far everywhere if it is empty."""
    if not area.any():
        return np.full(area.shape, float(UNITS), np.float32)
    return cv2.distanceTransform(1 - area, cv2.DIST_L2, 5)


def _falling(distance: np.ndarray, width: float) -> np.ndarray:
    """1 at distance 0 and less, smoothly to 0 at `width`."""
    return (1 - smooth_step(distance / width)).astype(np.float32)
