"""The trained renderer: warped references, mixed and mended by the refiner."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from ..face.alignment import UNITS
from ..face.draw import landmark_image
from ..face.layout import LandmarkLayout
from ..face.packed import Rows
from .choosing import Choice
from .inputs import to_tensor
from .mask import MouthMask, Window, lip_map
from .matching import MatchedReferences
from .raster import Triangulation
from .references import References
from .refiner import MouthRefiner, Refinement, RefinerInputs, enlarged, mix
from .renderer import WarpRenderer, WarpSettings
from .warp import MeshWarp

CONTEXT_UNITS = 16  # skin around the mask that the refiner sees: it tells light and pose
CHOICE = Choice(references=8)


@dataclass(frozen=True)
class UnitView:
    """What the refiner reads of one frame, on the unit grid of `window`, as whole pictures.

    frame uint8 (h,w,3), its own lips still in it; mask float32 (h,w) in 0..1; contours uint8 (h,w,3);
    references uint8 (R,h,w,3), warped and matched in colour; stretch float32 (R,h,w), see `MeshWarp.stretch`;
    weights float32 (R,); lips uint8 (h,w), see `lip_map`.
    """

    window: Window
    frame: np.ndarray
    mask: np.ndarray
    contours: np.ndarray
    references: np.ndarray
    stretch: np.ndarray
    weights: np.ndarray
    lips: np.ndarray


def unit_view(
    crop: np.ndarray,
    target: np.ndarray,
    mask: MouthMask,
    references: References,
    matched: MatchedReferences,
    triangulation: Triangulation,
) -> UnitView:
    """See `UnitView`; crop uint8 (256,256,3) and references of that size, target (N,2) canonical units."""
    window, core = mask.window, mask.core
    view = Window(
        max(window.top, core.top - CONTEXT_UNITS),
        max(window.left, core.left - CONTEXT_UNITS),
        min(window.bottom, core.bottom + CONTEXT_UNITS),
        min(window.right, core.right + CONTEXT_UNITS),
    )
    warp = MeshWarp(triangulation, target, UNITS, view.pixels(UNITS), window.part(mask.mouth, view))
    pictures, stretch = [], []
    for reference, correction in zip(matched.chosen, matched.corrections, strict=True):
        landmarks = references.landmarks[reference]
        picture = warp.warp(references.crops[reference], landmarks).astype(np.float32)
        if correction is not None:
            picture += view.enlarge(window.part(correction, view), UNITS)
        pictures.append(picture)
        stretch.append(warp.stretch(landmarks))
    pictures = matched.filled(pictures, mask, view, UNITS)
    return UnitView(
        view,
        frame=view.cut(crop),
        mask=window.part(mask.lips, view),
        contours=view.cut(landmark_image(target, triangulation.layout, UNITS)),
        references=np.clip(np.rint(np.stack(pictures)), 0, 255).astype(np.uint8),
        stretch=np.stack(stretch),
        weights=matched.weights.astype(np.float32),
        lips=lip_map(target, triangulation.layout, view),
    )


def refiner_inputs(view: UnitView) -> RefinerInputs:
    """A batch of one; the frame's lips are blanked wherever anything is made anew."""
    mask = torch.from_numpy(np.ascontiguousarray(view.mask))[None, None]
    return RefinerInputs(
        frame=to_tensor(view.frame)[None] * (mask == 0),
        mask=mask,
        contours=to_tensor(view.contours)[None],
        references=to_tensor(view.references)[None],
        stretch=torch.from_numpy(view.stretch)[None, :, None],
        weights=torch.from_numpy(view.weights)[None],
        lips=torch.from_numpy(view.lips)[None, None],
    )


def crisp(refinement: Refinement, detail: float) -> Refinement:
    """Let fine structure lean on the reference with the largest weight; detail: 1 leaves it as it is."""
    fine = refinement.fine**detail
    return replace(refinement, fine=fine / fine.sum(1, keepdim=True))


class NetworkRenderer(WarpRenderer):
    """`WarpRenderer` whose references are mixed by a `MouthRefiner` instead of by fixed weights.

    refiner: on its device, in eval mode; dtype: what it computes in; all else as in `WarpRenderer`.
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
    ):
        super().__init__(references, targets, layout, shots, choice or CHOICE, settings)
        self.refiner, self.dtype = refiner, dtype
        self.parts_interior = not refiner.config.invents
        # One sample a unit is what the refiner reads; larger references are averaged down once.
        self.small = references.resized(UNITS)

    @torch.inference_mode()
    def _mix(
        self,
        pictures: list[np.ndarray],
        matched: MatchedReferences,
        crop: np.ndarray,
        target: np.ndarray,
        mask: MouthMask,
    ) -> np.ndarray:
        size, core = self.references.size, mask.core
        small = crop if size == UNITS else cv2.resize(crop, (UNITS, UNITS), interpolation=cv2.INTER_AREA)
        view = unit_view(small, target, mask, self.small, matched, self.triangulation)
        device = next(self.refiner.parameters()).device
        inputs = refiner_inputs(view)
        with torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32):
            refinement = self.refiner(RefinerInputs(**{k: v.to(device) for k, v in vars(inputs).items()}))
        top, left = core.top - view.window.top, core.left - view.window.left
        height, width = core.shape
        part = crisp(refinement, self.settings.detail)
        part = Refinement(
            **{k: v[..., top : top + height, left : left + width] for k, v in vars(part).items()}
        )
        warped = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2)[None] / 127.5 - 1
        scale = size / UNITS
        part = enlarged(part, (warped.shape[-2], warped.shape[-1]))
        mixed = mix(warped, part, self.settings.split * scale, scale)
        return ((mixed[0].permute(1, 2, 0) + 1) * 127.5).cpu().numpy()
