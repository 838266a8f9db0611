"""What lies before a mouth as a matte, pixel by pixel, and the face that is to be expected behind it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...face.alignment import UNITS
from ..square.areas import disc, smooth_step, widened
from .overlay import STROKE
from .parts import joined, largest, nearest_colours, thin

RIM = 2  # units about a cover that are none of the usual face: its soft edge and its shadow
# Units about a cover's edge in which its own colours are, and levels from those that tell the face from it.
COLOURS, UNLIKE = 6, 30.0
COVERED, WHOLLY = 0.6, 0.8  # of the lips: from here on the new mouth fades out, and here the frame stays
MEETS = 35.0  # levels up to which what is about a cover is the face that goes on behind it, in another light


@dataclass(frozen=True, eq=False)
class Cover:
    """What a frame shows before the mouth.

    matte: float32 (S, S) in 0..1 by pixel of the crop, 1 where the frame's own stay, None where nothing was
    found; touched: float32 (256, 256) by canonical unit, that and what the cover's soft edge and its shadow
    reach to; usual: uint8 (256, 256, 3), what is to be expected there; hidden: how much of the lips is, 0..1;
    faded: how far the whole picture has, 0..1; sure: whether the picture by itself leaves no doubt of it.
    """

    matte: np.ndarray | None = None
    touched: np.ndarray | None = None
    usual: np.ndarray | None = None
    hidden: float = 0.0
    faded: float = 0.0
    sure: bool = False

    @property
    def visible(self) -> float:
        """How much of the new mouth shows where nothing is before it: 0..1, 0 where the whole frame stays."""
        shown = (WHOLLY - self.hidden) / (WHOLLY - COVERED)
        return (1 - self.faded) * min(max(shown, 0.0), 1.0)

    @property
    def is_partial(self) -> bool:
        """Whether a part of the mouth or of what is about it is covered, and the rest can be made anew."""
        return self.matte is not None and self.visible > 0

    def mended(self, crop: np.ndarray) -> np.ndarray:
        """A crop uint8 (S, S, 3) with what is to be expected where it is covered."""
        if self.touched is None or self.usual is None:
            return crop
        size = crop.shape[:2]
        matte = cv2.resize(self.touched, size)[..., None]
        usual = cv2.resize(self.usual, size, interpolation=cv2.INTER_CUBIC)
        return np.rint(crop + matte * (usual.astype(np.float32) - crop)).astype(np.uint8)

    def left(self, alpha: np.ndarray) -> np.ndarray:
        """How much of each pixel may be new, float32 (S, S), of what would be without a cover."""
        if self.matte is None and self.visible == 1:
            return alpha
        alpha = alpha * np.float32(self.visible)
        return alpha if self.matte is None else alpha * (1 - cv2.resize(self.matte, alpha.shape))


@dataclass(frozen=True, eq=False)
class ExpectedFace:
    """The usual face in a picture's shape and light.

    within: rows and columns of the canonical square that hold it; usual: uint8 (h, w, 3); face: bool (h, w),
    where it is a face's; sure: bool (h, w), where that is known.
    """

    within: tuple[slice, slice]
    usual: np.ndarray
    face: np.ndarray
    sure: np.ndarray

    def behind(self, picture: np.ndarray, found: np.ndarray, hole: np.ndarray) -> np.ndarray:
        """A picture uint8 (256, 256, 3) with this face in a hole, bool (256, 256), joined to what is about it
        without a seam. What is about the hole goes on where the face is unsure and what was `found` is thin,
        as letters are, and beyond the face, where neck and collar are elsewhere in every pose. found: bool
        (256, 256), in the hole."""
        behind = picture.copy()
        part, found, hole = behind[self.within], found[self.within], hole[self.within]
        # What is far from expected about the hole is the rest of a cover, or the mouth: no light to meet.
        step = part.astype(np.float32) - self.usual
        meets = ~hole & (largest(np.abs(step)) < MEETS)
        lit = np.clip(self.usual + nearest_colours(step, meets)[0], 0, 255).astype(np.uint8)
        joined_up = continued(self.usual, np.where(meets[..., None], part, lit), hole)
        slight = widened(thin(found, STROKE).astype(np.uint8), 3 * RIM) > 0
        goes_on = hole & (~self.face | ~self.sure & slight)
        if goes_on.any():
            joined_up[goes_on] = cv2.inpaint(part, hole.astype(np.uint8), 3, cv2.INPAINT_NS)[goes_on]
        part[hole] = joined_up[hole]
        return behind


FREE = Cover()


def with_rim(picture: np.ndarray, found: np.ndarray, usual: np.ndarray | None) -> np.ndarray:
    """How much of each place a cover hides, float32 (256, 256): all of what was `found` of it, bool; about
    that, as much as the picture has of its colour instead of the usual face's."""
    if usual is None:
        return widened(found.astype(np.uint8), RIM).astype(np.float32)
    # Between the letters of a word nothing of the face is worth the risk to lose a stroke.
    closed = cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_CLOSE, disc(RIM))
    covered = widened(closed, 1) > 0
    behind = usual.astype(np.float32)
    colours, distance = nearest_colours(picture, found)
    step = colours - behind
    share = ((picture - behind) * step).sum(-1) / np.maximum(np.square(step).sum(-1), 1.0)
    # A little of its colour is as likely the face's own light and shadow.
    rim = np.where(distance < RIM + 1, smooth_step((share - 0.3) / 0.5), 0)
    return np.where(covered, 1, rim).astype(np.float32)


def own_colours(crop: np.ndarray, found: np.ndarray, matte: np.ndarray) -> np.ndarray:
    """A matte float32 (256, 256) pixel by pixel of a crop uint8 (S, S, 3), float32 (S, S): what lies about
    what was found of the cover, bool (256, 256), stays as far as it has the colours of that.

    A unit is several pixels of a large face, and the mouth as it was would stand at the cover's edge.
    """
    size, scale = crop.shape[:2], len(crop) / UNITS
    whole, about = cv2.resize(found.astype(np.float32), size), cv2.resize(matte, size)
    # The edge of what is thick has some of the face's colour; what is thin may be nothing but an edge.
    core = cv2.erode(found.astype(np.uint8), disc(1)) > 0
    core |= thin(found, STROKE)
    pure = cv2.resize(core.astype(np.float32), size)[..., None] > 0.99
    across = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * round(COLOURS * scale) + 1,) * 2)
    darkest = cv2.erode(np.where(pure, crop, 255).astype(np.uint8), across)
    lightest = cv2.dilate(np.where(pure, crop, 0).astype(np.uint8), across)
    unlike = largest(np.maximum(cv2.subtract(darkest, crop), cv2.subtract(crop, lightest)))
    # A pixel of its edge is less unlike than the next one.
    share = unlike / np.maximum(cv2.dilate(unlike, np.ones((3, 3), np.uint8)), np.float32(UNLIKE))
    stays = 1 - smooth_step(2 * share - 1)
    stays *= joined(whole > 0.5, (stays > 0.5) & (about > 0))
    return np.where(whole > 0.5, about, about * stays)


def continued(inner: np.ndarray, outer: np.ndarray, where: np.ndarray) -> np.ndarray:
    """`outer` (h, w, 3) with the structure of `inner` in a part (h, w) bool, without a seam (Perez et al.,
    Poisson image editing, 2003); both uint8."""
    # OpenCV leaves a rim of the part as it is, whose edge is no seam to keep, and wants room about the part.
    kept, room = 3, 8
    inner, outer = (
        cv2.copyMakeBorder(np.ascontiguousarray(one), *(room,) * 4, cv2.BORDER_REPLICATE)
        for one in (inner, outer)
    )
    mask = cv2.copyMakeBorder(255 * where.astype(np.uint8), *(room,) * 4, cv2.BORDER_CONSTANT)
    mask = cv2.dilate(mask, np.ones((2 * kept + 1,) * 2))
    left, top, width, height = cv2.boundingRect(mask)
    centre = left + width // 2, top + height // 2
    cloned = cv2.seamlessClone(inner, outer, mask, centre, cv2.NORMAL_CLONE)
    return cloned[room:-room, room:-room]
