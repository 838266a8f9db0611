"""The frame's edge: which part of the canonical square lies inside the frame, and lips that come near to it.

What lies beyond the edge was never seen: nobody knows its colours, and the landmarks there are guesses.
Nothing moves at the edge, so that nothing from beyond is needed; a mouth that reaches over it stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from ...face import alignment
from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout
from .areas import smooth_step

if TYPE_CHECKING:
    from ...face.track import FaceTrack

# A landmark so many units inside the frame, or as many as the lips, moves freely; a nearer one less.
FREE = 16.0
# Lips move as a whole: not at all where a part of them is beyond the edge, freely from so many units on.
LIPS_FREE = 8.0
# Of the skin between such lips and the edge no frame shows more: by at most this share of it they move away.
STRETCHED = 0.6
# Units next to the edge that are not lent: read with a kernel, they have some of what is repeated beyond it.
KERNEL = 1
WHOLE = 0.999  # from here on what is read between units is of nothing but seen ones
# Over so many units what one reference has seen gives way to what others have.
FADE = 2
# What any reference lends of a place for it to be known, and which share of the lips may be unknown in a
# frame that is drawn.
KNOWN, UNKNOWN = 0.5, 0.02
CHUNK = 512  # frames whose landmarks are unpacked at once


def seen_part(shape: tuple[int, ...], similarity: np.ndarray) -> np.ndarray | None:
    """Which units of the canonical square lie inside a frame.

    Args:
        shape: the frame's (H, W, ...) in pixels.
        similarity: float (2, 3), frame pixels to canonical units.

    Returns:
        bool (256, 256), or None if all of them do.
    """
    corners = np.array([[0.0, 0.0], [UNITS, 0], [0, UNITS], [UNITS, UNITS]])
    if (_depth(alignment.apply(alignment.invert(similarity), corners), shape) >= 0).all():
        return None
    (a, b, c), (d, e, f) = alignment.invert(similarity).astype(np.float64)
    along = np.arange(UNITS) + 0.5
    x, y = a * along + (b * along + c)[:, None], d * along + (e * along + f)[:, None]
    height, width = shape[:2]
    seen: np.ndarray = (x > 0) & (x < width) & (y > 0) & (y < height)
    return seen


def depth_units(seen: np.ndarray) -> np.ndarray:
    """How far each unit of the square (256, 256) bool is from what was not seen: float32, 0 beyond."""
    return cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, 5)


def well_inside(seen: np.ndarray) -> np.ndarray:
    """Which units of a crop can be lent, of those that were seen, bool (256, 256): float32, 0 or 1."""
    return cv2.erode(seen.astype(np.float32), np.ones((2 * KERNEL + 1, 2 * KERNEL + 1)))


def lent_part(seen: np.ndarray, coordinates: np.ndarray) -> np.ndarray | None:
    """What a warped crop lends: float32 (h, w) 0..1, 0 where it was not seen, or None where all of it is 1.

    Args:
        seen: bool (256, 256), the crop's.
        coordinates: float32 (h, w, 2), where each unit of the warped window comes from.
    """
    # Beyond the square nothing was seen either.
    lent = cv2.remap(  # type: ignore[call-overload]
        well_inside(seen), coordinates, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    whole = lent > WHOLE
    if whole.all():
        return None
    box = (2 * FADE + 1, 2 * FADE + 1)
    return cv2.blur(cv2.erode(whole.astype(np.float32), np.ones(box)), box)


def fill_unseen(
    pictures: list[np.ndarray], lent: list[np.ndarray | None], weights: np.ndarray
) -> list[np.ndarray]:
    """R warped pictures float32 (h, w, 3); what one has not seen is taken from those that have.

    lent: float32 (h, w) 0..1 or None for each, see `lent_part`; weights: float (R,), how much each counts.
    """
    if all(part is None for part in lent):
        return pictures
    parts = [np.float32(1) if part is None else part[..., None] for part in lent]
    # Who has next to no weight still is better than what nobody saw.
    heavy = np.maximum(weights, 1e-3).astype(np.float32)
    total = np.asarray(sum(w * part for w, part in zip(heavy, parts, strict=True)))
    common = sum(
        (w * part) * picture for w, part, picture in zip(heavy, parts, pictures, strict=True)
    ) / np.maximum(total, 1e-6)
    known = np.minimum(total / heavy.min(), 1)
    return [
        picture + (known * (1 - part)) * (common - picture)
        for part, picture in zip(parts, pictures, strict=True)
    ]


def cut_lips(track: FaceTrack, shape: tuple[int, ...], layout: LandmarkLayout) -> np.ndarray:
    """In which frames (H, W, ...) of a track the lips reach over the frame's edge: bool (T,)."""
    cut = np.zeros(len(track), bool)
    rows = np.flatnonzero(track.present)
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        cut[part] = shown_lips(track.canonical[part], track.similarity[part], shape, layout) == 0
    return cut


def shown_lips(
    landmarks: np.ndarray, similarity: np.ndarray, shape: tuple[int, ...], layout: LandmarkLayout
) -> np.ndarray:
    """How freely lips can move: float (T,) 0..1, 0 where a part of them lies beyond the frame's edge.

    Args:
        landmarks: float (T, N, 2), canonical units.
        similarity: float (T, 2, 3), frame pixels to canonical units.
        shape: the frames' (H, W, ...) in pixels.
    """
    lips = _landmark_depth(landmarks[:, layout.lips_outer], similarity, shape)
    return smooth_step(lips.min(-1) / LIPS_FREE)


def slowed_at_edge(shift: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Movement (h, w, 2) in units, less towards the frame's edge and none there; depth: (h, w), see
    `depth_units`."""
    near = np.hypot(shift[..., 0], shift[..., 1]) * (depth < FREE)
    if not near.any():
        return shift
    # Twice as wide as the way is long: nothing is read beyond the edge, and nothing folds.
    width = max(2 * near.max(), 2)
    return shift * smooth_step(depth / width)[..., None].astype(shift.dtype)


def held_at_edge(
    source: np.ndarray,
    target: np.ndarray,
    similarity: np.ndarray,
    shape: tuple[int, ...],
    layout: LandmarkLayout,
) -> np.ndarray:
    """The target's landmarks (T, N, 2), moved from the source's the less, the nearer these are to the edge.

    Lips near it leave it no farther than the skin between can be stretched.

    Args and units are those of `shown_lips`; a frame whose mouth and jaw are far inside is returned as it is.
    """
    depth = _landmark_depth(source, similarity, shape)
    # Lips keep their shape: what lies as deep as the outermost of them goes all the way with them.
    lips = depth[:, layout.lips_outer].min(1, keepdims=True)
    goal = _landmark_depth(target[:, layout.lips_outer], similarity, shape).min(1, keepdims=True)
    near = 1 - smooth_step((lips - LIPS_FREE) / (FREE - LIPS_FREE))
    share = STRETCHED * lips / np.maximum(near * (goal - lips), 1e-6)
    free = smooth_step(depth / np.clip(lips, 1, FREE)) * smooth_step(lips / LIPS_FREE) * share.clip(0, 1)
    held = source + free[..., None] * (target - source)
    return np.where((free < 1)[..., None], held, target).astype(target.dtype)


def _landmark_depth(landmarks: np.ndarray, similarity: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """How far inside the frame landmarks (T, P, 2) lie, (T, P) units, negative beyond its edge."""
    units_per_px = np.hypot(similarity[:, 0, 0], similarity[:, 1, 0])
    return _depth(alignment.apply(alignment.invert(similarity), landmarks), shape) * units_per_px[:, None]


def _depth(points_px: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Distance (...) of points (..., 2) to the nearest edge of a frame in pixels, negative beyond it."""
    far = np.array(shape[1::-1], np.float64) - points_px
    return np.minimum(points_px, far).min(-1)
