"""One person's own frames, which a refiner is adapted to: those to learn from, and those left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mytalk_core.appearance.covers.cover import FREE
from mytalk_core.appearance.covers.cover_detector import CoverDetector, free_references
from mytalk_core.appearance.references.pool import choose_pool
from mytalk_core.appearance.references.references import References, mouth_opening, sharpness
from mytalk_core.appearance.square.crop import crop_box, cut_crop
from mytalk_core.appearance.square.frame_edge import cut_lips
from mytalk_core.appearance.square.raster import triangulate
from mytalk_core.errors import NoFaceError
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.clip import Clip
from mytalk_core.pipeline.stages import Progress

from .data import MouthSamples, samples_of, stacked
from .lending import Lender, spread_frames

LEARNED, LEFT_OUT = 600, 32  # frames at most
# Of so many seconds one piece is left out; what is nearer to it than GUARD_S is not learned from either.
PERIOD_S, PIECE_S, GUARD_S = 8.0, 1.0, 0.3
FEWEST_S = 3.0  # of frames to learn from
FREE_SHARE = 0.25  # of the frames must have nothing before the mouth
TALKING_UNITS = 2.0  # how far apart the openings of a talking mouth are: the 95th percentile from the 5th
REGIMES = {"full": 0.6, "thinned": 0.4}


@dataclass(frozen=True)
class Frames:
    """F frames: crops uint8 (F,256,256,3), landmarks (F,N,2) canonical units, times_s (F,), shots (F,)."""

    crops: np.ndarray
    landmarks: np.ndarray
    times_s: np.ndarray
    shots: np.ndarray

    def __len__(self) -> int:
        return len(self.crops)

    def take(self, keep: np.ndarray) -> Frames:
        """The frames of those positions, or where a mask (F,) is true."""
        return Frames(*(part[keep] for part in vars(self).values()))


@dataclass(frozen=True)
class PersonFrames:
    """What the refiner learns of one person, and is judged by.

    lender: the references, none of them left out; learned, left_out: frames to rebuild from them.
    """

    lender: Lender
    learned: Frames
    left_out: Frames

    def samples(
        self, frames: Frames, chosen: np.ndarray, rng: np.random.Generator, regimes: dict[str, float]
    ) -> MouthSamples:
        """Frames at those positions (B,) with what is lent to them, as the network reads them."""
        views = [
            self.lender.view(
                frames.crops[row],
                frames.landmarks[row],
                float(frames.times_s[row]),
                int(frames.shots[row]),
                rng,
                regimes,
            )
            for row in chosen
        ]
        arrays = stacked([view for view in views if view is not None])
        return samples_of({name: torch.from_numpy(values) for name, values in arrays.items()})


def pieces(times_s: np.ndarray, at: float) -> np.ndarray:
    """Frames of a piece of every PERIOD_S, or of the whole where that is shorter: bool (T,).

    at: where in its period a piece has its middle, 0..1.
    """
    period_s = min(PERIOD_S, float(times_s[-1]) + 1e-6)
    return np.abs(times_s % period_s - at * period_s) < PIECE_S / 2


def near(times_s: np.ndarray, chosen: np.ndarray, reach_s: float) -> np.ndarray:
    """Which of T frames are no farther than reach_s from a chosen one, bool (T,) both."""
    if not chosen.any():
        return chosen
    found = times_s[chosen]
    after = np.searchsorted(found, times_s).clip(0, len(found) - 1)
    before = (after - 1).clip(0)
    distance = np.minimum(np.abs(found[after] - times_s), np.abs(found[before] - times_s))
    return distance <= reach_s


def read_person(
    clip: Clip, track: FaceTrack, apart: np.ndarray | None = None, progress: Progress | None = None
) -> PersonFrames:
    """Read a clip once for the frames that its face is rebuilt from.

    apart: bool (T,), frames that are neither learned from nor looked at, as somebody else measures by them.
    Raises NoFaceError where too few frames show a free mouth, ValueError where the mouth hardly moves.
    """
    layout, times_s = LandmarkLayout.load(track.layout), track.times_s
    usable = track.present & ~cut_lips(track, (clip.height, clip.width), layout)
    if apart is not None:
        usable &= ~near(times_s, apart, GUARD_S)
    held = usable & pieces(times_s, 0.75)
    known = usable & ~near(times_s, held, GUARD_S)
    _check_enough(track, known, held, layout)
    openings = np.zeros(len(track), np.float32)
    openings[usable] = mouth_opening(track.canonical[np.flatnonzero(usable)], layout)
    pool = choose_pool(track.present & known, track.canonical, layout)
    parts = [
        spread_frames(np.flatnonzero(part), openings[part], most)
        for part, most in ((known, LEARNED), (held, LEFT_OUT))
    ]
    read = np.unique(np.concatenate([pool, *parts]))
    frames = _read_frames(clip, track, read, progress)
    lent = frames.take(np.searchsorted(read, pool))
    detail = sharpness(lent.crops, lent.landmarks, layout)
    references = References(lent.crops, lent.landmarks, pool, detail, lent.shots)
    cover_detector = CoverDetector(references, layout, track.similarity[pool])
    references, _ = free_references(references, cover_detector, track.similarity[pool])
    lender = Lender(references, times_s[references.frame_index], layout, triangulate(layout))
    learned, left_out = (
        _free(frames.take(np.searchsorted(read, rows)), track.similarity[rows], cover_detector)
        for rows in parts
    )
    return PersonFrames(lender, learned, left_out)


def _free(frames: Frames, similarity: np.ndarray, cover_detector: CoverDetector) -> Frames:
    """Those before whose mouth nothing stands. Raises NoFaceError where they are few."""
    free = np.array(
        [
            cover_detector.cover(crop, points, place, shot=shot) is FREE
            for crop, points, place, shot in zip(
                frames.crops, frames.landmarks, similarity, frames.shots, strict=True
            )
        ]
    )
    if free.mean() < FREE_SHARE:
        raise NoFaceError(
            "a video that shows the mouth was required, but something lies before it in "
            f"{(~free).sum()} of {len(free)} frames that were looked at: give another part, with --start"
        )
    return frames.take(free)


def _read_frames(clip: Clip, track: FaceTrack, rows: np.ndarray, progress: Progress | None) -> Frames:
    crops = np.empty((len(rows), UNITS, UNITS, 3), np.uint8)
    for position, picture in enumerate(clip.pictures(rows)):
        similarity = track.similarity[rows[position]]
        box = crop_box(similarity, UNITS, picture.height, picture.width)
        crops[position] = cut_crop(picture.rgb_in(box), similarity, UNITS)
        if progress is not None:
            progress("pictures", position + 1, len(rows))
    landmarks = track.canonical[rows].astype(np.float32)
    return Frames(crops, landmarks, track.times_s[rows], track.shots[rows])


def _check_enough(track: FaceTrack, known: np.ndarray, held: np.ndarray, layout: LandmarkLayout) -> None:
    seconds = known.sum() * float(np.median(np.diff(track.times_s))) if len(track) > 1 else 0.0
    if seconds < FEWEST_S or not held.any():
        raise NoFaceError(
            f"a video with {FEWEST_S:g} s of the face to learn from, and some to check by, was required, but "
            f"{seconds:.1f} s and {held.sum()} frames are there: give one that shows the face for longer"
        )
    opening = mouth_opening(track.canonical[np.flatnonzero(known)], layout)
    low, high = np.quantile(opening, [0.05, 0.95])
    if high - low < TALKING_UNITS:
        raise ValueError(
            f"a video in which the person talks was required, but the mouth hardly moves: by "
            f"{high - low:.1f} units, where {TALKING_UNITS:g} were required; give one with speech"
        )
