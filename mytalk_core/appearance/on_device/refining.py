"""The refiner's work for a batch: see `NetworkRenderer`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...face.alignment import UNITS
from ...face.draw import landmark_image
from ..networks.refinement import Refinement, drawn, mixed
from ..networks.refiner import MouthRefiner, RefinerInputs
from ..networks.refiner_inputs import view_window
from ..square.mask import lip_map
from ..square.reading import read_each_at
from .batch import Batch, Lenders
from .matching import Matched
from .warp import MeshWarps, levels
from .windows import Windows, applied, enlarging, on, resizing


@dataclass(frozen=True, eq=False)
class BatchRefiner:
    """The refiner at work on a batch.

    refiner: on the batch's device, in eval mode; dtype: what it computes in; small: the pool in its size;
    detail: see `crisp`.
    """

    refiner: MouthRefiner
    dtype: torch.dtype
    small: Lenders
    detail: float

    def mixing(self, batch: Batch, matched: Matched, how: np.ndarray | None, split_px: float) -> BatchRefined:
        """How the references of a batch become pictures of its cores; how: see `ReferenceMouths.partings`;
        split_px: see `mixed`."""
        views = Windows([view_window(mask) for mask in batch.masks], batch.device)
        inputs = self._inputs(batch, matched, how, views)
        maps = self._maps(views, inputs)
        size, cores = batch.size, batch.cores
        enlarge = views.to_part(
            cores,
            lambda whole, start, length: enlarging(whole, start, length, length * size // UNITS),
            cores.canvas(size),
        )
        part = Refinement(**{name: applied(enlarge, grids) for name, grids in maps.items()})
        return BatchRefined(part, split_px, size / UNITS)

    def _inputs(
        self, batch: Batch, matched: Matched, how: np.ndarray | None, views: Windows
    ) -> RefinerInputs:
        """What the refiner reads of all frames, 0 beyond their own windows; see `UnitView`."""
        device = batch.device
        ones = views.packed([np.ones(window.shape, np.float32) for window in views.own], "constant")[:, None]
        mask = applied(batch.on_pixels(views, UNITS), batch.of_masks("lips")) * ones
        warp, maps = MeshWarps.of(batch.coarse_part(views), views, UNITS), batch.unit_maps[:, 1:]
        at, _ = batch.parted(batch.reference_pixels(warp, views, UNITS), how, views, UNITS)
        read = levels(read_each_at(batch.lenders(self.small), at))
        references = levels(matched.corrected(read, batch, views, UNITS))
        whole = on(resizing(batch.size, UNITS, cv2.INTER_AREA), device)[None]
        frame = views.cut(levels(applied((whole, whole), batch.crops)))
        layout, pairs = batch.triangulation.layout, list(zip(batch.targets, views.own, strict=True))
        contours = [window.cut(landmark_image(target, layout, UNITS)) for target, window in pairs]
        lips = [lip_map(target, layout, window) for target, window in pairs]
        return RefinerInputs(
            frame=(frame / 127.5 - 1) * (mask == 0) * ones,
            mask=mask,
            contours=(views.packed(contours).movedim(-1, 1) / 127.5 - 1) * ones,
            references=(references / 127.5 - 1) * ones[:, None],
            stretch=warp.stretch(maps)[:, :, None] * ones[:, None],
            weights=matched.weights,
            lips=views.packed(lips, "constant")[:, None],
        )

    def _maps(self, views: Windows, inputs: RefinerInputs) -> dict[str, Tensor]:
        """The refiner's maps (B,...,h,w) on the views, by their names in `Refinement`."""
        height, width = views.shape
        device, maps = inputs.mask.device, dict[str, Tensor]()
        for rows, shape in _alike(views, self.refiner.config.step):
            # cuDNN plans anew for every number of pictures: some are drawn twice, so that there are few.
            again = rows[-1:] * (2 ** (len(rows) - 1).bit_length() - len(rows))
            which = on(np.array(rows + again), device)
            parts = {name: value[which] for name, value in vars(inputs).items()}
            given = {name: _cut(part, shape) if part.ndim > 2 else part for name, part in parts.items()}
            with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
                some = RefinerInputs(**given)
                found = drawn(self.refiner(some), self.detail, some.lips)
            for name, grids in vars(found).items():
                if name not in maps:
                    maps[name] = grids.new_zeros(len(inputs.mask), *grids.shape[1:-2], height, width)
                maps[name][which] = _cut(grids, (height, width))
        return maps


@dataclass(frozen=True, eq=False)
class BatchRefined:
    """`Refined` of a batch, maps on the cores' pixels."""

    refinement: Refinement
    split_px: float
    scale: float

    def moved(self, coordinates: Tensor) -> Tensor:
        """See `BatchMixing.moved`."""
        return coordinates + self.scale * self.refinement.flow

    def mixed(self, pictures: Tensor) -> Tensor:
        """See `BatchMixing.mixed`."""
        return (mixed(pictures / 127.5 - 1, self.refinement, self.split_px) + 1) * 127.5


def _alike(views: Windows, step: int) -> list[tuple[list[int], tuple[int, int]]]:
    """The rows of the views that are of one size, and that size, a multiple of `step`: the refiner's norms
    look at the whole of a picture, so only these go through it together."""
    groups: dict[tuple[int, int], list[int]] = {}
    for row, (height, width) in enumerate(window.shape for window in views.own):
        groups.setdefault((height + -height % step, width + -width % step), []).append(row)
    return [(rows, shape) for shape, rows in groups.items()]


def _cut(grids: Tensor, shape: tuple[int, int]) -> Tensor:
    """The upper left part (...,h,w) of grids (...,H,W), 0 where it is larger."""
    height, width = shape
    return F.pad(grids, (0, width - grids.shape[-1], 0, height - grids.shape[-2]))
