"""What stands still in the picture while the face moves behind it: a microphone, a caption, a watermark.

Present in every frame, it is no exception among the references, and the median of them takes it for the face.
But it keeps its place in the picture, its outline too, while mouth and jaw pass under it; and its colour is
not the skin's. A beard has another colour than the skin as well, but its outline moves with the face.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...face.alignment import UNITS
from ..square.areas import widened
from .grid import FEWEST, FaceGrid, between
from .parts import ALIKE, joined, largest, like_nearest, nearest_colours, thickness, unlike_skin

STEADY = 11.0  # levels that most frames stay within: noise and compression
EDGES = 0.25  # of the change beside a pixel, which is allowed as well
QUARTERS = 0.75  # most
# By how much the face must have moved under a pixel, its deviation over the frames; and how far it
# must for its lips to have, too.
MOVED_UNITS, FAR_UNITS = 2.0, 5.0
PASSED = 0.3  # share of a part under which it must
# What has sharp edges shows smaller movement: so many levels by which its outline would change if it moved
# with the face, and less than so much of that if it stands still. Captions on faces that moved by 0.3 units:
# 3.7 and more, up to 0.39; what is a face's own: 0.73 and more.
SHOWN, ATTACHED = 3.0, 0.5
TOLD = 0.2  # share of the frames in which the lips must be elsewhere
STEP, OUTLINE = 26.0, 0.5  # levels by which the picture changes within 3 units of this share of its outline
LETTERS = 24  # units from one letter to the next
STROKE = 6  # half the width, in units, of the thickest letters
# Units within which a stroke is the smaller part; share of a stroke's contrast; units from it to the next.
STROKES, SAME, NEXT = 21, 0.5, 12
VIVID = 80.0  # levels between green and blue that no lips, tongue or teeth have; half of it over red
SMALLEST = 12  # square units
SHADES = 3  # times that what a thing goes on to may be another shade of its colour


@dataclass(frozen=True)
class Overlay:
    """A part of the picture that is always covered.

    matte: bool (h, w), on a grid of about one sample a unit; to_grid: float (2, 3), frame pixels to its
    continuous coordinates.
    """

    matte: np.ndarray
    to_grid: np.ndarray

    def on_crop(self, similarity: np.ndarray) -> np.ndarray:
        """The part (256, 256) bool of the canonical square of a frame with that similarity (2, 3)."""
        matrix = between(similarity, self.to_grid)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(255 * self.matte.astype(np.uint8), matrix, (UNITS, UNITS), flags=flags) > 64


def find_overlay(faces: FaceGrid, skin: np.ndarray) -> Overlay | None:
    """What stands still over a face that moves, or None; skin: float (C, 3), colours of the person's."""
    matte = standing_still(faces, skin)
    return Overlay(matte, faces.to_grid) if matte.any() else None


def standing_still(faces: FaceGrid, skin: np.ndarray, held: np.ndarray | None = None) -> np.ndarray:
    """What stands still before faces on a grid, bool (h, w); skin: float (C, 3), colours.

    held: bool (h, w), where alone it is looked for, of what is known to keep another way than the face: then
    it need not end sharply.
    """
    below, moved = faces.movement()
    seen = _Steadiness.of(faces, far=(held is not None) & (np.hypot(*moved) > FAR_UNITS))
    alien = unlike_skin(seen.usual, skin)
    found = (seen.steady & alien & seen.on_face).astype(np.uint8)
    if held is not None:
        found[~held] = 0
    found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    passed = below & (np.hypot(*moved) > MOVED_UNITS)
    count, numbers, facts, _ = cv2.connectedComponentsWithStats(found)
    under, near = (np.bincount(numbers[where], minlength=count) for where in (passed, below))
    least = np.maximum(SMALLEST, PASSED * facts[:, cv2.CC_STAT_AREA])
    matte = np.zeros(found.shape, bool)
    for number in range(1, count):
        if near[number] < least[number]:
            continue
        part = numbers == number
        if under[number] >= least[number] or _stays(faces.pictures, seen.halves, part & seen.on_face, moved):
            matte |= part & (held is not None or _ends_sharply(seen.usual, part, seen.on_face))
    return _grown(matte, seen, alien, held is not None) if matte.any() else matte


@dataclass(frozen=True, eq=False)
class _Steadiness:
    """What pictures of a face that moves tell of each place, (h, w).

    usual: float64 (h, w, 3), their median; halves: the same, float32; always: bool, what changes in few of
    them; told: bool, where the lips are elsewhere often enough to tell what stands before them; steady: bool,
    what changes in few of these; on_face: bool, well within the face's outline.
    """

    usual: np.ndarray
    halves: np.ndarray
    always: np.ndarray
    told: np.ndarray
    steady: np.ndarray
    on_face: np.ndarray

    @classmethod
    def of(cls, faces: FaceGrid, far: np.ndarray) -> _Steadiness:
        """far: bool (h, w), where faces move so far that no lips stand still."""
        pictures, on_lips = faces.pictures, faces.on_lips
        usual = np.median(pictures, axis=0)
        # One by one, and halves of levels are exact in four bytes: a fifth of the time, a tenth of the
        # memory.
        halves = usual.astype(np.float32)
        away = np.stack([largest(np.abs(picture - halves)) for picture in pictures])
        # A sharp edge is never read twice at the same place between two samples.
        light, beside = usual.mean(-1).astype(np.float32), np.ones((3, 3), np.uint8)
        edges = cv2.dilate(light, beside) - cv2.erode(light, beside)
        still = away < STEADY + EDGES * edges
        # Lips and upper teeth of a head that hardly moves stand still too: what does so when they are
        # elsewhere stands before them.
        apart = (~on_lips).sum(0)
        told = apart >= max(FEWEST, TOLD * len(pictures))
        steady = told & ((still & ~on_lips).sum(0) >= QUARTERS * apart)
        always = still.sum(0) >= QUARTERS * len(still)
        # Not the edge of the face: what stands still there may as well be the neck.
        face = cv2.erode(faces.on_face.astype(np.uint8), np.ones((11, 11), np.uint8)) > 0
        return cls(usual, halves, always, told | far, steady | far & always, face)


def _grown(matte: np.ndarray, seen: _Steadiness, alien: np.ndarray, thing: bool) -> np.ndarray:
    """A matte bool (h, w) with what belongs to it: faint letters, and what goes on over the lips and beyond
    the face; alien: bool, what is no skin; thing: whether it is known to be one, lit from a side, not
    letters."""
    matte = matte | seen.steady & seen.on_face & _strokes(seen.usual, matte)
    letters = thickness(matte) <= STROKE
    allowed = seen.always & alien & ~(seen.told & seen.on_face)
    # Over the lips it may go on to a part of another colour, which then goes on itself.
    for _ in range(2):
        matte = joined(matte, alien & seen.on_face & seen.steady)
        matte |= _rest(seen.usual, matte, allowed, ~seen.on_face, letters)
    for _ in range(SHADES * thing):
        matte = joined(matte, allowed & like_nearest(seen.usual, matte))
    return matte


def _rest(
    usual: np.ndarray, matte: np.ndarray, allowed: np.ndarray, beyond: np.ndarray, letters: bool
) -> np.ndarray:
    """What belongs to a matte (h, w) on the lips and beyond the face: a microphone's stand is joined to it, a
    caption's other letters are near, and both have one of its two colours.

    usual: (h, w, 3); allowed, beyond, result: bool (h, w), what is beside it only beyond the face or in a
    colour that no mouth has; letters: whether it is thin.
    """
    # Its outermost pixels have some of what is beside it; a thin stroke has no others.
    core = cv2.erode(matte.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    seeds = np.ascontiguousarray(usual[core if core.sum() >= SMALLEST else matte], np.float32)
    stop = (cv2.TERM_CRITERIA_MAX_ITER, 10, 1.0)
    first = (seeds.sum(1) > np.median(seeds.sum(1))).astype(np.int32)[:, None]
    _, _, colours = cv2.kmeans(seeds, 2, first, stop, 1, cv2.KMEANS_USE_INITIAL_LABELS)
    alike = allowed & (np.min([largest(np.abs(usual - one)) for one in colours], axis=0) < ALIKE)
    beside = alike & (beyond | no_mouths(usual)) & (widened(matte.astype(np.uint8), LETTERS) > 0) & ~matte
    # A wall of the same colour is none of its letters.
    few = beside.sum() < 4 * matte.sum()
    whole = joined(matte, alike) | (beside if few else np.zeros_like(matte))
    return matte if letters and thickness(whole) > 3 * STROKE else whole


def no_mouths(picture: np.ndarray) -> np.ndarray:
    """Where the colours (h, w, 3) are none of a mouth, which has dark, red, pale and white: bool (h, w)."""
    red, green, blue = (picture[..., channel].astype(np.float32) for channel in range(3))
    return (np.maximum(green, blue) - red > VIVID / 2) | (np.abs(green - blue) > VIVID)


def _strokes(usual: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """What differs from what is about it as a matte (h, w) does and is near it, bool (h, w): the letters that
    have as little of a caption's colour as of the skin's. None where the matte is no thin stroke.

    usual: (h, w, 3).
    """
    about = cv2.medianBlur(usual.astype(np.uint8), STROKES)
    contrast = usual.astype(np.float32) - about
    own = contrast[matte].mean(0)
    if np.abs(own).max() < STEP:
        return np.zeros(matte.shape, bool)
    share = contrast @ own / np.square(own).sum()
    return (share > SAME) & (share < 1 / SAME) & (widened(matte.astype(np.uint8), NEXT) > 0)


def _ends_sharply(usual: np.ndarray, part: np.ndarray, on_face: np.ndarray) -> bool:
    """Whether the median picture (h, w, 3) changes just outside most of a part's outline on the face: that of
    a beard or a mouth is spread by their movement, and what is steady ends before it begins to change."""
    colours, distance = nearest_colours(usual, part)
    outline = (distance > 1.5) & (distance < 3.5) & on_face
    step = np.abs(usual - colours).max(-1)[outline]
    return len(step) > 0 and float((step > STEP).mean()) >= OUTLINE


def _stays(pictures: np.ndarray, usual: np.ndarray, part: np.ndarray, moved: np.ndarray) -> bool:
    """Whether the outline of a part (h, w) bool of pictures (F, h, w, 3) changes less than if it moved with
    the face; usual: float32 (h, w, 3), their median; moved: (2, h, w) units, see `FaceGrid.movement`."""
    outline = cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    across, down = (
        cv2.Scharr(usual, cv2.CV_32F, *along, scale=1 / 32)[outline] for along in ((1, 0), (0, 1))
    )
    moved = moved[:, outline, None]
    attached = float(np.hypot(across * moved[0], down * moved[1]).mean())
    return attached > SHOWN and float(pictures[:, outline].std(0).mean()) < ATTACHED * attached
