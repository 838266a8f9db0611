"""What is lent to a frame from the rest of its clip, as in use: what the refiner learns to mix.

For every chosen frame a few references are picked as the renderer would, from a pool without the frame's own
neighbourhood in time. Of that pool a regime, drawn at random, leaves what some sources have to offer: all, a
part, closed mouths only, nothing as open as the target, one frame, stretched mouths only. So fitting ones are
missing, as they are when new speech asks for a mouth that the source never made; where none that is left
shows teeth, an open mouth is lent to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mytalk_core.appearance.networks.refiner_inputs import UnitView, unit_view
from mytalk_core.appearance.references.matching import match_references
from mytalk_core.appearance.references.mouths import ReferenceMouths
from mytalk_core.appearance.references.open_mouths import with_open_mouths
from mytalk_core.appearance.references.plan import ReferenceChoice, plan_references
from mytalk_core.appearance.references.pool import choose_pool, even_sample
from mytalk_core.appearance.references.references import APART_S, References, mouth_opening, sharpness
from mytalk_core.appearance.square.mask import mouth_mask
from mytalk_core.appearance.square.raster import Triangulation, triangulate
from mytalk_core.appearance.square.warp import ReferenceWarps
from mytalk_core.appearance.warp_renderer import WarpSettings
from mytalk_core.face.layout import LandmarkLayout

from ..dataset.shards import ShardDataset

CHOICE = ReferenceChoice(references=8)  # a network that takes fewer sees the heaviest of them
THIN = (0.1, 0.6)  # share of the pool that is left when it is thinned out
# What is left of a pool, and how often.
REGIMES = {"full": 0.4, "thinned": 0.25, "closed": 0.1, "unopened": 0.1, "single": 0.1, "stretched": 0.05}
CLOSED = 2.0  # opening in units under which a mouth counts as closed
OPEN = 3.0  # from here on teeth show, most often
UNOPENED = 0.5  # share of the target's opening that no reference has in the regime "unopened"
STRETCHED = 0.8  # quantile of the mouths' widths from which on a mouth counts as stretched


@dataclass(frozen=True)
class MouthView:
    """A frame with its references; regime: a name of REGIMES; opening: of its mouth, units."""

    view: UnitView
    regime: str
    opening: float


@dataclass(frozen=True)
class Lender:
    """What a person's references, at times_s (K,), lend to frames of other moments."""

    references: References
    times_s: np.ndarray
    layout: LandmarkLayout
    triangulation: Triangulation

    def view(
        self,
        crop: np.ndarray,
        target: np.ndarray,
        time_s: float,
        shot: int,
        rng: np.random.Generator,
        regimes: Mapping[str, float],
    ) -> MouthView | None:
        """A frame's crop uint8 (S,S,3), of the references' size, with landmarks (N,2), canonical units, and
        what is lent to it from more than APART_S away, under one of the regimes, drawn by their shares, and
        open mouths where that is too little, as in use. None where nothing is.
        """
        apart = np.abs(self.times_s - time_s) > APART_S
        if not apart.any():
            return None
        fitting = self.references.take(apart)
        regime = str(rng.choice(list(regimes), p=list(regimes.values())))
        left = left_of(fitting, target, self.layout, regime, rng)
        if left is None:
            regime, left = "full", fitting
        left = with_open_mouths(left, target[None], self.layout)
        view = _view(crop, target, shot, left, self.layout, self.triangulation)
        return MouthView(view, regime, float(mouth_opening(target, self.layout)))


def clip_views(
    dataset: ShardDataset, row: dict[str, Any], count: int, rng: np.random.Generator
) -> Iterator[MouthView]:
    """Up to `count` frames of a sample, see `spread_frames`, each with the next after it, both lent to
    by the same draw; those without references apart in time, or without a next one, are left out.

    Raises ValueError if the dataset has no crops.
    """
    track = dataset.tensors(row, "track.safetensors")
    cropped = dataset.crop_frames(row)
    if len(cropped) == 0:
        raise ValueError(f"{row['key']} has no crops: prepare the dataset again without --no-crops")
    layout = LandmarkLayout.load(row["layout"])
    landmarks = track["landmarks"].astype(np.float32)
    usable = np.zeros(len(landmarks), bool)
    usable[cropped] = track["present"][cropped] > 0
    pool = choose_pool(usable, landmarks, layout)
    frames = np.flatnonzero(usable)
    frames = spread_frames(frames, mouth_opening(landmarks[frames], layout), count)
    crops = np.stack([dataset.crop(row, int(frame)) for frame in pool])
    shots = np.zeros(len(pool), np.int64)  # a sample is one shot
    references = References(crops, landmarks[pool], pool, sharpness(crops, landmarks[pool], layout), shots)
    lender = Lender(references, track["times_s"][pool], layout, triangulate(layout))
    for frame in frames[usable[np.minimum(frames + 1, len(usable) - 1)]]:
        seed = int(rng.integers(2**63))
        pair = [
            lender.view(
                dataset.crop(row, int(number)),
                landmarks[number],
                float(track["times_s"][number]),
                0,
                np.random.default_rng(seed),
                REGIMES,
            )
            for number in (frame, min(frame + 1, len(usable) - 1))
        ]
        known = [view for view in pair if view is not None]
        if len(known) == len(pair):
            yield from known


def spread_frames(frames: np.ndarray, openings: np.ndarray, count: int) -> np.ndarray:
    """Up to `count` of some frames (F,), increasing: half of them spread over time, half over the openings
    (F,) above the median, since open mouths are harder."""
    opened = frames[np.argsort(openings)][len(frames) // 2 :]
    return np.union1d(even_sample(frames, count // 2), even_sample(opened, count - count // 2))


def left_of(
    references: References,
    target: np.ndarray,
    layout: LandmarkLayout,
    regime: str,
    rng: np.random.Generator,
) -> References | None:
    """What a regime leaves of references for a target (N,2), canonical units; None where that is nothing.

    "unopened" leaves nothing to a target that is hardly open itself.
    """
    opening = mouth_opening(references.landmarks, layout)
    wanted = mouth_opening(target, layout)
    widths = np.ptp(references.landmarks[:, layout.lips_outer, 0], axis=1)
    kept = {
        "full": lambda: np.ones(len(opening), bool),
        "thinned": lambda: rng.random(len(opening)) < rng.uniform(*THIN),
        "closed": lambda: opening < CLOSED,
        "unopened": lambda: (opening < UNOPENED * wanted) & (wanted >= OPEN),
        "single": lambda: np.arange(len(opening)) == rng.integers(len(opening)),
        "stretched": lambda: widths >= np.quantile(widths, STRETCHED),
    }[regime]()
    return references.take(kept) if kept.any() else None


def _view(
    crop: np.ndarray,
    target: np.ndarray,
    shot: int,
    references: References,
    layout: LandmarkLayout,
    triangulation: Triangulation,
) -> UnitView:
    plan = plan_references(references, target[None], layout, CHOICE, np.array([shot]))
    chosen, weights = plan.indices[0], plan.weights[0]
    chosen, weights = chosen[chosen >= 0], weights[chosen >= 0]
    mask = mouth_mask(target, target, layout)
    warps = ReferenceWarps(triangulation, target, mask.window, references.landmarks[chosen])
    matched = match_references(references, chosen, weights, crop, mask, warps, WarpSettings().misfit)
    return unit_view(
        crop, target, mask, references, matched, warps, ReferenceMouths(references, layout), references.size
    )
