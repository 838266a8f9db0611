"""The trained renderer: warped references, mixed and mended by the refiner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from ..face.packed import Rows
from .blend import EVERYWHERE, Blend, Mixing, recombined
from .colour import cells
from .mask import MouthMask
from .matching import MatchedReferences
from .on_device.batch import Batch, Lenders
from .on_device.lips import BatchMixing
from .on_device.matching import Matched
from .on_device.refining import BatchRefiner
from .reference_plan import ReferenceChoice
from .references import References
from .refinement import TOWARDS, Refinement, drawn, enlarged, fading, plain_weights
from .refiner import MouthRefiner
from .texture_model import STEP, ExpectedTexture
from .unit_view import refiner_inputs, unit_view
from .warp import ReferenceWarps, pixel_grid, read_pixels
from .warp_renderer import WarpRenderer, WarpSettings
from .window import Window


@dataclass(frozen=True)
class Refined:
    """One frame's maps, on the pixels of what is mended of its core, and how the core is blended beyond.

    box: the rows and columns of what is mended, where all references are needed; blend: of those with a
    weight, which are needed everywhere; scale: pixels a unit; towards: see `Mixing`.
    """

    refinement: Refinement
    box: tuple[slice, slice]
    blend: Blend
    scale: float
    towards: np.ndarray

    def part(self, rank: int) -> tuple[slice, slice]:
        """See `Mixing.part`."""
        return EVERYWHERE if self.blend.weights[rank] > 0 else self.box

    def moved(self, coordinates: np.ndarray, rank: int) -> np.ndarray:
        """See `Mixing.moved`."""
        flow = self.refinement.flow[0, rank].permute(1, 2, 0).numpy()
        rows, columns = self.box
        at = pixel_grid((rows.start, columns.start, rows.stop, columns.stop)) + np.float32(self.scale) * flow
        mended = read_pixels(coordinates, at, cv2.INTER_LINEAR)
        if self.part(rank) == self.box:
            return mended
        moved = coordinates.copy()
        moved[self.box] = mended
        return moved

    def mixed(self, pictures: list[np.ndarray]) -> np.ndarray:
        """See `Mixing.mixed`."""
        maps, whole = self.refinement, self.blend.weights > 0
        mended = [
            picture[self.box] if all_of else picture for picture, all_of in zip(pictures, whole, strict=True)
        ]
        stack = torch.from_numpy(np.stack(mended))
        coarse, fine = (
            (weights[0, ..., None] * stack).sum(0).numpy() for weights in (maps.coarse, maps.fine)
        )
        if coarse.size < max(picture.size for picture in pictures):
            lips, (coarse, fine) = (coarse, fine), self.blend.means(pictures)
            coarse[self.box], fine[self.box] = lips
        picture = recombined(coarse, fine, self.blend.sigma)
        picture[self.box] += 127.5 * maps.residual[0].permute(1, 2, 0).numpy()
        return picture


class NetworkRenderer(WarpRenderer):
    """`WarpRenderer` whose references are mixed by a `MouthRefiner` instead of by fixed weights.

    refiner: in eval mode, on the device where all is worked on; dtype: what it computes in; all else as in
    `WarpRenderer`.
    """

    TEXTURE: ClassVar[float] = TOWARDS

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

    def mixing_batched(self, batch: Batch, matched: Matched) -> BatchMixing:
        """See `WarpRenderer.mixing_batched`."""
        detail = self.settings.detail
        refiner = BatchRefiner(self.refiner, self.dtype, self._small_lenders, self.triangulation, detail)
        return refiner.mixing(batch, matched, self.split_px)

    @torch.inference_mode()
    def mixing(
        self,
        crop: np.ndarray,
        target: np.ndarray,
        mask: MouthMask,
        matched: MatchedReferences,
        warps: ReferenceWarps,
        texture: ExpectedTexture | None,
    ) -> Mixing:
        """See `WarpRenderer.mixing`."""
        size, core = self.references.size, mask.core
        reach, detail = self.refiner.config.reach, self.settings.detail
        view = unit_view(crop, target, mask, self.small, matched, warps, texture, reach)
        inputs = refiner_inputs(view)
        with torch.autocast("cpu", self.dtype, enabled=self.dtype != torch.float32):
            maps = drawn(self.refiner(inputs), detail, inputs.lips)
        weights = inputs.weights
        if reach > 0:
            # What one reference has not seen comes from all others.
            weights = plain_weights(weights) if all(part is None for part in matched.lent) else weights
            maps = fading(maps, inputs.near, weights, detail)
        part = view.window.shared(core)
        maps = Refinement(**{name: _cut(grids, view.window, part) for name, grids in vars(maps).items()})
        (top, left, bottom, right), (above, before, _, _) = part.pixels(size), core.pixels(size)
        towards = np.full([side // STEP for side in core.shape], np.float32(self.TEXTURE))
        core.part(towards, part)[:] = cells(maps.towards[0, 0].numpy(), STEP)
        return Refined(
            enlarged(maps, (bottom - top, right - left)),
            (slice(top - above, bottom - above), slice(left - before, right - before)),
            Blend(weights[0].numpy(), detail, self.split_px),
            size / UNITS,
            towards,
        )


def _cut(grids: Tensor, window: Window, part: Window) -> Tensor:
    """A part of unit grids (...,h,w) of a window."""
    top, left = part.top - window.top, part.left - window.left
    return grids[..., top : top + part.shape[0], left : left + part.shape[1]]
