"""What the refiner reads of a frame: its mouth and the skin around it, one sample a canonical unit."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from ...face.alignment import UNITS
from ...face.draw import landmark_image
from ..references.matching import MatchedReferences
from ..references.mouths import ReferenceMouths
from ..references.references import References
from ..square.mask import MouthMask, lip_map
from ..square.warp import ReferenceWarps, sample
from ..square.window import Window
from .picture_tensors import to_tensor
from .refiner import RefinerInputs

CONTEXT_UNITS = 16  # skin around the mask that the refiner sees: it tells light and pose


@dataclass(frozen=True)
class UnitView:
    """What the refiner reads of one frame, on the unit grid of `window`, as whole pictures.

    frame uint8 (h,w,3), its own lips still in it; mask float32 (h,w) in 0..1; contours uint8 (h,w,3);
    references uint8 (R,h,w,3), warped and matched in colour, both of more pixels a unit where that was asked
    for; stretch float32 (R,h,w), see `MeshWarp.stretch`;
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
    """What a refiner sees of a frame: the mask and the skin around it."""
    core, more = mask.core, CONTEXT_UNITS
    around = Window(core.top - more, core.left - more, core.bottom + more, core.right + more)
    return mask.window.shared(around)


def unit_view(
    crop: np.ndarray,
    target: np.ndarray,
    mask: MouthMask,
    references: References,
    matched: MatchedReferences,
    warps: ReferenceWarps,
    mouths: ReferenceMouths,
    size: int = UNITS,
) -> UnitView:
    """See `UnitView`; crop uint8 (S,S,3), references with crops of `size` pixels, target (N,2) canonical
    units; warps: of those that were matched; mouths: of the pool."""
    window, layout = mask.window, warps.coarse.triangulation.layout
    view = view_window(mask)
    pictures = []
    trios = zip(matched.chosen, matched.corrections, warps.pixels(view, mask.mouth, size), strict=True)
    for reference, correction, coordinates in trios:
        coordinates, _ = mouths.parted(coordinates, int(reference), target, view, size)
        picture = sample(references.crops[reference], coordinates).astype(np.float32)
        if correction is not None:
            picture += view.enlarge(window.part(correction, view), size)
        pictures.append(picture)
    pictures = matched.filled(pictures, mask, view, size)
    shape = pictures[0].shape[:2]
    return UnitView(
        view,
        frame=cv2.resize(view.cut(crop), shape[::-1], interpolation=cv2.INTER_AREA),
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
