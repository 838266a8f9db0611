"""Watermarks that let the picture through: lips are drawn for the picture without, and it is laid over them.

It keeps its place while the face moves behind it, so that its edges are the only fine structure that most
pictures share; and how much of a pixel it is, is told by what goes on about it (after Dekel et al., On the
effectiveness of visible watermarks, 2017). What hides the picture wholly is a cover, see `covers`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..face.layout import LandmarkLayout
from ..face.track import FaceTrack
from ..media.clip import Clip
from ..media.colour import Box
from ..media.patch import Patch
from .covers.grid import FRAMES, INSIDE, ROOM, FaceGrid
from .fade import BLACK, WHITE
from .references.pool import even_sample
from .references.references import References
from .square.areas import disc

# Fine structure, by the deviation of a blur in units, and that of strokes: levels that a watermark's edges
# have in the median picture, and the share of the pictures that have at least half as much.
FINE, STROKES, EDGE, MOST = 1.5, 4.0, 3.0, 0.8
MOVED = 4.0  # units by which a face must have moved behind it, its deviation
# Square units of its edges, in all and in one piece, with gaps of so many units. Of 260 clips without one
# none has more than 43, but for a microphone that is there all the time.
LEAST, PIECE, GAPS = 150, 60, 8
FINEST = 2.0  # pixels a unit at which it is looked at, at most
STROKE, SOFT = 0.35, 2.0  # of the usual contrast of strokes, what is one; units about it in which it ends
LEVEL = 0.8  # quantile of their contrast that is usual
SHARES = 0.1, 0.75  # of a pixel that a watermark is; a smaller one is not seen, a larger one is a cover
NOTHING = 0.1  # of its usual share, which is none
SEEN_THROUGH = 0.4  # of the changes that its share must let through, which it does


@dataclass(frozen=True, eq=False)
class Watermark:
    """One that is light or dark, before a part of the frame.

    share: float32 (h, w, 1), 0..1, how much of each pixel it is; colour: BLACK or WHITE; top, left: px.
    """

    share: np.ndarray
    colour: int
    top: int
    left: int

    def taken_off(self, rgb: np.ndarray) -> np.ndarray:
        """A frame uint8 (H, W, 3) without it."""
        height, width = self.share.shape[:2]
        without = rgb.copy()
        part = without[self.top : self.top + height, self.left : self.left + width]
        part[:] = np.rint((part - self.colour * self.share) / (1 - self.share)).clip(BLACK, WHITE)
        return without

    def laid_over(self, patch: Patch) -> Patch:
        """New pixels of a frame with it."""
        height, width = patch.alpha.shape
        share = np.zeros((height, width, 1), np.float32)
        top, left = self.top - patch.top, self.left - patch.left
        own = self.share[max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
        top, left = max(top, 0), max(left, 0)
        share[top : top + own.shape[0], left : left + own.shape[1]] = own
        if not share.any():
            return patch
        return replace(patch, rgb=patch.rgb * (1 - share) + share * np.float32(self.colour))


def find_watermark(
    clip: Clip, track: FaceTrack, references: References, layout: LandmarkLayout
) -> Watermark | None:
    """The watermark before a face that moves, None where none is seen.

    Args:
        clip: the video.
        track: its face.
        references: crops of it at one sample a unit.
    """
    similarity = track.similarity[references.frame_index]
    faces = FaceGrid.of(references.crops, references, similarity, layout)
    if faces is None:
        return None
    below, moved = faces.movement()
    telling = below & (np.hypot(*moved) > MOVED) & faces.on_face
    if (
        telling.sum() < LEAST
        or (_shared(faces.pictures.mean(-1, dtype=np.float32), 1.0) & telling).sum() < LEAST
    ):
        return None
    frames = even_sample(references.frame_index, FRAMES)
    return _read(clip, track, frames, layout)


def _read(clip: Clip, track: FaceTrack, frames: np.ndarray, layout: LandmarkLayout) -> Watermark | None:
    """The watermark before a face in some frames (F,) of its clip, None where nothing is seen through it."""
    outlines = track.landmarks[frames][:, layout.oval, :2]
    unit = 1 / float(np.median(np.hypot(*track.similarity[frames][:, :, 0].T)))
    top, left, bottom, right = box = _about(outlines, ROOM * unit, clip.height, clip.width)
    fit = min(1.0, FINEST / unit)
    size = round(fit * (right - left)), round(fit * (bottom - top))
    pictures = np.stack(
        [
            cv2.resize(one.rgb_in(box)[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
            for one in clip.pictures(frames)
        ]
    )
    inside = np.zeros(pictures.shape[:3], np.uint8)
    for number, outline in enumerate(outlines):
        cv2.fillPoly(inside[number], [np.rint(fit * (outline - (left, top))).astype(np.int32)], 1)
    found = _shares(pictures, inside.mean(0) > INSIDE, fit * unit)
    if found is None:
        return None
    share, colour = found
    whole = cv2.resize(share, (right - left, bottom - top), interpolation=cv2.INTER_CUBIC)
    return Watermark(whole.clip(0, SHARES[1])[..., None], colour, top, left)


def _about(points: np.ndarray, room: float, height: int, width: int) -> Box:
    """The box of a frame that holds points (..., 2) px and so many px about them."""
    low, high = points.min((0, 1)) - room, points.max((0, 1)) + room
    left, top = np.clip(low, 0, (width - 1, height - 1)).astype(int).tolist()
    right, bottom = np.clip(high, (left + 1, top + 1), (width, height)).astype(int).tolist()
    return top, left, bottom, right


def _shares(pictures: np.ndarray, on_face: np.ndarray, unit: float) -> tuple[np.ndarray, int] | None:
    """How much of each pixel, float32 (h, w), a watermark before faces is, and its colour.

    pictures: uint8 (F, h, w, 3); on_face: bool (h, w); unit: pixels.
    """
    grey = pictures.mean(-1, dtype=np.float32)
    edges = _shared(grey, unit) & on_face
    near = cv2.morphologyEx(edges.astype(np.uint8), cv2.MORPH_CLOSE, disc(round(GAPS * unit / 2)))
    count, numbers = cv2.connectedComponents(near)
    large = np.bincount(numbers[edges], minlength=count) >= PIECE * unit**2
    near = large[numbers] & (near > 0)
    if not near.any():
        return None
    contrast = np.median(_above(grey, STROKES * unit), axis=0)
    high, low = np.quantile(contrast[near], (LEVEL, 1 - LEVEL))
    colour, usual = (WHITE, high) if high > -low else (BLACK, low)
    strokes = near & (contrast / usual > STROKE)
    soft = cv2.dilate(strokes.astype(np.uint8), disc(round(SOFT * unit)))
    behind = np.stack([cv2.inpaint(one, soft, 3, cv2.INPAINT_NS) for one in pictures]).astype(np.float32)
    step = colour - behind
    share = ((pictures - behind) * step).sum(-1) / np.maximum(np.square(step).sum(-1), 1.0)
    share = np.median(share, axis=0) * soft
    core = cv2.erode(strokes.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    usual = float(np.median(share[core])) if core.any() else 0.0
    least, most = SHARES
    through = _let_through(grey[:, core], behind[:, core].mean(-1))
    if not least < usual < most or through < SEEN_THROUGH * (1 - usual):
        return None
    share = np.minimum(share, usual)
    share[core] = usual
    share[share < NOTHING * usual] = 0
    return share.astype(np.float32), colour


def _shared(grey: np.ndarray, unit: float) -> np.ndarray:
    """Where pictures float32 (F, h, w) share fine structure, bool (h, w); unit: pixels."""
    fine = _above(grey, FINE * unit)
    usual = np.median(fine, axis=0)
    alike = (fine * np.sign(usual) > np.abs(usual) / 2).mean(0)
    return (np.abs(usual) > EDGE) & (alike >= MOST)


def _above(grey: np.ndarray, blur: float) -> np.ndarray:
    """By how much pictures (F, h, w) are lighter than what is about each place."""
    return np.stack([one - cv2.GaussianBlur(one, (0, 0), blur) for one in grey])


def _let_through(seen: np.ndarray, behind: np.ndarray) -> float:
    """How much of the changes of what is behind, levels (F, P), is seen: 0 of nothing, 1 of all of it."""
    seen, behind = seen - seen.mean(0), behind - behind.mean(0)
    return float((seen * behind).sum() / max(float(np.square(behind).sum()), 1e-6))
