"""Renderers make a crop whose lips follow given landmarks; `WarpRenderer` does it without a network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from ..face.packed import Rows
from .blend import SPLIT, blend
from .choosing import Choice, ReferencePlan, plan_references
from .frame_edge import depth_units, lent_part, slowed_at_edge
from .mask import FEATHER, MouthMask, lip_map, mouth_mask
from .matching import MatchedReferences, match_references
from .mouth import STRETCH, dark_interior, hide_edges, part_interior, seal, stretch_factor, teeth_end
from .raster import triangulate
from .references import References, mouth_opening
from .warp import MeshWarp, pixel_grid, sample

BLEND_UNITS = 9
FOLD_UNITS = 2.5
UNKNOWN = 0.02  # share of the lips that no reference has seen from which on the frame stays


@dataclass(frozen=True)
class Rendering:
    """B crops uint8 (B, S, S, 3) and how much of each pixel is new, alpha float32 (B, S, S) in 0..1."""

    crops: np.ndarray
    alpha: np.ndarray


class Renderer(Protocol):
    """What the pipeline asks of every renderer, trained or not."""

    def render(
        self,
        crops: np.ndarray,
        source_landmarks: np.ndarray,
        target_landmarks: np.ndarray,
        frame_index: np.ndarray,
        seen: np.ndarray | None = None,
    ) -> Rendering:
        """Crops uint8 (B, S, S, 3) with the lips of the target; alpha is 0 where no reference has seen what
        would be needed.

        Args:
            crops: uint8 (B, S, S, 3), the frames' canonical squares.
            source_landmarks, target_landmarks: float (B, N, 2) canonical units: the frames' own and the
            wanted ones.
            frame_index: int (B,), position in the sequence the renderer was made for.
            seen: bool (B, 256, 256), which units of the crops lie inside the frame; all where None.
        """
        ...


@dataclass(frozen=True)
class WarpSettings:
    """Looks of the training-free renderer."""

    detail: float = 8.0  # see blend.blend
    split: float = SPLIT  # units
    misfit: float = 3.0  # levels of misfit on the ring at which a reference loses its weight to a better one
    colour_match: bool = True
    feather: float = FEATHER  # units over which the new lips fade into the frame
    check_visibility: bool = True  # what stands before the mouth stays on top: needs own references

    def __post_init__(self) -> None:
        if not 0 < self.feather < UNITS:
            raise ValueError(
                f"a feather of more than 0 units and under {UNITS} is needed, got {self.feather}"
            )
        if not all(0 <= value < np.inf for value in (self.detail, self.split, self.misfit)):
            raise ValueError(f"detail, split and misfit must be finite and not below 0; got {self}")


class WarpRenderer:
    """References of the person, warped to the target's landmarks, matched in colour and blended.

    Args:
        references: the pool.
        targets: float (T, N, 2), the landmarks of the whole sequence, for a steady choice of references.
        layout: their layout.
        shots: int (T,) or None.
    """

    # Whether teeth are kept from being stretched; a network that invents mouths sees to it by itself.
    parts_interior = True

    def __init__(
        self,
        references: References,
        targets: Rows,
        layout: LandmarkLayout,
        shots: np.ndarray | None = None,
        choice: Choice | None = None,
        settings: WarpSettings | None = None,
    ):
        self.references, self.layout = references, layout
        self.settings = settings or WarpSettings()
        self.plan: ReferencePlan = plan_references(references, targets, layout, choice, shots)
        self.triangulation = triangulate(layout)
        self.openings = mouth_opening(references.landmarks, layout)

    def render(
        self,
        crops: np.ndarray,
        source_landmarks: np.ndarray,
        target_landmarks: np.ndarray,
        frame_index: np.ndarray,
        seen: np.ndarray | None = None,
    ) -> Rendering:
        """See `Renderer.render`; ValueError if the crops' size is not the references'."""
        size = self.references.size
        if crops.shape[1:3] != (size, size):
            raise ValueError(
                f"crops of the references' size {size} are needed, got {crops.shape[1:3]}; cut both alike"
            )
        rendered = np.array(crops)
        alpha = np.zeros(crops.shape[:3], np.float32)
        for batch, index in enumerate(frame_index):
            source, target = source_landmarks[batch], target_landmarks[batch]
            inside = None if seen is None else seen[batch]
            mask = mouth_mask(source, target, self.layout, self.settings.feather)
            coarse = self._coarse(target, mask)
            lent = self._lent(int(index), coarse)
            known = lent if self.references.free is None else self._seen(int(index), coarse)
            shown = self._shown(source, target, mask, known, inside)
            if shown is None:
                continue
            mask = shown
            moved = self._move_surroundings(rendered[batch], source, target, mask, coarse, inside)
            lips = self.lips(rendered[batch], target, int(index), mask, coarse, lent)
            lips_mask = mask.core.enlarge(mask.window.part(mask.lips, mask.core), size)
            mask.window.cut(alpha[batch])[:] = mask.window.enlarge(np.maximum(mask.lips, moved), size)
            # Undivided by alpha, compositing would feather the lips twice.
            ratio = np.minimum(lips_mask / np.maximum(mask.core.cut(alpha[batch]), 1e-6), 1)
            mixed = mask.core.cut(rendered[batch])
            lips -= mixed
            # NumPy would repeat one number over three colours, ten times as slowly.
            lips *= cv2.merge([ratio] * 3)
            lips += mixed
            mixed[:] = np.rint(lips, out=lips).clip(0, 255, out=lips)
        return Rendering(rendered, alpha)

    def _coarse(self, target: np.ndarray, mask: MouthMask) -> MeshWarp:
        return MeshWarp(self.triangulation, target, UNITS, mask.window.pixels(UNITS))

    def _lent(self, index: int, coarse: MeshWarp) -> list[np.ndarray | None]:
        """What of each reference of a frame lends, on the unit grid of its mask's window: see `lent_part`."""
        return self._warped(self.references.own, index, coarse)

    def _seen(self, index: int, coarse: MeshWarp) -> list[np.ndarray | None]:
        """What of each lay inside its frame, behind something or not."""
        return self._warped(self.references.seen, index, coarse)

    def _warped(self, parts: np.ndarray | None, index: int, coarse: MeshWarp) -> list[np.ndarray | None]:
        chosen, landmarks = self._chosen(index)[0], self.references.landmarks
        if parts is None:
            return [None] * len(chosen)
        return [
            None if parts[one].all() else lent_part(parts[one], coarse.coordinates(landmarks[one]))
            for one in chosen
        ]

    def _shown(
        self,
        source: np.ndarray,
        target: np.ndarray,
        mask: MouthMask,
        seen: list[np.ndarray | None],
        inside: np.ndarray | None,
    ) -> MouthMask | None:
        """The mask without what no reference has seen; None where that is a part of the lips, old or new."""
        if inside is not None:
            mask = replace(mask, ring=mask.ring * mask.window.cut(inside))
        parts = [part for part in seen if part is not None]
        if len(parts) < len(seen):
            return mask
        known = np.max(parts, axis=0)
        lips = np.maximum(*(lip_map(points, self.layout, mask.window) > 0 for points in (source, target)))
        if inside is not None:
            lips &= mask.window.cut(inside)
        if (known[lips] < 0.5).sum() > UNKNOWN * lips.sum():
            return None
        return replace(mask, lips=mask.lips * known)

    def _chosen(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The references of a frame, positions in the pool, and their weights: (R,) each."""
        chosen, weights = self.plan.indices[index], self.plan.weights[index]
        return chosen[chosen >= 0], weights[chosen >= 0]

    def lips(
        self,
        crop: np.ndarray,
        target: np.ndarray,
        index: int,
        mask: MouthMask,
        coarse: MeshWarp | None = None,
        lent: list[np.ndarray | None] | None = None,
    ) -> np.ndarray:
        """The references' picture of the mouth: float32 (h, w, 3) of mask.core, for where mask.lips > 0.

        Of the frame's crop uint8 (S, S, 3) only the ring outside the mask is read, and that at one sample a
        unit: colour needs no more. `coarse`, the warp on the unit grid, and `lent`, what each reference
        lends of it, are made where None.
        """
        size, core = self.references.size, mask.core
        coarse = coarse or self._coarse(target, mask)
        matched = self._match(crop, index, mask, coarse, lent or self._lent(index, coarse))
        exact = core.enlarge(mask.window.part(mask.mouth, core), size)
        fine = MeshWarp(self.triangulation, target, size, core.pixels(size), exact)
        pictures, dark = [], []
        for reference, correction in zip(matched.chosen, matched.corrections, strict=True):
            picture, landmarks = self.references.crops[reference], self.references.landmarks[reference]
            coordinates, parted = self._parted(fine.coordinates(landmarks), int(reference), target, mask)
            dark.append(parted)
            warped = sample(picture, coordinates).astype(np.float32)
            if correction is not None:
                warped += core.enlarge(mask.window.part(correction, core), size)
            pictures.append(warped)
        pictures = matched.filled(pictures, mask, core, size)
        picture = self._mix(pictures, matched, crop, target, mask)
        amount = self._dark(matched, target, dark)
        if np.max(amount) > 0:
            picture = dark_interior(picture, target, self.layout, core, size, amount)
        return np.clip(picture, 0, 255)

    def _match(
        self,
        crop: np.ndarray,
        index: int,
        mask: MouthMask,
        coarse: MeshWarp,
        lent: list[np.ndarray | None],
    ) -> MatchedReferences:
        chosen, weights = self._chosen(index)
        if not self.settings.colour_match:
            return MatchedReferences(chosen, weights / weights.sum(), [None] * len(chosen), lent)
        misfit = self.settings.misfit
        return match_references(self.references, chosen, weights, crop, mask, coarse, misfit, lent)

    def _mix(
        self,
        pictures: list[np.ndarray],
        matched: MatchedReferences,
        crop: np.ndarray,
        target: np.ndarray,
        mask: MouthMask,
    ) -> np.ndarray:
        """One picture (h, w, 3) of mask.core from the references' float32 ones."""
        split = self.settings.split * self.references.size / UNITS
        return blend(pictures, matched.weights, self.settings.detail, split)

    def _parted(
        self, coordinates: np.ndarray, reference: int, target: np.ndarray, mask: MouthMask
    ) -> tuple[np.ndarray, np.ndarray | float]:
        """A reference's warp (h, w, 2) of mask.core with teeth of their own size, or none where lips meet,
        and where the mouth is dark inside, 0..1; see `part_interior` and `hide_edges`."""
        opening, own = float(mouth_opening(target, self.layout)), float(self.openings[reference])
        if not self.parts_interior:
            return coordinates, 0.0
        layout, core, size = self.layout, mask.core, self.references.size
        sealed = seal(opening, np.array([own]), np.ones(1))
        if sealed > 0:
            return hide_edges(coordinates, target, layout, core, size, sealed), 0.0
        factor = stretch_factor(opening, own)
        if factor <= STRETCH:
            return coordinates, 0.0
        gap = teeth_end(self.references.crops[reference], self.references.landmarks[reference], layout)
        return part_interior(coordinates, target, layout, core, size, factor, gap)

    def _dark(
        self, matched: MatchedReferences, target: np.ndarray, dark: list[np.ndarray | float]
    ) -> np.ndarray | float:
        """How much of the mouth's interior is plainly dark, 0..1, everywhere or (h, w) of mask.core."""
        if not self.parts_interior:
            return 0.0
        opening = float(mouth_opening(target, self.layout))
        sealed = seal(opening, self.openings[matched.chosen], matched.weights)
        parted = sum(weight * part for weight, part in zip(matched.weights, dark, strict=True))
        return np.maximum(parted, sealed)

    def _move_surroundings(
        self,
        crop: np.ndarray,
        source: np.ndarray,
        target: np.ndarray,
        mask: MouthMask,
        coarse: MeshWarp,
        inside: np.ndarray | None,
    ) -> np.ndarray:
        """Let neck and cheeks follow the jaw in a crop uint8 (S, S, 3), in place; where, (h, w) 0..1 by unit.

        Without it a jaw that closes would leave the old chin standing below the new one. What lies beyond
        the new jaw is the frame's own neck and background, stretched, never a reference's. inside: bool
        (256, 256), the part of the crop inside the frame, at whose edge nothing moves; all where None.
        """
        if np.abs(source - target).max() < 0.02:
            return np.zeros(mask.window.shape, np.float32)
        # On the unit grid and blurred: a fold of the mesh, as between lips and nose, must not tear the skin.
        shift = (coarse.coordinates(source) - coarse.pixels()) * mask.reach[..., None]
        shift = cv2.GaussianBlur(shift, (0, 0), FOLD_UNITS)
        if inside is not None:
            shift = slowed_at_edge(shift, mask.window.cut(depth_units(inside)))
        # Half a unit of movement is a full replacement; blurred, for a mask without teeth of its own.
        moved = np.clip((np.hypot(shift[..., 0], shift[..., 1]) - 0.1) / 0.4, 0, 1)
        moved = cv2.blur(moved, (BLEND_UNITS, BLEND_UNITS)) * np.minimum(1, 4 * mask.reach)
        size = crop.shape[0]
        shift = mask.window.enlarge(shift, size) * np.float32(size / UNITS)
        mask.window.cut(crop)[:] = sample(crop, pixel_grid(mask.window.pixels(size)) + shift)
        return moved
