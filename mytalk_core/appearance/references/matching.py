"""The chosen references matched to one frame: their weights, and the colour each needs to fit in."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..colour import CELL, cells, on_ring, ring_corrections
from ..square.frame_edge import WHOLE, fill_unseen
from ..square.mask import MouthMask
from ..square.warp import ReferenceWarps, sample_units
from ..square.window import Window
from .references import References


@dataclass(frozen=True)
class MatchedReferences:
    """R references of one frame.

    chosen: int (R,) positions in the pool; weights: float64 (R,), sum 1; corrections: what to add to each
    once warped, float32 (h / 4, w / 4, 3) levels on the mask's window, or None where colours are left alone;
    lent: what each has seen once warped, float32 (h, w) 0..1 on the mask's window, None where all of it.
    """

    chosen: np.ndarray
    weights: np.ndarray
    corrections: list[np.ndarray | None]
    lent: list[np.ndarray | None]

    def filled(
        self, pictures: list[np.ndarray], mask: MouthMask, part: Window, size: int
    ) -> list[np.ndarray]:
        """The warped references float32 (h, w, 3), pixels of a part of the mask's window in a crop of `size`;
        what one has not seen comes from the others."""
        lent = [
            None if seen is None else part.enlarge(mask.window.part(seen, part), size) for seen in self.lent
        ]
        return fill_unseen(pictures, lent, self.weights)


def match_references(
    references: References,
    chosen: np.ndarray,
    weights: np.ndarray,
    crop: np.ndarray,
    mask: MouthMask,
    warps: ReferenceWarps,
    misfit: float,
    lent: list[np.ndarray | None] | None = None,
) -> MatchedReferences:
    """Match chosen references to a frame on the ring around the mouth.

    Args:
        weights: float (R,), sum above 0.
        crop: uint8 (S, S, 3), the frame; read outside the mask only, and at one sample a unit.
        warps: of the chosen references to the target, on the mask's window.
        misfit: levels of misfit on the ring at which a reference loses its weight to a better one.
        lent: see `MatchedReferences`; all of all where None.
    """
    lent = lent or [None] * len(chosen)
    around = cv2.resize(mask.window.cut(crop), mask.window.shape[::-1], interpolation=cv2.INTER_AREA)
    counts = on_ring(mask.ring)
    pairs = zip(chosen, warps.units, strict=True)
    warped = [read_cells(references.crops[one], units, counts) for one, units in pairs]
    rings = [mask.ring if part is None else mask.ring * (part > WHOLE) for part in lent]
    corrections, misfits = ring_corrections(cells(around), warped, rings)
    weights = weights.astype(np.float64) * np.exp(-(misfits - misfits.min()) / misfit)
    return MatchedReferences(chosen, weights / weights.sum(), list(corrections), lent)


def read_cells(crop: np.ndarray, units: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A warped crop's `cells` float32 (h, w, 3) where they count, bool (h, w), 0 elsewhere; units: float32
    (4 h, 4 w, 2), where each unit comes from."""
    height, width = counts.shape
    of_cells = units.reshape(height, CELL, width, CELL, 2).swapaxes(1, 2)[counts]
    read = sample_units(crop, of_cells.reshape(-1, CELL**2, 2))
    means = np.zeros((height, width, 3), np.float32)
    means[counts] = np.rint(read.mean(1, dtype=np.float32))
    return means
