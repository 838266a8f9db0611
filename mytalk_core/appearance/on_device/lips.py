"""The lips of a batch: references warped to the targets, in the frames' colours; and how they are blended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout
from ..blend import CLEAR
from ..mouth import MouthInterior, interior_between, ring_pixels, seal
from ..networks.refinement import fine_weights
from ..references.references import mouth_opening
from ..square.reading import read_each_at
from ..square.window import Window
from .batch import Batch
from .matching import Matched
from .mouth import dark_interior
from .warp import MeshWarps, levels
from .windows import applied, blurring, on


class BatchMixing(Protocol):
    """`Mixing` of a batch."""

    def moved(self, coordinates: Tensor) -> Tensor:
        """Where the pixels of the cores come from in the references: float32 (B,R,2,h,w), given where the
        mesh says so."""
        ...

    def mixed(self, pictures: Tensor) -> Tensor:
        """The references' pictures (B,R,3,h,w), levels, as one of each frame: (B,3,h,w)."""
        ...


@dataclass(frozen=True, eq=False)
class BatchBlend:
    """`Blend` of a batch, weights (B,R), inner (B,1,h,w)."""

    batch: Batch
    weights: Tensor
    detail: float
    sigma: float
    inner: Tensor

    def moved(self, coordinates: Tensor) -> Tensor:
        """See `BatchMixing.moved`."""
        return coordinates

    def mixed(self, pictures: Tensor) -> Tensor:
        """See `BatchMixing.mixed`."""
        return blend(self.batch, pictures, self.weights, self.detail, self.sigma, self.inner)


def warped(
    batch: Batch, matched: Matched, how: np.ndarray | None, mixing: BatchMixing
) -> tuple[Tensor, Tensor | None]:
    """The references' pictures of each mouth, float32 (B,R,3,h,w) of the cores, and where it is dark between
    parted teeth, (B,1,h,w) 0..1; None where all teeth stay as they are.

    how: see `ReferenceMouths.partings`.
    """
    size, cores = batch.size, batch.cores
    coordinates = batch.reference_pixels(MeshWarps.of(batch.covers[1], cores, size), cores, size)
    coordinates, dark = batch.parted(coordinates, how, cores, size)
    pictures = levels(read_each_at(batch.lenders(), mixing.moved(coordinates)))
    if dark is not None:
        dark = (matched.weights[..., None, None] * dark).sum(1, keepdim=True)
    return matched.corrected(pictures, batch, cores, size), dark


def blend(
    batch: Batch, pictures: Tensor, weights: Tensor, detail: float, sigma: float, inner: Tensor
) -> Tensor:
    """See `blend` of one frame: pictures (B,R,3,h,w) of the cores and their weights (B,R), inner (B,1,h,w) ->
    (B,3,h,w)."""
    if detail == 1:
        return _weighted(pictures, _everywhere(weights))
    clear, most = (_everywhere(fine_weights(weights, power)) for power in (CLEAR, detail))
    mean = _weighted(pictures, torch.lerp(_everywhere(weights), clear, inner))
    crisp = _weighted(pictures, most)
    size, cores = batch.size, batch.cores
    soft = cores.matrices(lambda side: blurring(side * size // UNITS, sigma), cores.canvas(size))
    return crisp + applied(soft, mean - crisp)


def darken(
    batch: Batch, picture: Tensor, matched: Matched, darkness: Tensor | None, openings: np.ndarray
) -> Tensor:
    """Pictures (B,3,h,w) with what is dark between the lips, by `darkness`, see `warped`, or where lips
    nearly meet; openings: of all references, units."""
    if darkness is None:
        return picture
    layout, borrowed, size = batch.triangulation.layout, batch.borrowed, batch.size
    wanted = mouth_opening(np.stack(batch.targets), layout)
    own = on(openings[borrowed.chosen], batch.device)
    sealed = seal(on(wanted, batch.device), (matched.weights * own).sum(1))
    interiors = [
        _interior(target, layout, core, size)
        for target, core in zip(batch.targets, batch.cores.own, strict=True)
    ]
    amount = torch.maximum(darkness, sealed[:, None, None, None])
    return dark_interior(picture, interiors, amount, batch.cores, size)


def _interior(target: np.ndarray, layout: LandmarkLayout, core: Window, size: int) -> MouthInterior:
    """What is between the lips of landmarks (N,2), on the pixels of a core in a crop of `size`."""
    rings = [ring_pixels(ring, target, core, size) for ring in (layout.lips_outer, layout.lips_inner)]
    top, left, bottom, right = core.pixels(size)
    return interior_between((bottom - top, right - left), rings, size / UNITS)


def _everywhere(weights: Tensor) -> Tensor:
    """Weights (B,R) as maps (B,R,1,1)."""
    return weights[..., None, None]


def _weighted(pictures: Tensor, maps: Tensor) -> Tensor:
    """Pictures (B,R,3,h,w) by maps (B,R,h,w) or (B,R,1,1): (B,3,h,w)."""
    return (pictures * maps[:, :, None]).sum(1)
