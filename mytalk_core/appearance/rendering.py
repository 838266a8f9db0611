"""What a renderer makes of a batch of frames, wherever it is: crops, and the patches that are pasted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from .composite import make_patch
from .covers.cover import Cover

if TYPE_CHECKING:
    from ..media.patch import Patch


class Rendering(Protocol):
    """B frames that were drawn."""

    @property
    def crops(self) -> np.ndarray:
        """Their crops, uint8 (B, S, S, 3)."""

    @property
    def alpha(self) -> np.ndarray:
        """How much of each pixel is new: float32 (B, S, S) in 0..1."""

    def patches(
        self, shape: tuple[int, int], similarity: np.ndarray, covers: Sequence[Cover], shares: Sequence[float]
    ) -> list[Patch | None]:
        """The part of each frame that its crop replaces, None where there is none; see `make_patch`.

        shape: the frames' (H, W) px; similarity: float (B, 2, 3), frame pixels to canonical units; covers:
        what stands before each mouth and stays on top; shares: 0..1, how much of what is new shows at all.
        """


@dataclass(frozen=True)
class ArrayRendering:
    """Crops and alpha in arrays: see `Rendering`."""

    crops: np.ndarray
    alpha: np.ndarray

    def patches(
        self, shape: tuple[int, int], similarity: np.ndarray, covers: Sequence[Cover], shares: Sequence[float]
    ) -> list[Patch | None]:
        """See `Rendering.patches`."""
        made = []
        for crop, alpha, to_units, cover, share in zip(
            self.crops, self.alpha, similarity, covers, shares, strict=True
        ):
            left = cover.left(alpha)
            made.append(make_patch(shape, crop, to_units, left if share == 1 else left * np.float32(share)))
        return made
