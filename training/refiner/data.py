"""What the refiner is trained on: frames of a clip and references from the rest of it, as in use.

For every chosen frame a few references are picked as the renderer would, from a pool without the frame's own
neighbourhood in time. Of that pool a regime, drawn at random, leaves what some sources have to offer: all, a
part, closed mouths only, nothing as open as the target, one frame, stretched mouths only. So fitting ones are
missing, as they are when new speech asks for a mouth that the source never made; where none that is left
shows teeth, an open mouth is lent to them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from mytalk_core.appearance.choosing import Choice, plan_references
from mytalk_core.appearance.mask import mouth_mask
from mytalk_core.appearance.matching import match_references
from mytalk_core.appearance.open_mouths import with_open_mouths
from mytalk_core.appearance.pool import choose_pool, even_sample
from mytalk_core.appearance.raster import Triangulation, triangulate
from mytalk_core.appearance.references import APART_S, References, mouth_opening, sharpness
from mytalk_core.appearance.refiner import RefinerInputs
from mytalk_core.appearance.renderer import WarpSettings
from mytalk_core.appearance.unit_view import UnitView, unit_view
from mytalk_core.appearance.warp import MeshWarp
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.files import replacing

from ..dataset.shards import ShardDataset
from ..loop.order import DATA, Draws

PEOPLE, HELD = "people.json", 0.06  # share of the people that are kept from training
CHOICE = Choice(references=8)  # a network that takes fewer sees the heaviest of them
GRID = (128, 160)  # height and width of a sample in units: the mask and some skin around it
THIN = (0.1, 0.6)  # share of the pool that is left when it is thinned out
LOST = 0.1  # share of the references that augmentation takes away
STRETCH_STEPS = 40  # a stretch of -3..3 as int8
# What is left of a pool, and how often.
REGIMES = {"full": 0.25, "thinned": 0.25, "closed": 0.15, "unopened": 0.15, "single": 0.12, "stretched": 0.08}
CLOSED = 2.0  # opening in units under which a mouth counts as closed
OPEN = 3.0  # from here on teeth show, most often
UNOPENED = 0.5  # share of the target's opening that no reference has in the regime "unopened"
STRETCHED = 0.8  # quantile of the mouths' widths from which on a mouth counts as stretched


@dataclass(frozen=True)
class MouthSamples:
    """B samples: inputs, and the true pictures (B,3,H,W) in [-1,1].

    regime int64 (B,): which of REGIMES the references are left from, by number; opening float32 (B,), of the
    mouth, units.
    """

    inputs: RefinerInputs
    truth: Tensor
    regime: Tensor
    opening: Tensor

    def to(self, device: torch.device | str) -> MouthSamples:
        """The samples on a device."""
        inputs = RefinerInputs(**{name: tensor.to(device) for name, tensor in vars(self.inputs).items()})
        rest = {name: tensor.to(device) for name, tensor in vars(self).items() if name != "inputs"}
        return MouthSamples(inputs, **rest)


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
        """A frame's crop uint8 (256,256,3) with landmarks (N,2), canonical units, and what is lent to it from
        more than APART_S away, under one of the regimes, drawn by their shares, and open mouths where that is
        too little, as in use. None where nothing is.
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
    """Up to `count` frames of a sample, see `spread_frames`; those without references apart in time are left
    out.

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
    for frame in frames:
        crop, time_s = dataset.crop(row, int(frame)), float(track["times_s"][frame])
        view = lender.view(crop, landmarks[frame], time_s, 0, rng, REGIMES)
        if view is not None:
            yield view


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
    coarse = MeshWarp(triangulation, target, UNITS, mask.window.pixels(UNITS))
    matched = match_references(references, chosen, weights, crop, mask, coarse, WarpSettings().misfit)
    return unit_view(crop, target, mask, references, matched, triangulation)


def pack(mouths: list[MouthView], path: Path) -> None:
    """Write frames, fitted to one grid and one number of references, as a safetensors file."""
    with replacing(path) as temporary:
        save_file(stacked(mouths), temporary)


def stacked(mouths: list[MouthView]) -> dict[str, np.ndarray]:
    """Frames fitted to one grid and one number of references, as arrays by name; see `samples_of`."""
    count, views = CHOICE.references, [mouth.view for mouth in mouths]
    numbers = list(REGIMES)
    arrays = {
        "frame": np.stack([_fit(view.frame) for view in views]),
        "mask": np.stack([_fit(np.rint(view.mask * 255).astype(np.uint8), 0) for view in views]),
        "contours": np.stack([_fit(view.contours, 0) for view in views]),
        "references": np.stack([_slots([_fit(p) for p in view.references], count) for view in views]),
        "stretch": np.stack(
            [_slots([_fit(_quantised(p), 0) for p in view.stretch], count) for view in views]
        ),
        "weights": np.stack([np.pad(v.weights[:count], (0, max(0, count - len(v.weights)))) for v in views]),
        "lips": np.stack([_fit(view.lips, 0) for view in views]),
        "regime": np.array([numbers.index(mouth.regime) for mouth in mouths]),
        "opening": np.array([mouth.opening for mouth in mouths], np.float32),
    }
    return {name: np.ascontiguousarray(values) for name, values in arrays.items()}


def samples_of(raw: dict[str, Tensor]) -> MouthSamples:
    """What `stacked` made of B frames, as the network reads it."""
    mask = raw["mask"][:, None].float() / 255
    truth = _pictures(raw["frame"])
    return MouthSamples(
        RefinerInputs(
            frame=truth * (mask == 0),
            mask=mask,
            contours=_pictures(raw["contours"]),
            references=_pictures(raw["references"]),
            stretch=raw["stretch"][:, :, None].float() / STRETCH_STEPS,
            weights=raw["weights"],
            lips=raw["lips"][:, None],
        ),
        truth,
        raw["regime"],
        raw["opening"],
    )


def _quantised(stretch: np.ndarray) -> np.ndarray:
    return np.rint(stretch * STRETCH_STEPS).astype(np.int8)


def _slots(pictures: list[np.ndarray], count: int) -> np.ndarray:
    """Exactly `count`: the last is repeated, with a weight of 0, where references are few."""
    return np.stack((pictures + pictures[-1:] * count)[:count])


def _fit(picture: np.ndarray, fill: int | None = None) -> np.ndarray:
    """The middle GRID of a picture (h,w,...), padded by its edge or by `fill`."""
    height, width = picture.shape[:2]
    short = [max(0, wanted - have) for wanted, have in zip(GRID, (height, width), strict=True)]
    top, left = short[0] // 2, short[1] // 2
    border = cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT
    picture = cv2.copyMakeBorder(
        picture, top, short[0] - top, left, short[1] - left, border, value=(fill or 0,) * 4
    )
    top, left = (picture.shape[0] - GRID[0]) // 2, (picture.shape[1] - GRID[1]) // 2
    return picture[top : top + GRID[0], left : left + GRID[1]]


def held_out(folder: Path, share: float = HELD) -> tuple[list[Path], list[Path]]:
    """Packed clips to train on, and those of a share of the people, who are kept from training.

    Who they are depends on their names only: more people may be added to the folder between two runs.
    Raises FileNotFoundError if the folder has no packed clips.
    """
    if not (folder / PEOPLE).is_file():
        raise FileNotFoundError(
            f"{folder} has no {PEOPLE}: give a folder that mytalk_training.refiner.prepare wrote"
        )
    person_of = json.loads((folder / PEOPLE).read_text())
    held = {person for person in person_of.values() if zlib.crc32(person.encode()) < share * 2**32}
    paths = [folder / f"{key}.safetensors" for key in sorted(person_of)]
    known = [path for path in paths if person_of[path.stem] not in held]
    return known, [path for path in paths if person_of[path.stem] in held]


class MouthDataset:
    """The samples of packed clips, read at random; opened files are kept, in each process its own."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.opened: dict[int, Any] = {}
        self.rows: list[tuple[int, int]] = []
        regimes, openings = [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
        for number, path in enumerate(paths):
            with safe_open(path, "np") as file:
                regimes.append(file.get_tensor("regime"))
                openings.append(file.get_tensor("opening"))
            self.rows += [(number, row) for row in range(len(regimes[-1]))]
        # Of each sample (S,): which of REGIMES it is of, by number, and the mouth's opening in units.
        self.regimes, self.openings = np.concatenate(regimes), np.concatenate(openings)

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"opened": {}}

    def read(self, indices: list[int]) -> MouthSamples:
        """These samples as the network reads them."""
        samples = [self._read(*self.rows[index]) for index in indices]
        return samples_of({name: torch.stack([sample[name] for sample in samples]) for name in samples[0]})

    def _read(self, number: int, row: int) -> dict[str, Tensor]:
        if number not in self.opened:
            self.opened[number] = safe_open(self.paths[number], "pt")
        file = self.opened[number]
        return {name: file.get_slice(name)[row] for name in file.keys()}  # noqa: SIM118

    def draw(self, samples: list[int], seed: int, vary: bool = True) -> MouthSamples:
        """What a seed gives these sample numbers, augmented where `vary`."""
        draws = Draws(seed, DATA, samples)
        indices = (draws.uniform() * len(self)).long().clamp(max=len(self) - 1).tolist()
        return augment(self.read(indices), draws) if vary else self.read(indices)


def augment(samples: MouthSamples, draws: Draws) -> MouthSamples:
    """Flip, change colours of all pictures alike, and lose references, at random."""
    inputs, count = samples.inputs, samples.inputs.weights.shape[1]
    recoloured = varied_colours(draws)
    flipped = draws.uniform(1, 1, 1) < 0.5

    def turned(pictures: Tensor) -> Tensor:
        flip = flipped.view(-1, *[1] * (pictures.dim() - 1))
        return torch.where(flip, pictures.flip(-1), pictures)

    kept = (draws.uniform(count) > LOST).float()
    kept[:, 0] = 1
    weights = inputs.weights * kept
    truth, mask = turned(recoloured(samples.truth)), turned(inputs.mask)
    references = torch.stack([recoloured(inputs.references[:, rank]) for rank in range(count)], dim=1)
    return MouthSamples(
        RefinerInputs(
            frame=truth * (mask == 0),
            mask=mask,
            contours=turned(inputs.contours),
            references=turned(references),
            stretch=turned(inputs.stretch),
            weights=weights / weights.sum(1, keepdim=True),
            lips=turned(inputs.lips),
        ),
        truth,
        samples.regime,
        samples.opening,
    )


def varied_colours(draws: Draws) -> Callable[[Tensor], Tensor]:
    """A change of brightness, tint and contrast for each of B samples; now and then it takes the colour away.

    It maps pictures (B,3,H,W) in [-1,1] to the same range, all alike.
    """
    balance = (0.3 * draws.uniform(3, 1, 1) - 0.15).exp() * (0.8 + 0.4 * draws.uniform(1, 1, 1))
    power = (0.6 * draws.uniform(1, 1, 1) - 0.3).exp()
    grey = (draws.uniform(1, 1, 1) < 0.05).float()

    def recoloured(pictures: Tensor) -> Tensor:
        level = (pictures + 1).mul(0.5).clamp(0, 1).pow(power) * balance
        pictures = level.clamp(0, 1) * 2 - 1
        return pictures + grey * (pictures.mean(1, keepdim=True) - pictures)

    return recoloured


def _pictures(rgb: Tensor) -> Tensor:
    """uint8 (...,H,W,3) -> float32 (...,3,H,W) in [-1,1]."""
    return rgb.movedim(-1, -3).float() / 127.5 - 1
