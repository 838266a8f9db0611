"""What the refiner is trained on: frames of a clip and references from the rest of it, as in use.

For every chosen frame a few references are picked as the renderer would, from a pool without the frame's own
neighbourhood in time and, every other time, thinned out, so that fitting ones are missing, as they are when
new speech asks for a mouth that the source never made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from mytalk_core.appearance.choosing import plan_references
from mytalk_core.appearance.mask import mouth_mask
from mytalk_core.appearance.matching import match_references
from mytalk_core.appearance.network_renderer import CHOICE, UnitView, unit_view
from mytalk_core.appearance.raster import Triangulation, triangulate
from mytalk_core.appearance.references import APART_S, References, choose_pool, sharpness
from mytalk_core.appearance.refiner import RefinerInputs
from mytalk_core.appearance.renderer import WarpSettings
from mytalk_core.appearance.warp import MeshWarp
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.files import replacing

from ..dataset.shards import ShardDataset
from ..loop.order import DATA, Draws

PEOPLE, HELD = "people.json", 10
GRID = (128, 160)  # height and width of a sample in units: the mask and some skin around it
THIN = (0.1, 0.6)  # share of the pool that is left when it is thinned out
LOST = 0.1  # share of the references that augmentation takes away
STRETCH_STEPS = 40  # a stretch of -3..3 as int8


@dataclass(frozen=True)
class MouthSamples:
    """B samples: inputs, and the true pictures (B,3,H,W) in [-1,1]."""

    inputs: RefinerInputs
    truth: Tensor

    def to(self, device: torch.device | str) -> MouthSamples:
        """The samples on a device."""
        inputs = RefinerInputs(**{name: tensor.to(device) for name, tensor in vars(self.inputs).items()})
        return MouthSamples(inputs, self.truth.to(device))


@dataclass(frozen=True)
class CroppedTrack:
    """What `choose_pool` asks of a track: present bool (T,), canonical (T,N,2)."""

    present: np.ndarray
    canonical: np.ndarray


def clip_views(
    dataset: ShardDataset, row: dict[str, Any], count: int, rng: np.random.Generator
) -> Iterator[UnitView]:
    """Views of `count` frames spread over a sample; those without references apart in time are left out.

    Raises ValueError if the dataset has no crops.
    """
    track = dataset.tensors(row, "track.safetensors")
    cropped = dataset.crop_frames(row)
    if len(cropped) == 0:
        raise ValueError(f"{row['key']} has no crops: prepare the dataset again without --no-crops")
    layout = LandmarkLayout.load(row["layout"])
    triangulation = triangulate(layout)
    landmarks = track["landmarks"].astype(np.float32)
    usable = np.zeros(len(landmarks), bool)
    usable[cropped] = track["present"][cropped] > 0
    pool = choose_pool(CroppedTrack(usable, landmarks), layout)
    frames = np.flatnonzero(usable)
    frames = np.unique(frames[np.linspace(0, len(frames) - 1, count).round().astype(int)])
    crops = np.stack([dataset.crop(row, int(frame)) for frame in pool])
    shots = np.zeros(len(pool), np.int64)  # a sample is one shot
    references = References(crops, landmarks[pool], pool, sharpness(crops, landmarks[pool], layout), shots)
    for frame in frames:
        apart = np.abs(track["times_s"][pool] - track["times_s"][frame]) > APART_S
        if rng.random() < 0.5:
            apart &= rng.random(len(apart)) < rng.uniform(*THIN)
        if apart.any():
            crop = dataset.crop(row, int(frame))
            yield _view(crop, landmarks[frame], references.take(apart), layout, triangulation)


def _view(
    crop: np.ndarray,
    target: np.ndarray,
    references: References,
    layout: LandmarkLayout,
    triangulation: Triangulation,
) -> UnitView:
    plan = plan_references(references, target[None], layout, CHOICE)
    chosen, weights = plan.indices[0], plan.weights[0]
    chosen, weights = chosen[chosen >= 0], weights[chosen >= 0]
    mask = mouth_mask(target, target, layout)
    coarse = MeshWarp(triangulation, target, UNITS, mask.window.pixels(UNITS))
    matched = match_references(references, chosen, weights, crop, mask, coarse, WarpSettings().misfit)
    return unit_view(crop, target, mask, references, matched, triangulation)


def pack(views: list[UnitView], path: Path) -> None:
    """Write views, fitted to one grid and one number of references, as a safetensors file."""
    count = CHOICE.references
    stacked = {
        "frame": np.stack([_fit(view.frame) for view in views]),
        "mask": np.stack([_fit(np.rint(view.mask * 255).astype(np.uint8), 0) for view in views]),
        "contours": np.stack([_fit(view.contours, 0) for view in views]),
        "references": np.stack([_slots([_fit(p) for p in view.references], count) for view in views]),
        "stretch": np.stack(
            [_slots([_fit(_quantised(p), 0) for p in view.stretch], count) for view in views]
        ),
        "weights": np.stack([np.pad(v.weights[:count], (0, max(0, count - len(v.weights)))) for v in views]),
    }
    with replacing(path) as temporary:
        save_file({name: np.ascontiguousarray(values) for name, values in stacked.items()}, temporary)


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


def held_out(folder: Path, people: int = HELD) -> tuple[list[Path], list[Path]]:
    """Packed clips to train on, and those of `people` people kept from training, always the same.

    Raises FileNotFoundError if the folder has no packed clips.
    """
    if not (folder / PEOPLE).is_file():
        raise FileNotFoundError(
            f"{folder} has no {PEOPLE}: give a folder that mytalk_training.refiner.prepare wrote"
        )
    person_of = json.loads((folder / PEOPLE).read_text())
    order = np.random.default_rng(1).permutation(sorted(set(person_of.values())))
    held = set(order[:people])
    paths = [folder / f"{key}.safetensors" for key in sorted(person_of)]
    known = [path for path in paths if person_of[path.stem] not in held]
    return known, [path for path in paths if person_of[path.stem] in held]


class MouthDataset:
    """The samples of packed clips, read at random; opened files are kept, in each process its own."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.opened: dict[int, Any] = {}
        self.rows: list[tuple[int, int]] = []
        for number, path in enumerate(paths):
            with safe_open(path, "np") as file:
                rows = file.get_slice("weights").get_shape()[0]
            self.rows += [(number, row) for row in range(rows)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"opened": {}}

    def read(self, indices: list[int]) -> MouthSamples:
        """These samples as the network reads them."""
        samples = [self._read(*self.rows[index]) for index in indices]
        raw = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
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
            ),
            truth,
        )

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
    balance = (0.3 * draws.uniform(3, 1, 1) - 0.15).exp() * (0.8 + 0.4 * draws.uniform(1, 1, 1))
    power = (0.6 * draws.uniform(1, 1, 1) - 0.3).exp()
    grey = (draws.uniform(1, 1, 1) < 0.05).float()

    def recoloured(pictures: Tensor) -> Tensor:
        level = (pictures + 1).mul(0.5).clamp(0, 1).pow(power) * balance
        pictures = level.clamp(0, 1) * 2 - 1
        return pictures + grey * (pictures.mean(1, keepdim=True) - pictures)

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
        ),
        truth,
    )


def _pictures(rgb: Tensor) -> Tensor:
    """uint8 (...,H,W,3) -> float32 (...,3,H,W) in [-1,1]."""
    return rgb.movedim(-1, -3).float() / 127.5 - 1
