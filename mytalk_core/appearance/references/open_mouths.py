"""Open mouths for who never opens theirs: what is between the lips is lent by another.

Lips and skin stay the person's own: one of their references is stretched to the mouth that is wanted, and
what opens between its lips is filled with the inside of a like mouth of one generated face, in the colours
that the person's own skin and lips ask for. What is made so are references as any others, once a clip and
for every renderer; a source that shows its own teeth keeps them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
from safetensors import safe_open

from ...checkpoint.pretrained import BUNDLED
from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout
from ...face.packed import Rows
from ..mouth import interior_between, ring_pixels
from ..square.frame_edge import lent_part
from ..square.mask import LIPS, lip_map, mouth_mask
from ..square.raster import triangulate
from ..square.warp import MeshWarp, sample
from ..square.window import SQUARE
from .plan import CHUNK, ReferenceChoice, reference_distance
from .pool import choose_pool
from .references import References, lip_shape, mouth_opening

WEIGHTS = BUNDLED / "mouth" / "interiors.safetensors"
SHOWN = 4.0  # units of opening from which on a source's own teeth show
WIDER = 1.6  # a target so many times as wide open as any reference is one that the source never showed
FEWEST = 3.0  # units of opening up to which no teeth are missed
MADE = 12  # such references at most
# How bright beside the skin what is between the lips is on the mean, with how much of the lips' colour, up to
# a strength that paint goes beyond; and teeth, with how much of the lips' and the skin's. Most teeth are
# brighter, 1.27, but few mouths show as much of a row as is lent.
INSIDE_BRIGHT, INSIDE_COLOURFUL = 0.6, 0.7
TEETH_BRIGHT, TEETH_COLOURFUL = 1.1, 0.63
STRONGEST = 30.0


@dataclass(frozen=True)
class Colours:
    """A face's: luma and two chroma, 0 for grey, levels, float (3,) each; the medians of skin and of lips."""

    skin: np.ndarray
    lips: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """What to expect between the lips, on the mean: float (3,)."""
        return np.r_[INSIDE_BRIGHT * self.skin[0], _weakened(self.lips, INSIDE_COLOURFUL)]

    @property
    def teeth(self) -> np.ndarray:
        """What to expect of teeth: float (3,)."""
        return np.r_[TEETH_BRIGHT * self.skin[0], _weakened((self.skin + self.lips) / 2, TEETH_COLOURFUL)]


@dataclass(frozen=True)
class Interiors:
    """K mouths of one face: as crops uint8 (K,S,S,3), black but for what is between the lips; their landmarks
    float32 (K,N,2), canonical units; and, as in `Colours`, the colours float32 (3,) of the lips, of what is
    between them on the mean, and of the teeth."""

    crops: np.ndarray
    landmarks: np.ndarray
    lips: np.ndarray
    inside: np.ndarray
    teeth: np.ndarray

    def fill(self, warp: MeshWarp, shape: np.ndarray, layout: LandmarkLayout, wanted: Colours) -> np.ndarray:
        """What a mouth of that shape (N,2), canonical units, has between its lips, on the pixels of the warp
        to it: uint8 (h,w,3), in a face of the wanted colours."""
        apart = lip_shape(self.landmarks, layout) - lip_shape(shape, layout)
        nearest = int(np.square(apart[:, len(layout.lips_outer) :]).sum((1, 2)).argmin())
        at = (warp.coordinates(self.landmarks[nearest]) + 0.5) * np.float32(self.crops.shape[1] / warp.size)
        return self._recoloured(sample(self.crops[nearest], at - np.float32(0.5)), wanted)

    def _recoloured(self, picture: np.ndarray, wanted: Colours) -> np.ndarray:
        parts = luma_chroma(picture)
        # From black to what is the mean, and from there to the teeth and beyond.
        shade = np.minimum(parts[..., :1] / self.inside[0], 1)
        white = (parts[..., :1] - self.inside[0]).clip(0) / (self.teeth[0] - self.inside[0])
        # More of its own colour would be more of its noise.
        colourful = min(_saturation(wanted.lips) / max(_saturation(self.lips), 1e-3), 1.0)
        own = parts - (shade * self.inside + white * (self.teeth - self.inside))
        parts = shade * wanted.inside + white * (wanted.teeth - wanted.inside) + colourful * own
        parts[..., 1:] += 128
        return cv2.cvtColor(np.rint(parts).clip(0, 255).astype(np.uint8), cv2.COLOR_YCrCb2RGB)


@lru_cache(maxsize=2)
def interiors(layout_name: str) -> Interiors:
    """The bundled mouths, by `mytalk_training.refiner.cut_interiors`, with landmarks in a layout."""
    with safe_open(WEIGHTS, "np") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        size = int(file.metadata()["size"])
    crops = np.zeros((len(stored["pictures"]), size, size, 3), np.uint8)
    for crop, picture, (top, left) in zip(crops, stored["pictures"], stored["corners"], strict=True):
        crop[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    landmarks = LandmarkLayout.load(layout_name).from_source(stored["landmarks"])
    return Interiors(crops, landmarks, *stored["colours"])


def with_open_mouths(references: References, targets: Rows, layout: LandmarkLayout) -> References:
    """The references and, where the source's own teeth never show, up to `MADE` more: open mouths, spread
    over those of the targets (T,N,2), canonical units, that are wider open than all of them."""
    widest = float(mouth_opening(references.landmarks, layout).max())
    if widest >= SHOWN:
        return references
    starts = range(0, len(targets), CHUNK)
    openings = [mouth_opening(targets[start : start + CHUNK], layout) for start in starts]
    missed = np.concatenate(openings) > max(WIDER * widest, FEWEST)
    if not missed.any():
        return references
    shapes = targets[choose_pool(missed, targets, layout, MADE)]
    return references.joined(opened(references, shapes.astype(np.float32), layout))


def opened(references: References, shapes: np.ndarray, layout: LandmarkLayout) -> References:
    """A reference for each of some shapes (P,N,2), canonical units: of the one that is nearest to it."""
    nearest = reference_distance(references, shapes, layout, ReferenceChoice(), None).argmin(1)
    lenders = references.take(nearest)
    lent, colours = interiors(layout.name), colours_of(lenders, layout)
    crops = [
        _opened(crop, landmarks, shape, layout, lent, colours)
        for crop, landmarks, shape in zip(lenders.crops, lenders.landmarks, shapes, strict=True)
    ]
    made = replace(lenders, crops=np.stack(crops), landmarks=shapes)
    if lenders.own is None:
        return made
    moves = [
        MeshWarp(triangulate(layout), shape, UNITS, SQUARE.pixels(UNITS)).coordinates(landmarks)
        for landmarks, shape in zip(lenders.landmarks, shapes, strict=True)
    ]
    return replace(made, seen=_moved(lenders.seen, moves), free=_moved(lenders.free, moves))


def colours_of(references: References, layout: LandmarkLayout) -> Colours:
    """The means of their colours over all references; of every one some of its lips must show."""
    small = references.resized(UNITS)
    found = []
    for crop, landmarks in zip(small.crops, small.landmarks, strict=True):
        parts, lips = luma_chroma(crop), lip_map(landmarks, layout, SQUARE)
        hull = cv2.convexHull(np.rint(landmarks).astype(np.int32))
        face = cv2.fillConvexPoly(np.zeros_like(lips), hull, 1) > 0
        found.append([np.median(parts[face], 0), np.median(parts[lips == LIPS], 0)])
    return Colours(*np.mean(found, axis=0))


def _opened(
    crop: np.ndarray,
    landmarks: np.ndarray,
    shape: np.ndarray,
    layout: LandmarkLayout,
    lent: Interiors,
    colours: Colours,
) -> np.ndarray:
    """A crop uint8 (S,S,3) with its mouth opened to a shape (N,2), and what is lent in it; it is warped only
    as far as mouths are read."""
    size, window = len(crop), mouth_mask(shape, shape, layout).window
    warp = MeshWarp(triangulate(layout), shape, size, window.pixels(size))
    picture = warp.warp(crop, landmarks)
    rings = [ring_pixels(ring, shape, window, size) for ring in (layout.lips_outer, layout.lips_inner)]
    alpha = interior_between(picture.shape[:2], rings, size / UNITS).alpha[..., None]
    mixed = picture + alpha * (lent.fill(warp, shape, layout, colours) - picture.astype(np.float32))
    whole = np.array(crop)
    window.cut(whole)[:] = np.rint(mixed)
    return whole


def _moved(parts: np.ndarray | None, moves: list[np.ndarray]) -> np.ndarray | None:
    """Which units of each warped crop are some bool (P,256,256) of the crop's; moves: where its units come
    from, (256,256,2) each."""
    if parts is None:
        return None
    lent = [lent_part(part, coordinates) for part, coordinates in zip(parts, moves, strict=True)]
    return np.stack([np.ones((UNITS, UNITS), bool) if part is None else part == 1 for part in lent])


def luma_chroma(picture: np.ndarray) -> np.ndarray:
    """A picture uint8 (h,w,3) as luma 0..255 and two chroma, 0 for grey: float32 (h,w,3)."""
    parts = cv2.cvtColor(picture, cv2.COLOR_RGB2YCrCb).astype(np.float32)
    parts[..., 1:] -= 128
    return parts


def _weakened(colour: np.ndarray, share: float) -> np.ndarray:
    """A share of the chroma of a colour (3,), no stronger than STRONGEST: (2,)."""
    return colour[1:] * min(share, STRONGEST / max(_saturation(colour), 1e-3))


def _saturation(colour: np.ndarray) -> float:
    """How far from grey a colour (3,) of `Colours` is, levels."""
    return float(np.linalg.norm(colour[1:]))
