"""A frame whose mouth can be drawn: all that is decided of it before its pixels are worked on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .mask import MouthMask
from .warp import ReferenceWarps


@dataclass(frozen=True, eq=False)
class Prepared:
    """A frame of a batch.

    row: in the batch; index: in the sequence; source, target: float (N, 2) canonical units; mask: of what is
    made anew; warps: those of its references to the target; lent: what each of them lends on the unit grid
    of the mask's window, see `lent_part`; inside: bool (256, 256), what of the crop lies inside the frame,
    None for all.
    """

    row: int
    index: int
    source: np.ndarray
    target: np.ndarray
    mask: MouthMask
    warps: ReferenceWarps
    lent: list[np.ndarray | None]
    inside: np.ndarray | None

    @property
    def moves(self) -> bool:
        """Whether any landmark is to move."""
        return bool(np.abs(self.source - self.target).max() >= 0.02)
