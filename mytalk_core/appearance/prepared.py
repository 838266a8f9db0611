"""A frame whose mouth can be drawn: all that is decided of it before its pixels are worked on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..face.layout import LandmarkLayout
from .fade import Fade
from .references.texture_model import ExpectedTexture
from .square.mask import MouthMask, lip_map
from .square.warp import ReferenceWarps


@dataclass(frozen=True, eq=False)
class PreparedFrame:
    """A frame of a batch.

    row: in the batch; index: in the sequence; source, target: float (N, 2) canonical units; mask: of what is
    made anew, whether a reference has seen it or not; warps: those of its references to the target; inside:
    bool (256, 256), what of the crop lies inside the frame, None for all; texture: what new lips are drawn
    towards, None for nothing; blur: float (2,), by what variance along x and y they are to be blurred,
    canonical units squared, see `UsualFocus.missing`; fade: how the frame has faded beside its references,
    and new lips are to; least: float32 (3,), levels, than which they are no darker before they do.
    """

    row: int
    index: int
    source: np.ndarray
    target: np.ndarray
    mask: MouthMask
    warps: ReferenceWarps
    inside: np.ndarray | None
    texture: ExpectedTexture | None
    blur: np.ndarray
    fade: Fade
    least: np.ndarray

    def lips(self, layout: LandmarkLayout) -> np.ndarray:
        """Where the lips are, old or new, inside the frame: bool (h, w) on the mask's window."""
        window = self.mask.window
        old, new = (lip_map(own, layout, window) > 0 for own in (self.source, self.target))
        lips: np.ndarray = old | new
        return lips if self.inside is None else lips & window.cut(self.inside)

    @property
    def moves(self) -> bool:
        """Whether any landmark is to move."""
        return bool(np.abs(self.source - self.target).max() >= 0.02)
