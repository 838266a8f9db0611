"""Lip references: a bounded pool of crops over the whole source, one pass of the video to read it.

The pool is where every renderer takes lips and teeth from. References of another video or image of the
person are read by the same function from that clip and its track; nothing else needs to know where they came
from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout
from ..square.crop import crop_box, cut_crop
from ..square.frame_edge import seen_part
from ..square.mask import mouth_mask

if TYPE_CHECKING:
    from ...face.track import FaceTrack
    from ...media.clip import Clip
    from ...media.picture import Picture

# Calls a function with every item, in their order: one after the other, as `map` does, or several at once.
Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]
INNER = 1.6
CENTRE_WEIGHT = 0.3
POSE_POINTS = 32
# A frame that is rebuilt to be measured or learned from uses no reference from nearer in time: no syllable of
# its own, which new speech would not have either.
APART_S = 0.6


@dataclass(frozen=True)
class References:
    """K lip crops of one person.

    crops: uint8 (K, S, S, 3); landmarks: float32 (K, N, 2) canonical units; frame_index: int64
    (K,) in the source;
    sharpness: float32 (K,), 1 is the pool's median; shots: int32 (K,) shot numbers; seen: bool (K, 256, 256),
    which units of each crop were inside the frame, None where all were; free: bool (K, 256, 256), which of
    them nothing stood before either, None where that is `seen`; uncovered: bool (K,), frames before whose
    mouth nothing stands, for who draws them, None where that is not known.
    """

    crops: np.ndarray
    landmarks: np.ndarray
    frame_index: np.ndarray
    sharpness: np.ndarray
    shots: np.ndarray
    seen: np.ndarray | None = None
    free: np.ndarray | None = None
    uncovered: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def size(self) -> int:
        """Side S of the crops in pixels."""
        return self.crops.shape[1]

    def resized(self, size: int) -> References:
        """The same with crops of side `size`, averaged where they were larger."""
        if size == self.size:
            return self
        return replace(self, crops=np.stack([resized(crop, size) for crop in self.crops]))

    def take(self, keep: np.ndarray) -> References:
        """The references of those positions, or where a mask (K,) is true; these themselves if it all is."""
        if keep.dtype == bool and keep.all():
            return self
        taken: dict[str, Any] = {name: None if own is None else own[keep] for name, own in vars(self).items()}
        return References(**taken)

    def joined(self, others: References) -> References:
        """These, and others of the same person and size after them; both or neither know of an edge, of what
        stands before a mouth, and of frames without."""
        joined: dict[str, Any] = {
            name: None if one is None or other is None else np.concatenate([one, other])
            for (name, one), other in zip(vars(self).items(), vars(others).values(), strict=True)
        }
        return References(**joined)

    @property
    def own(self) -> np.ndarray | None:
        """Which units of each crop show the person: bool (K, 256, 256), None where all do."""
        return self.seen if self.free is None else self.free

    def unseen_share(self, layout: LandmarkLayout) -> np.ndarray:
        """How much of each reference's mouth and chin lay beyond the frame's edge or behind something:
        float32 (K,) 0..1."""
        share, own = np.zeros(len(self), np.float32), self.own
        if own is None:
            return share
        for index in np.flatnonzero(~own.all((1, 2))):
            mask = mouth_mask(self.landmarks[index], self.landmarks[index], layout)
            unseen = mask.lips * ~mask.window.cut(own[index])
            share[index] = unseen.sum() / max(mask.lips.sum(), 1e-6)
        return share


def resized(picture: np.ndarray, size: int) -> np.ndarray:
    """A square picture (S,S,3) as (size,size,3), averaged where it was larger."""
    if len(picture) == size:
        return picture
    kernel = cv2.INTER_AREA if len(picture) > size else cv2.INTER_CUBIC
    return cv2.resize(picture, (size, size), interpolation=kernel)


def lip_shape(landmarks: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """Features (..., 40, 2) whose distance tells lips apart, canonical units.

    Both lip rings about their own centre, the inner ring counting more because teeth show there. A part of
    the centre stays in: a mouth that sits lower belongs to a chin that hangs lower.
    """
    lips = landmarks[..., np.concatenate([layout.lips_outer, layout.lips_inner]), :]
    shape = lips - (1 - CENTRE_WEIGHT) * lips.mean(-2, keepdims=True)
    shape[..., len(layout.lips_outer) :, :] *= INNER
    return shape


def pose_points(layout: LandmarkLayout) -> np.ndarray:
    """Points that speech does not move much, int64 (P,), P <= POSE_POINTS, spread over the upper face."""
    return layout.upper[:: max(len(layout.upper) // POSE_POINTS, 1)][:POSE_POINTS]


def mouth_opening(landmarks: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """Mean height (...,) between the inner lips in canonical units, 0 where they touch or cross."""
    ring = landmarks[..., layout.lips_inner, :]
    half = len(layout.lips_inner) // 2
    lower, upper = ring[..., 1:half, 1], ring[..., :half:-1, 1]
    return np.clip(lower - upper, 0, None).mean(-1)


def read_references(
    clip: Clip,
    track: FaceTrack,
    indices: np.ndarray,
    size: int,
    layout: LandmarkLayout,
    each: Each = map,
    before: Callable[[np.ndarray], np.ndarray] | None = None,
) -> References:
    """Read the crops of a pool in one pass of the clip.

    Args:
        clip: the video that the track belongs to.
        track: its face.
        indices: int (K,), increasing frame indices.
        size: side of the crops in pixels.
        layout: the track's layout.
        each: what cuts a crop from every picture.
        before: what is made of a picture uint8 (H, W, 3) before it is cut, None for nothing.
    """
    indices = np.asarray(indices, np.int64)
    crops = np.empty((len(indices), size, size, 3), np.uint8)
    seen = np.ones((len(indices), UNITS, UNITS), bool)

    def cut(numbered: tuple[int, Picture]) -> np.ndarray | None:
        position, picture = numbered
        similarity, frame = track.similarity[indices[position]], (picture.height, picture.width)
        box = crop_box(similarity, size, *frame)
        rgb = picture.rgb_in(box)
        cut_crop(rgb if before is None else before(rgb), similarity, size, crops[position])
        return seen_part(frame, similarity)

    for position, part in enumerate(each(cut, enumerate(clip.pictures(indices)))):
        if part is not None:
            seen[position] = part
    landmarks = track.canonical[indices].astype(np.float32)
    return References(
        crops,
        landmarks,
        indices,
        sharpness(crops, landmarks, layout),
        track.shots[indices],
        None if seen.all() else seen,
    )


def sharpness(crops: np.ndarray, landmarks: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """Detail about the mouth, float32 (K,), 1 is the median of all."""
    pairs = zip(crops, landmarks, strict=True)
    values = np.array([mouth_detail(crop, points, layout) for crop, points in pairs], np.float32)
    return values / max(float(np.median(values)), 1e-6)


def mouth_detail(crop: np.ndarray, landmarks: np.ndarray, layout: LandmarkLayout) -> float:
    """Variance of the Laplacian in the mouth's box; crop uint8 (S,S,3), landmarks (N,2) canonical units."""
    scale = crop.shape[0] / UNITS
    lips = landmarks[layout.lips_outer] * scale
    low = np.clip(lips.min(0) - 4 * scale, 0, crop.shape[0] - 8).astype(int)
    high = np.clip(lips.max(0) + 4 * scale, low + 8, crop.shape[0]).astype(int)
    gray = cv2.cvtColor(crop[low[1] : high[1], low[0] : high[0]], cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(gray, cv2.CV_32F).var())
