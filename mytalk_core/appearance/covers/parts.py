"""Parts of a picture, bool (h, w): which touch, how thick they are, and what colours they have."""

from __future__ import annotations

import cv2
import numpy as np

from ..square.areas import disc

ALIEN = 26.0  # levels from every shade of the person's skin, where it is as bright; fewer in a dark one
SHADES = 0.5, 1.15  # of the skin's brightness
ALIKE = 30.0  # levels that one colour varies by
THICK = 3  # half the width of what has gaps, units: hair has none


def largest(values: np.ndarray) -> np.ndarray:
    """The largest of three channels (..., 3): several times as fast as the general way."""
    return np.maximum(np.maximum(values[..., 0], values[..., 1]), values[..., 2])


def brightness(picture: np.ndarray) -> np.ndarray:
    """The mean of three channels (..., 3)."""
    return (picture[..., 0] + picture[..., 1] + picture[..., 2]) * np.float32(1 / 3)


def unlike_skin(picture: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """Where the colours (h, w, 3) are no shade of a skin's colours (C, 3), bool (h, w)."""
    picture = np.asarray(picture, np.float32)
    unlike = np.ones(picture.shape[:2], bool)
    for colour in skin.astype(np.float32):
        shade = np.clip(brightness(picture) / max(float(colour.mean()), 1.0), *SHADES)[..., None]
        unlike &= largest(np.abs(picture - shade * colour)) > ALIEN * np.clip(shade[..., 0], 0.6, 1)
    return unlike


def nearest_colours(picture: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each place of a picture (h, w, 3) the colours (h, w, 3) of the nearest of the seeds, bool (h, w),
    and how far away it is, (h, w)."""
    distance, labels = cv2.distanceTransformWithLabels(
        1 - seeds.astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((int(labels.max()) + 1, 3), np.float32)
    colours[labels[seeds]] = picture[seeds]
    return colours[labels], distance


def like_nearest(picture: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """Where the colours (h, w, 3) are those of the nearest of the seeds, bool (h, w): bool (h, w)."""
    return largest(np.abs(picture - nearest_colours(picture, seeds)[0])) < ALIKE


def joined(seeds: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Seeds (h, w) bool and the parts of `more` that touch them."""
    count, numbers = cv2.connectedComponents((seeds | more).astype(np.uint8))
    wanted = np.zeros(count, bool)
    wanted[numbers[seeds]] = True
    wanted[0] = False
    return wanted[numbers]


def thickness(part: np.ndarray) -> int:
    """Half the width of the thickest place of a part (h, w) bool, units."""
    room = cv2.copyMakeBorder(part.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return round(float(cv2.distanceTransform(room, cv2.DIST_L2, 3).max()))


def thin(part: np.ndarray, most: int) -> np.ndarray:
    """The joined parts of a part (h, w) bool that are nowhere thicker than twice so many units."""
    deep = cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, 3) > most
    return part & ~joined(deep, part)


def thick_places(part: np.ndarray, least: int) -> np.ndarray:
    """Where a part (h, w) bool is at least twice so many units thick, bool (h, w)."""
    return cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_OPEN, disc(least)) > 0


def gaps(part: np.ndarray, most: int) -> np.ndarray:
    """What lies between the thick places of a part (h, w) bool, at most so many units from either: bool
    (h, w)."""
    thick = thick_places(part, THICK)
    if not thick.any():
        return part & False
    near = cv2.distanceTransform(1 - thick.astype(np.uint8), cv2.DIST_L2, 5) <= most
    # What lies between a part and the picture's edge is no gap.
    room = cv2.copyMakeBorder(near.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    closed: np.ndarray = cv2.distanceTransform(room, cv2.DIST_L2, 5)[1:-1, 1:-1] > most
    return closed & ~part


def enclosed(part: np.ndarray, most: float) -> np.ndarray:
    """The holes of a part (h, w) bool that are at most so large a share of what they lie in: bool (h, w)."""
    outlines, tree = cv2.findContours(part.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    holes = np.zeros(part.shape, np.uint8)
    for hole, (*_, outer) in zip(outlines, [] if tree is None else tree[0], strict=True):
        if outer >= 0 and cv2.contourArea(hole) <= most * cv2.contourArea(outlines[outer]):
            cv2.drawContours(holes, [hole], 0, 1, cv2.FILLED)
    return (holes > 0) & ~part
