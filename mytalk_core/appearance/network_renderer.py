"""The trained renderer: warped references, mixed and mended by the refiner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from ..face.packed import Rows
from .blend import Mixing, recombined
from .networks.refinement import Refinement, drawn, enlarged
from .networks.refiner import MouthRefiner
from .networks.refiner_inputs import refiner_inputs, unit_view
from .on_device.batch import Batch, Lenders
from .on_device.lips import BatchMixing
from .on_device.matching import Matched
from .on_device.refining import BatchRefiner
from .references.matching import MatchedReferences
from .references.plan import ReferenceChoice
from .references.references import References
from .square.mask import MouthMask
from .square.warp import ReferenceWarps
from .square.window import Window
from .warp_renderer import WarpRenderer, WarpSettings


@dataclass(frozen=True)
class Refined:
    """One frame's maps, on the pixels of its core; split_px: see `mixed`; scale: pixels a unit."""

    refinement: Refinement
    split_px: float
    scale: float

    def moved(self, coordinates: np.ndarray, rank: int) -> np.ndarray:
        """See `Mixing.moved`."""
        return coordinates + np.float32(self.scale) * self.refinement.flow[0, rank].permute(1, 2, 0).numpy()

    def mixed(self, pictures: list[np.ndarray]) -> np.ndarray:
        """See `Mixing.mixed`."""
        maps, stack = self.refinement, torch.from_numpy(np.stack(pictures))
        coarse, fine = (
            (weights[0, ..., None] * stack).sum(0).numpy() for weights in (maps.coarse, maps.fine)
        )
        return recombined(coarse, fine, self.split_px) + 127.5 * maps.residual[0].permute(1, 2, 0).numpy()


class NetworkRenderer(WarpRenderer):
    """`WarpRenderer` whose references are mixed by a `MouthRefiner` instead of by fixed weights.

    refiner: in eval mode, on the device where all is worked on; dtype: what it computes in; all else as in
    `WarpRenderer`.
    """

    TEXTURE: ClassVar[float] = 0.35

    def __init__(
        self,
        refiner: MouthRefiner,
        references: References,
        targets: Rows,
        layout: LandmarkLayout,
        shots: np.ndarray | None = None,
        choice: ReferenceChoice | None = None,
        settings: WarpSettings | None = None,
        dtype: torch.dtype = torch.float32,
        light: np.ndarray | None = None,
    ):
        choice = choice or ReferenceChoice(refiner.config.references)
        super().__init__(references, targets, layout, shots, choice, settings, light=light)
        self.refiner, self.dtype = refiner, dtype
        # One sample a unit is what the refiner reads; larger references are averaged down once.
        self.small = references.resized(UNITS)
        self._small_lenders = Lenders(self.small)

    @property
    def device(self) -> torch.device:
        """Where the refiner is just now: whoever keeps it elsewhere brings it to draw."""
        return next(self.refiner.parameters()).device

    def mixing_batched(self, batch: Batch, matched: Matched, how: np.ndarray | None) -> BatchMixing:
        """See `WarpRenderer.mixing_batched`."""
        refiner = BatchRefiner(self.refiner, self.dtype, self._small_lenders, self.settings.detail)
        return refiner.mixing(batch, matched, how, self.split_px)

    @torch.inference_mode()
    def mixing(
        self,
        crop: np.ndarray,
        target: np.ndarray,
        mask: MouthMask,
        matched: MatchedReferences,
        warps: ReferenceWarps,
    ) -> Mixing:
        """See `WarpRenderer.mixing`."""
        size, core = self.references.size, mask.core
        view = unit_view(crop, target, mask, self.small, matched, warps, self.mouths)
        inputs = refiner_inputs(view)
        with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
            maps = drawn(self.refiner(inputs), self.settings.detail, inputs.lips)
        maps = Refinement(**{name: _cut(grids, view.window, core) for name, grids in vars(maps).items()})
        top, left, bottom, right = core.pixels(size)
        return Refined(
            enlarged(maps, (bottom - top, right - left)),
            self.split_px,
            size / UNITS,
        )


def _cut(grids: Tensor, window: Window, part: Window) -> Tensor:
    """A part of unit grids (...,h,w) of a window."""
    top, left = part.top - window.top, part.left - window.left
    return grids[..., top : top + part.shape[0], left : left + part.shape[1]]
