"""What the refiner is trained on: frames of a clip and references lent by the rest of it, as in use.

For every chosen frame a few references are picked as the renderer would, from a pool without the frame's own
neighbourhood in time and, every other time, thinned out, so that fitting ones are missing, as they are when
new speech asks for a mouth that the source never made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor
from torch.utils.data import Dataset

from mytalk_core.appearance.choosing import plan_references
from mytalk_core.appearance.crop import UNITS
from mytalk_core.appearance.lending import lend
from mytalk_core.appearance.mask import mouth_mask
from mytalk_core.appearance.network_renderer import CHOICE, UnitView, unit_view
from mytalk_core.appearance.raster import Triangulation, triangulate
from mytalk_core.appearance.references import References, choose_pool, read_references
from mytalk_core.appearance.refiner import RefinerInputs
from mytalk_core.appearance.renderer import WarpSettings
from mytalk_core.appearance.warp import MeshWarp
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.video import Clip

APART_S = 0.6
GRID = (128, 160)  # height and width of a sample in units: the mask and some skin around it
THIN = (0.1, 0.6)  # share of the pool that is left when it is thinned out
STRETCH_STEPS = 40  # a stretch of -3..3 as int8


@dataclass(frozen=True)
class MouthSamples:
    """B samples: inputs, and the true pictures (B,3,H,W) in [-1,1]."""

    inputs: RefinerInputs
    truth: Tensor


def clip_views(clip: Clip, track: FaceTrack, count: int, rng: np.random.Generator) -> Iterator[UnitView]:
    """Views of `count` frames spread over a clip; those without references apart in time are left out."""
    layout = LandmarkLayout.load(track.layout)
    triangulation = triangulate(layout)
    pool = read_references(clip, track, choose_pool(track, layout), UNITS, layout)
    present = np.flatnonzero(track.present)
    frames = np.unique(present[np.linspace(0, len(present) - 1, count).round().astype(int)])
    for start in range(0, len(frames), 64):
        chunk = frames[start : start + 64]
        cut = read_references(clip, track, chunk, UNITS, layout)
        for row, frame in enumerate(cut.frame_index):
            apart = np.abs(track.times_s[pool.frame_index] - track.times_s[frame]) > APART_S
            if rng.random() < 0.5:
                apart &= rng.random(len(apart)) < rng.uniform(*THIN)
            if apart.any():
                yield _view(cut.crops[row], cut.landmarks[row], pool.take(apart), layout, triangulation)


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
    loan = lend(references, chosen, weights, crop, mask, coarse, WarpSettings().misfit)
    return unit_view(crop, target, mask, references, loan, triangulation)


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
    temporary = path.with_suffix(".tmp")
    save_file({name: np.ascontiguousarray(values) for name, values in stacked.items()}, temporary)
    temporary.replace(path)


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


class MouthDataset(Dataset):
    """Packed views of a folder, read at random; sample `i` is a dict of uint8 / int8 / float32 tensors.

    Opened files are kept per process, so that it may be read by workers.
    """

    def __init__(self, paths: list[Path]):
        self.paths, self.opened = paths, {}
        self.places = []
        for number, path in enumerate(paths):
            with safe_open(path, "np") as file:
                rows = file.get_slice("weights").get_shape()[0]
            self.places += [(number, row) for row in range(rows)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        number, row = self.places[index]
        if number not in self.opened:
            self.opened[number] = safe_open(self.paths[number], "pt")
        file = self.opened[number]
        return {name: file.get_slice(name)[row] for name in file.keys()}  # noqa: SIM118


def collate(samples: list[dict[str, Tensor]]) -> MouthSamples:
    """Raw samples -> a batch as the network reads it."""
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


def augment(samples: MouthSamples, generator: torch.Generator) -> MouthSamples:
    """Flip, change colours of all alike and of each reference a little, and lose references, at random."""
    inputs, (batch, count) = samples.inputs, samples.inputs.weights.shape

    def uniform(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return torch.empty(shape).uniform_(low, high, generator=generator)

    gain = uniform(batch, 3, 1, 1, low=-0.15, high=0.15).exp() * uniform(batch, 1, 1, 1, low=0.8, high=1.2)
    power = uniform(batch, 1, 1, 1, low=-0.3, high=0.3).exp()
    grey = (uniform(batch, 1, 1, 1) < 0.05).float()

    def recolour(pictures: Tensor, gain: Tensor, power: Tensor) -> Tensor:
        level = (pictures + 1).mul(0.5).clamp(0, 1).pow(power) * gain
        return level.clamp(0, 1) * 2 - 1

    def recoloured(pictures: Tensor) -> Tensor:
        pictures = recolour(pictures, gain, power)
        return pictures + grey * (pictures.mean(1, keepdim=True) - pictures)

    truth = recoloured(samples.truth)
    lent = torch.stack([recoloured(inputs.references[:, k]) for k in range(count)], dim=1)
    own = uniform(batch, count, 3, 1, 1, low=-0.04, high=0.04).exp()
    lent = ((lent + 1) * own).clamp(0, 2) - 1
    kept = (uniform(batch, count) > 0.1).float()
    kept[:, 0] = 1
    weights = inputs.weights * kept
    weights = weights / weights.sum(1, keepdim=True)
    contours = inputs.contours
    changed = [truth, truth * (inputs.mask == 0), inputs.mask, contours, lent, inputs.stretch]
    if uniform(1).item() < 0.5:
        changed = [tensor.flip(-1) for tensor in changed]
    truth, frame, mask, contours, lent, stretch = changed
    return MouthSamples(RefinerInputs(frame, mask, contours, lent, stretch, weights), truth)


def _pictures(rgb: Tensor) -> Tensor:
    """uint8 (...,H,W,3) -> float32 (...,3,H,W) in [-1,1]."""
    return rgb.movedim(-1, -3).float() / 127.5 - 1
