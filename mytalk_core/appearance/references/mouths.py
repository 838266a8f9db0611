"""The mouths of a pool, and what becomes of their teeth in another mouth: see `mouth`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import partial

import numpy as np

from ...face.layout import LandmarkLayout
from ..mouth import Parting, hide_edges, part_interior, parting, ring_pixels, upper_teeth
from ..square.areas import slices_between
from ..square.warp import pixel_grid, read_map
from ..square.window import Window
from .references import References, mouth_opening


@dataclass(frozen=True)
class Parted:
    """Where a reference's pixels go once they are warped: in a part of a window, its rows and columns, each
    comes from `places` float32 (h', w', 2), indices (x, y) in the window; dark: float32 (h, w) of the window
    0..1, or one number, where the mouth is dark inside. See `part_interior` and `hide_edges`."""

    part: tuple[slice, slice]
    places: np.ndarray
    dark: np.ndarray | float

    def read(self, coordinates: np.ndarray) -> np.ndarray:
        """A warp float32 (h, w, 2) of the window with teeth where they go."""
        read = coordinates.copy()
        read[self.part] = read_map(coordinates, self.places)
        return read


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

    def parted(self, reference: int, target: np.ndarray, window: Window, size: int) -> Parted | None:
        """What becomes of a reference's teeth in a mouth with landmarks (N, 2), on the pixels of a window in
        crops of `size`; None where they stay."""
        how, layout = self.parting(target, reference), self.layout
        if how.apart == 1 and how.sealed == 0:
            return None
        top, left, bottom, right = window.pixels(size)
        places = pixel_grid((0, 0, bottom - top, right - left))
        dark: np.ndarray | float = 0.0
        if how.apart != 1:
            places, dark = part_interior(places, target, layout, window, size, how.apart, how.gap)
        if how.sealed > 0:
            places = hide_edges(places, target, layout, window, size, how.sealed)
        lips = ring_pixels(layout.lips_outer, target, window, size)
        part = slices_between(places.shape, lips.min(0) - 1, lips.max(0) + 1)
        return Parted(part, places[part], dark)

    def _upper_teeth(self, reference: int) -> tuple[bool, float]:
        if reference not in self._teeth:
            crop, landmarks = self.references.crops[reference], self.references.landmarks[reference]
            self._teeth[reference] = upper_teeth(crop, landmarks, self.layout)
        return self._teeth[reference]
