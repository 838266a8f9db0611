"""The trained renderer: warped references, mixed and mended by the refiner."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from ..face.packed import Rows
from .blend import Mixing
from .choosing import Choice
from .mask import MouthMask
from .matching import MatchedReferences
from .on_device.batch import Batch, Lenders
from .on_device.lips import MixingTogether
from .on_device.matching import Matched
from .on_device.refining import Refining
from .references import References
from .refiner import MouthRefiner, Refinement, RefinerInputs, crisp, enlarged, mixed
from .renderer import WarpRenderer, WarpSettings
from .unit_view import refiner_inputs, unit_view
from .warp import ReferenceWarps, pixel_grid, read_pixels


@dataclass(frozen=True)
class Refined:
    """One frame's maps, on the pixels of its core, as what is made of its references; split_px: see `mixed`;
    scale: pixels a unit."""

    refinement: Refinement
    split_px: float
    scale: float

    def moved(self, coordinates: np.ndarray, rank: int) -> np.ndarray:
        """See `Mixing.moved`."""
        flow = self.refinement.flow[0, rank].permute(1, 2, 0).cpu().numpy()
        at = pixel_grid((0, 0, *coordinates.shape[:2])) + np.float32(self.scale) * flow
        return read_pixels(coordinates, at, cv2.INTER_LINEAR)

    @torch.inference_mode()
    def mixed(self, pictures: list[np.ndarray]) -> np.ndarray:
        """See `Mixing.mixed`."""
        maps = self.refinement
        stack = torch.from_numpy(np.stack(pictures)).to(maps.flow.device).permute(0, 3, 1, 2)
        made = mixed(stack[None] / 127.5 - 1, maps, self.split_px)
        return ((made[0].permute(1, 2, 0) + 1) * 127.5).cpu().numpy()


class NetworkRenderer(WarpRenderer):
    """`WarpRenderer` whose references are mixed by a `MouthRefiner` instead of by fixed weights.

    refiner: in eval mode, on the device where all is worked on; dtype: what it computes in; all else as in
    `WarpRenderer`.
    """

    def __init__(
        self,
        refiner: MouthRefiner,
        references: References,
        targets: Rows,
        layout: LandmarkLayout,
        shots: np.ndarray | None = None,
        choice: Choice | None = None,
        settings: WarpSettings | None = None,
        dtype: torch.dtype = torch.float32,
        light: np.ndarray | None = None,
    ):
        choice = choice or Choice(refiner.config.references)
        super().__init__(references, targets, layout, shots, choice, settings, light=light)
        self.refiner, self.dtype = refiner, dtype
        # One sample a unit is what the refiner reads; larger references are averaged down once.
        self.small = references.resized(UNITS)
        self._small_lenders = Lenders(self.small)

    @property
    def device(self) -> torch.device:
        """Where the refiner is just now: whoever keeps it elsewhere brings it to draw."""
        return next(self.refiner.parameters()).device

    def mixing_together(self, batch: Batch, matched: Matched) -> MixingTogether:
        """See `WarpRenderer.mixing_together`."""
        small, detail = self._small_lenders.on(batch.device), self.settings.detail
        refining = Refining(self.refiner, self.dtype, small, self.triangulation, detail)
        return refining.mixing(batch, matched, self.split_px)

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
        small = crop if size == UNITS else cv2.resize(crop, (UNITS, UNITS), interpolation=cv2.INTER_AREA)
        view = unit_view(small, target, mask, self.small, matched, warps)
        device = self.device
        inputs = refiner_inputs(view)
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            refinement = self.refiner(RefinerInputs(**{k: v.to(device) for k, v in vars(inputs).items()}))
        top, left = core.top - view.window.top, core.left - view.window.left
        height, width = core.shape
        part = crisp(refinement, self.settings.detail)
        part = Refinement(
            **{k: v[..., top : top + height, left : left + width] for k, v in vars(part).items()}
        )
        top, left, bottom, right = core.pixels(size)
        return Refined(enlarged(part, (bottom - top, right - left)), self.split_px, size / UNITS)
