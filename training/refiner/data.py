"""What the refiner is trained on: frames and what is lent to them, packed, read at random and varied."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from mytalk_core.appearance.networks.refiner import RefinerInputs, weighted_sum
from mytalk_core.appearance.square.mask import INNER
from mytalk_core.appearance.square.window import Window
from mytalk_core.face.alignment import UNITS
from mytalk_core.files import replacing

from ..loop.order import DATA, SCALE, SampleRandom
from ..loop.people import held_people
from .lending import CHOICE, REGIMES, MouthView

PEOPLE, HELD = "people.json", 0.06  # share of the people that are kept from training
GRID = (128, 160)  # height and width of a sample in units: the mask and some skin around it
MOUTH = (64, 96)  # of a window about the lips, see `windows`
ALIKE = 64  # samples after each other, at most, have one scale; a step has always
LOST = 0.1  # share of the references that augmentation takes away
STRETCH_STEPS = 40  # a stretch of -3..3 as int8


@dataclass(frozen=True)
class MouthSamples:
    """B samples: inputs on the unit grid (H,W), and what is mended and how it should be, S pixels a unit each
    way: references (B,R,3,S H,S W), truth (B,3,S H,S W), in [-1,1].

    regime int64 (B,): which of REGIMES the references are left from, by number; opening float32 (B,), of the
    mouth, units; corner int64 (B,2): top and left of the pictures in the crop, units.
    """

    inputs: RefinerInputs
    references: Tensor
    truth: Tensor
    regime: Tensor
    opening: Tensor
    corner: Tensor

    @property
    def scale(self) -> int:
        """S, pixels of a picture a unit."""
        return self.truth.shape[-1] // self.inputs.mask.shape[-1]

    @property
    def made(self) -> Tensor:
        """(B,1,S H,S W): see `RefinerInputs.made`."""
        return self.spread(self.inputs.made)

    @property
    def inner(self) -> Tensor:
        """(B,1,S H,S W): 1 between the lips, 0 elsewhere."""
        return self.spread((self.inputs.lips == INNER).float())

    @property
    def mixture(self) -> Tensor:
        """(B,3,S H,S W): what will be mended, as it is without a network."""
        return weighted_sum(self.inputs.weights, self.references)

    def heaviest(self, count: int) -> MouthSamples:
        """See `RefinerInputs.heaviest`."""
        if self.inputs.weights.shape[1] <= count:
            return self
        order = self.inputs.order(count)
        return replace(self, inputs=self.inputs.taken(order), references=self.references[order])

    def spread(self, maps: Tensor) -> Tensor:
        """Maps (B,C,H,W) on the pixels of the pictures, each value on S x S of them: (B,C,S H,S W)."""
        return maps if self.scale == 1 else F.interpolate(maps, scale_factor=self.scale, mode="nearest")

    def to(self, device: torch.device | str) -> MouthSamples:
        """The samples on a device."""
        inputs = RefinerInputs(**{name: tensor.to(device) for name, tensor in vars(self.inputs).items()})
        rest = {name: tensor.to(device) for name, tensor in vars(self).items() if name != "inputs"}
        return MouthSamples(inputs, **rest)


@dataclass(frozen=True)
class Variation:
    """What augmentation does to B samples: levels 0..1 become balance (B,3,1,1) * level ** power (B,1,1,1);
    colour is taken away where grey (B,1,1,1) is 1; left and right change where flipped (B,) is true;
    references are lost where kept (B,R) is 0."""

    balance: Tensor
    power: Tensor
    grey: Tensor
    flipped: Tensor
    kept: Tensor

    @classmethod
    def of(cls, draws: SampleRandom, references: int) -> Variation:
        """At random; the first of so many references is never lost."""
        kept = (draws.uniform(references) > LOST).float()
        kept[:, 0] = 1
        return cls(
            balance=(0.3 * draws.uniform(3, 1, 1) - 0.15).exp() * (0.8 + 0.4 * draws.uniform(1, 1, 1)),
            power=(0.6 * draws.uniform(1, 1, 1) - 0.3).exp(),
            grey=(draws.uniform(1, 1, 1) < 0.05).float(),
            flipped=draws.uniform() < 0.5,
            kept=kept,
        )

    def recoloured(self, pictures: Tensor) -> Tensor:
        """Pictures (B,3,H,W) in [-1,1] in the same range, all alike."""
        level = (pictures + 1).mul(0.5).clamp(0, 1).pow(self.power) * self.balance
        pictures = level.clamp(0, 1) * 2 - 1
        return pictures + self.grey * (pictures.mean(1, keepdim=True) - pictures)

    def turned(self, maps: Tensor) -> Tensor:
        """Maps (B,...,W), left and right changed."""
        return torch.where(self.flipped.view(-1, *[1] * (maps.dim() - 1)), maps.flip(-1), maps)


@dataclass(frozen=True)
class PackedMouths:
    """B samples as they are packed, see `stacked`, and what augmentation is to do to them; unpacked on the
    device where they are used, which is the faster, the more it is one."""

    packed: dict[str, Tensor]
    variation: Variation | None

    def pin_memory(self) -> PackedMouths:
        """The same in memory that a GPU reads by itself, for a DataLoader's."""
        return replace(self, packed={name: values.pin_memory() for name, values in self.packed.items()})

    def to(self, device: torch.device | str) -> MouthSamples:
        """The samples on a device, varied."""
        packed = {name: values.to(device, non_blocking=True) for name, values in self.packed.items()}
        samples = samples_of(packed)
        if self.variation is None:
            return samples
        parts = {name: values.to(device) for name, values in vars(self.variation).items()}
        return augment(samples, Variation(**parts))


def pack(mouths: list[MouthView], path: Path, clip: str = "") -> None:
    """Write frames, fitted to one grid and one number of references, as a safetensors file; clip: what tells
    the clip they are of from others of its name, see `packed_clip`."""
    with replacing(path) as temporary:
        save_file(stacked(mouths), temporary, {"clip": clip})


def packed_clip(path: Path) -> str:
    """What `pack` was told of the clip, "" where it was told nothing."""
    with safe_open(path, "np") as file:
        return (file.metadata() or {}).get("clip", "")


def stacked(mouths: list[MouthView]) -> dict[str, np.ndarray]:
    """Frames fitted to one grid and one number of references, as arrays by name; see `samples_of`."""
    count, views = CHOICE.references, [mouth.view for mouth in mouths]
    scale = views[0].frame.shape[0] // views[0].mask.shape[0]
    numbers = list(REGIMES)
    arrays = {
        "frame": np.stack([_fit(view.frame, scale=scale) for view in views]),
        "mask": np.stack([_fit(np.rint(view.mask * 255).astype(np.uint8), 0) for view in views]),
        "contours": np.stack([_fit(view.contours, 0) for view in views]),
        "references": np.stack(
            [_slots([_fit(p, scale=scale) for p in view.references], count) for view in views]
        ),
        "stretch": np.stack(
            [_slots([_fit(_quantised(p), 0) for p in view.stretch], count) for view in views]
        ),
        "weights": np.stack([np.pad(v.weights[:count], (0, max(0, count - len(v.weights)))) for v in views]),
        "lips": np.stack([_fit(view.lips, 0) for view in views]),
        "regime": np.array([numbers.index(mouth.regime) for mouth in mouths]),
        "opening": np.array([mouth.opening for mouth in mouths], np.float32),
        "corner": np.array([_corner(view.window) for view in views]),
    }
    return {name: np.ascontiguousarray(values) for name, values in arrays.items()}


def samples_of(raw: dict[str, Tensor]) -> MouthSamples:
    """What `stacked` made of B frames, as the network reads it."""
    mask = raw["mask"][:, None].float() / 255
    truth, references = _pictures(raw["frame"]), _pictures(raw["references"])
    return MouthSamples(
        RefinerInputs(
            frame=_in_units(truth, mask) * (mask == 0),
            mask=mask,
            contours=_pictures(raw["contours"]),
            references=_in_units(references, mask),
            stretch=raw["stretch"][:, :, None].float() / STRETCH_STEPS,
            weights=raw["weights"],
            lips=raw["lips"][:, None],
        ),
        references,
        truth,
        raw["regime"],
        raw["opening"],
        raw["corner"],
    )


def _quantised(stretch: np.ndarray) -> np.ndarray:
    return np.rint(stretch * STRETCH_STEPS).astype(np.int8)


def _slots(pictures: list[np.ndarray], count: int) -> np.ndarray:
    """Exactly `count`: the last is repeated, with a weight of 0, where references are few."""
    return np.stack((pictures + pictures[-1:] * count)[:count])


def _fit(picture: np.ndarray, fill: int | None = None, scale: int = 1) -> np.ndarray:
    """The middle GRID of a picture (S h,S w,...), padded by its edge or by `fill`: S times as many pixels."""
    height, width = (length // scale for length in picture.shape[:2])
    short = [max(0, wanted - have) for wanted, have in zip(GRID, (height, width), strict=True)]
    spare = [max(0, have - wanted) for wanted, have in zip(GRID, (height, width), strict=True)]
    border = cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT
    edges = [(scale * (each // 2), scale * (each - each // 2)) for each in short]
    picture = cv2.copyMakeBorder(picture, *edges[0], *edges[1], border, value=(fill or 0,) * 4)
    (top, left), (height, width) = (scale * (each // 2) for each in spare), (scale * each for each in GRID)
    return picture[top : top + height, left : left + width]


def _corner(window: Window) -> tuple[int, int]:
    """Top and left of what `_fit` leaves of a window."""
    spare = window.shape[0] - GRID[0], window.shape[1] - GRID[1]
    return window.top + spare[0] // 2, window.left + spare[1] // 2


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
    held = held_people(person_of.values(), share)
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
        scales = [np.zeros(0, np.int64)]
        for number, path in enumerate(paths):
            with safe_open(path, "np") as file:
                regimes.append(file.get_tensor("regime"))
                openings.append(file.get_tensor("opening"))
                (*_, pixels, _), (*_, units) = (
                    file.get_slice(name).get_shape() for name in ("frame", "mask")
                )
            scales.append(np.full(len(regimes[-1]), pixels // units))
            self.rows += [(number, row) for row in range(len(regimes[-1]))]
        # Of each sample (N,): which of REGIMES it is of, by number, the mouth's opening in units, and how
        # many pixels a unit its pictures have.
        self.regimes, self.openings = np.concatenate(regimes), np.concatenate(openings)
        self.scales = np.concatenate(scales)
        # Which pairs have pictures of each scale: the samples 2n and 2n + 1 are the pair n.
        self.pairs = [np.flatnonzero(self.scales[::2] == scale) for scale in np.unique(self.scales)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"opened": {}}

    def read(self, indices: list[int]) -> MouthSamples:
        """These samples, all of one scale, as the network reads them."""
        return PackedMouths(self._packed(indices), None).to("cpu")

    def batches(self, indices: np.ndarray, most: int) -> Iterator[list[int]]:
        """Samples in batches for `read`, in their order but one scale after the other."""
        for scale in np.unique(self.scales[indices]):
            alike = indices[self.scales[indices] == scale].tolist()
            for start in range(0, len(alike), most):
                yield alike[start : start + most]

    def _alike(self, share: float) -> np.ndarray:
        """The pairs of one scale: a number in 0..1 falls on each as often as there are pairs of it."""
        ends = np.cumsum([len(pairs) for pairs in self.pairs])
        return self.pairs[min(int(np.searchsorted(ends, share * ends[-1], "right")), len(ends) - 1)]

    def _packed(self, indices: list[int]) -> dict[str, Tensor]:
        samples = [self._read(*self.rows[index]) for index in indices]
        return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}

    def _read(self, number: int, row: int) -> dict[str, Tensor]:
        if number not in self.opened:
            self.opened[number] = safe_open(self.paths[number], "pt")
        file = self.opened[number]
        return {name: file.get_slice(name)[row] for name in file.keys()}  # noqa: SIM118

    def draw(self, samples: list[int], seed: int, step: int = 2, vary: bool = True) -> PackedMouths:
        """What a seed gives these sample numbers, all of one scale, augmented where `vary`: of every two, 2n
        and 2n + 1, a frame and the next, varied alike. step: samples of a step of training, however it is
        split."""
        draws = SampleRandom(seed, DATA, [sample // 2 for sample in samples])
        together = SampleRandom(seed, SCALE, [samples[0] // (step * max(1, ALIKE // step))])
        alike = self._alike(float(together.uniform()[0]))
        pairs = alike[(draws.uniform() * len(alike)).long().clamp(max=len(alike) - 1).numpy()].tolist()
        indices = [2 * pair + sample % 2 for pair, sample in zip(pairs, samples, strict=True)]
        variation = Variation.of(draws, CHOICE.references) if vary else None
        return PackedMouths(self._packed(indices), variation)


def augment(samples: MouthSamples, variation: Variation) -> MouthSamples:
    """Flip, change colours of all pictures alike, and lose references."""
    inputs, turned, recoloured = samples.inputs, variation.turned, variation.recoloured
    weights = inputs.weights * variation.kept
    truth, mask = turned(recoloured(samples.truth)), turned(inputs.mask)
    references = torch.stack([recoloured(pictures) for pictures in samples.references.unbind(1)], dim=1)
    references = turned(references)
    top, left = samples.corner.unbind(1)
    return MouthSamples(
        RefinerInputs(
            frame=_in_units(truth, mask) * (mask == 0),
            mask=mask,
            contours=turned(inputs.contours),
            references=_in_units(references, mask),
            stretch=turned(inputs.stretch),
            weights=weights / weights.sum(1, keepdim=True),
            lips=turned(inputs.lips),
        ),
        references,
        truth,
        samples.regime,
        samples.opening,
        torch.stack([top, torch.where(variation.flipped, UNITS - inputs.mask.shape[-1] - left, left)], dim=1),
    )


def _in_units(pictures: Tensor, mask: Tensor) -> Tensor:
    """Pictures (...,3,S H,S W) on the grid of a mask (B,1,H,W), averaged: (...,3,H,W)."""
    scale = pictures.shape[-1] // mask.shape[-1]
    if scale == 1:
        return pictures
    return F.avg_pool2d(pictures.flatten(0, -4), scale).unflatten(0, pictures.shape[:-3])


def _pictures(rgb: Tensor) -> Tensor:
    """uint8 (...,H,W,3) -> float32 (...,3,H,W) in [-1,1]."""
    return rgb.movedim(-1, -3).float() / 127.5 - 1
