"""What the refiner reads of a frame: its mouth and the skin around it, one sample a canonical unit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..face.alignment import UNITS
from ..face.draw import landmark_image
from .inputs import to_tensor
from .mask import MouthMask, Window, lip_map
from .matching import MatchedReferences
from .references import References
from .refiner import RefinerInputs
from .warp import ReferenceWarps, sample

CONTEXT_UNITS = 16  # skin around the mask that the refiner sees: it tells light and pose


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


def view_window(mask: MouthMask) -> Window:
    """What the refiner sees of a frame: the mask and the skin around it."""
    window, core = mask.window, mask.core
    return Window(
        max(window.top, core.top - CONTEXT_UNITS),
        max(window.left, core.left - CONTEXT_UNITS),
        min(window.bottom, core.bottom + CONTEXT_UNITS),
        min(window.right, core.right + CONTEXT_UNITS),
    )


def unit_view(
    crop: np.ndarray,
    target: np.ndarray,
    mask: MouthMask,
    references: References,
    matched: MatchedReferences,
    warps: ReferenceWarps,
) -> UnitView:
    """See `UnitView`; crop uint8 (256,256,3) and references of that size, target (N,2) canonical units;
    warps: of those that were matched."""
    window, view, layout = mask.window, view_window(mask), warps.coarse.triangulation.layout
    pictures = []
    trios = zip(matched.chosen, matched.corrections, warps.pixels(view, mask.mouth, UNITS), strict=True)
    for reference, correction, coordinates in trios:
        picture = sample(references.crops[reference], coordinates).astype(np.float32)
        if correction is not None:
            picture += view.enlarge(window.part(correction, view), UNITS)
        pictures.append(picture)
    pictures = matched.filled(pictures, mask, view, UNITS)
    return UnitView(
        view,
        frame=view.cut(crop),
        mask=window.part(mask.lips, view),
        contours=view.cut(landmark_image(target, layout, UNITS)),
        references=np.clip(np.rint(np.stack(pictures)), 0, 255).astype(np.uint8),
        stretch=warps.stretch(view),
        weights=matched.weights.astype(np.float32),
        lips=lip_map(target, layout, view),
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
