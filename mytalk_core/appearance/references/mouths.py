"""The mouths of a pool, and what becomes of their teeth in another mouth: see `mouth`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from functools import partial

import numpy as np

from ...face.layout import LandmarkLayout
from ..mouth import Parting, hide_edges, part_interior, parting, upper_teeth
from ..square.window import Window
from .references import References, mouth_opening


class ReferenceMouths:
    """openings: float (K,) of all references, units. Their teeth are looked for once, when they are asked
    for."""

    def __init__(self, references: References, layout: LandmarkLayout) -> None:
        self.references, self.layout = references, layout
        self.openings = mouth_opening(references.landmarks, layout)
        self._teeth: dict[int, tuple[bool, float]] = {}

    def parting(self, target: np.ndarray, reference: int) -> Parting:
        """What becomes of a reference's teeth in a mouth with landmarks (N, 2)."""
        opening, own = float(mouth_opening(target, self.layout)), float(self.openings[reference])
        return parting(opening, own, partial(self._upper_teeth, reference))

    def partings(self, targets: Sequence[np.ndarray], chosen: np.ndarray) -> np.ndarray | None:
        """Of B mouths with landmarks (N, 2) and the R references of each, positions (B, R): float (B, R, 3),
        the sealed, apart and gap of each `Parting`; None where all teeth stay."""
        pairs = zip(targets, chosen, strict=True)
        how = [[astuple(self.parting(target, int(one))) for one in own] for target, own in pairs]
        return np.array(how) if any(one != astuple(Parting()) for own in how for one in own) else None

    def parted(
        self, coordinates: np.ndarray, reference: int, target: np.ndarray, window: Window, size: int
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """A reference's warp (h, w, 2) of a window in crops of `size` with teeth of their own size, or none
        where lips meet, and where the mouth is dark inside, 0..1; see `part_interior` and `hide_edges`."""
        layout, how = self.layout, self.parting(target, reference)
        dark: np.ndarray | float = 0.0
        if how.apart != 1:
            coordinates, dark = part_interior(coordinates, target, layout, window, size, how.apart, how.gap)
        if how.sealed > 0:
            coordinates = hide_edges(coordinates, target, layout, window, size, how.sealed)
        return coordinates, dark

    def _upper_teeth(self, reference: int) -> tuple[bool, float]:
        if reference not in self._teeth:
            crop, landmarks = self.references.crops[reference], self.references.landmarks[reference]
            self._teeth[reference] = upper_teeth(crop, landmarks, self.layout)
        return self._teeth[reference]
