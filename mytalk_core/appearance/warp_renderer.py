"""The renderer without a network: references of the person, warped to the wanted landmarks and blended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from ..face.packed import Rows
from .blend import SPLIT, Blend, Mixing
from .fade import Light, UsualLight
from .focus import UsualFocus, softened
from .mouth import between_lips, dark_interior, seal
from .on_device.batch import Batch, Borrowed, Lenders
from .on_device.drawing import DeviceRendering, draw
from .on_device.fade import done as done_batched
from .on_device.fade import undone as undone_batched
from .on_device.focus import softened as soften_batched
from .on_device.lips import BatchBlend, BatchMixing
from .on_device.lips import darken as darken_batched
from .on_device.lips import warped as warp_batched
from .on_device.matching import Matched
from .on_device.matching import match_references as match_batched
from .on_device.texture import draw_expected
from .on_device.windows import on
from .prepared import PreparedFrame
from .references.matching import MatchedReferences, match_references
from .references.mouths import ReferenceMouths
from .references.plan import ReferenceChoice, ReferencePlan, plan_references
from .references.references import References, mouth_opening
from .references.texture_model import ExpectedTexture, TextureModel
from .rendering import ArrayRendering, Rendering
from .square.frame_edge import KNOWN, UNKNOWN, lent_part
from .square.mask import FEATHER, MouthMask, mask_window, mouth_mask
from .square.raster import triangulate
from .square.warp import MeshWarp, ReferenceWarps, sample
from .square.window import Window
from .surroundings import move_surroundings

# So many frames at most are drawn in one call on a device, and so many pixels of crops; on a card that has
# more memory for each of them than so many bytes, more.
TOGETHER, TOGETHER_PX, BYTES_A_PIXEL = 16, 8 * 512**2, 4096
# So many threads at most draw on a device: most of that is Python's, one thread at a time, and four took a
# quarter longer than two on an H200.
AT_ONCE = 2


@dataclass(frozen=True)
class WarpSettings:
    """Looks of the training-free renderer."""

    detail: float = 8.0  # see blend.blend
    split: float = SPLIT  # units
    misfit: float = 3.0  # levels of misfit on the ring at which a reference loses its weight to a better one
    colour_match: bool = True
    feather: float = FEATHER  # units over which the new lips fade into the frame
    check_visibility: bool = True  # what stands before the mouth stays on top: needs own references
    texture_model: bool = True  # lips are drawn towards the person's own, see texture_model

    def __post_init__(self) -> None:
        if not 0 < self.feather < UNITS:
            raise ValueError(
                f"a feather of more than 0 units and under {UNITS} is needed, got {self.feather}"
            )
        if not (0 <= self.detail < np.inf and 0 < self.split < np.inf and 0 < self.misfit < np.inf):
            raise ValueError(
                f"a finite detail of 0 or more, split and misfit of more than 0 are needed; got {self}"
            )


class WarpRenderer:
    """References of the person, warped to the target's landmarks, matched in colour and blended.

    Args:
        references: the pool.
        targets: float (T, N, 2), the landmarks of the whole sequence, for a steady choice of references.
        layout: their layout.
        shots: int (T,) or None.
        device: where the pixels are worked on: by OpenCV, one frame after the other, on the CPU, by PyTorch,
        all frames of a call at once, on any other.
        light: see `plan_references`.
    """

    # How far lips are drawn towards the person's texture model.
    TEXTURE: ClassVar[float] = 0.5

    def __init__(
        self,
        references: References,
        targets: Rows,
        layout: LandmarkLayout,
        shots: np.ndarray | None = None,
        choice: ReferenceChoice | None = None,
        settings: WarpSettings | None = None,
        device: torch.device | str = "cpu",
        light: np.ndarray | None = None,
    ):
        self._device = torch.device(device)
        self.references, self.layout = references, layout
        self.settings = settings or WarpSettings()
        self.plan: ReferencePlan = plan_references(
            references, targets, layout, choice or ReferenceChoice(), shots, light
        )
        self.triangulation = triangulate(layout)
        self.mouths = ReferenceMouths(references, layout)
        self._usual_light = UsualLight(Light.of(references.crops), references.shots)
        self._focus = UsualFocus(references, layout)
        self._lenders = Lenders(references)
        self._texture = None
        if self.settings.texture_model and self.TEXTURE > 0:
            self._texture = TextureModel.of(references, self.triangulation)

    def reads(self, source: np.ndarray, target: np.ndarray) -> Window:
        """See `Renderer.reads`."""
        return mask_window(source, target, self.layout, self.settings.feather)

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
        given = crops, frame_index, source_landmarks, target_landmarks, seen
        if self.device.type == "cpu":
            return self.render_sequentially(crops, self._all_prepared(*given))
        return self.render_batched(crops, self._all_prepared(*given))

    def _all_prepared(
        self,
        crops: np.ndarray,
        frame_index: np.ndarray,
        source: np.ndarray,
        target: np.ndarray,
        seen: np.ndarray | None,
    ) -> list[PreparedFrame]:
        """The frames of a batch; see `render`."""
        inside = [None] * len(frame_index) if seen is None else seen
        return [
            self.prepared(row, int(index), crops[row], source[row], target[row], inside[row])
            for row, index in enumerate(frame_index)
        ]

    @property
    def device(self) -> torch.device:
        """Where the pixels are worked on."""
        return self._device

    @property
    def together(self) -> int:
        """See `Renderer.together`."""
        if self.device.type == "cpu":
            return 1
        return max(1, min(TOGETHER, _together_px(self.device) // self.references.size**2))

    @property
    def at_once(self) -> int | None:
        """See `Renderer.at_once`."""
        return None if self.device.type == "cpu" else AT_ONCE

    def prepared(
        self,
        row: int,
        index: int,
        crop: np.ndarray,
        source: np.ndarray,
        target: np.ndarray,
        inside: np.ndarray | None,
    ) -> PreparedFrame:
        """What is decided of one frame before its pixels are worked on; see `render`."""
        mask = mouth_mask(source, target, self.layout, self.settings.feather)
        if inside is not None:
            mask = replace(mask, ring=mask.ring * mask.window.cut(inside))
        chosen = self.chosen(index)
        light = Light.of(crop[None])
        fade = self._usual_light.fade(light, *chosen)
        least = self._usual_light.veil(fade.before(light.darkest[0]))
        clear = fade.undone(crop)
        blur = self._focus.missing(clear, source, inside, *chosen)
        warps = self._warps(index, target, mask)
        texture = self.expected(clear, source, target, mask, warps.coarse, inside)
        return PreparedFrame(row, index, source, target, mask, warps, inside, texture, blur, fade, least)

    def render_sequentially(self, crops: np.ndarray, frames: list[PreparedFrame]) -> ArrayRendering:
        """One frame after the other, by OpenCV."""
        size = self.references.size
        rendered, alpha = np.array(crops), np.zeros(crops.shape[:3], np.float32)
        for frame in frames:
            lent = self._lent(frame.index, frame.warps)
            mask = self._shown(frame, lent if self.references.free is None else self._seen(frame))
            if mask is None:
                continue
            crop, new = rendered[frame.row], alpha[frame.row]
            moved = move_surroundings(crop, frame)
            clear = frame.fade.undone(crop)
            lips = self.lips(clear, frame.target, frame.index, mask, frame.warps, lent, frame.texture)
            if frame.least.any():
                np.maximum(lips, frame.least, out=lips)
            lips = frame.fade.done(softened(lips, frame.blur, size))
            lips_mask = mask.core.enlarge(mask.window.part(mask.lips, mask.core), size)
            mask.window.cut(new)[:] = mask.window.enlarge(np.maximum(mask.lips, moved), size)
            # Undivided by alpha, compositing would feather the lips twice.
            ratio = np.minimum(lips_mask / np.maximum(mask.core.cut(new), 1e-6), 1)
            mixed = mask.core.cut(crop)
            lips -= mixed
            # NumPy would repeat one number over three colours, ten times as slowly.
            lips *= cv2.merge([ratio] * 3)
            lips += mixed
            mixed[:] = np.rint(lips, out=lips).clip(0, 255, out=lips)
        return ArrayRendering(rendered, alpha)

    def render_batched(self, crops: np.ndarray, frames: list[PreparedFrame]) -> DeviceRendering:
        """All at once, by PyTorch on the device."""
        chosen = [self.chosen(frame.index) for frame in frames]
        borrowed = Borrowed.of(self._lenders, chosen)

        def lips(batch: Batch) -> Tensor:
            fades = [frame.fade for frame in frames]
            least = np.stack([frame.least for frame in frames])
            made = self.lips_batched(batch.with_crops(undone_batched(batch.crops, fades)))
            made = torch.maximum(made, on(least, self.device)[..., None, None])
            made = soften_batched(made, [frame.blur for frame in frames], self.references.size)
            return done_batched(made, fades)

        return draw(crops, frames, borrowed, self.device, lips)

    def _warps(self, index: int, target: np.ndarray, mask: MouthMask) -> ReferenceWarps:
        landmarks = self.references.landmarks[self.chosen(index)[0]]
        return ReferenceWarps(self.triangulation, target, mask.window, landmarks)

    def _lent(self, index: int, warps: ReferenceWarps) -> list[np.ndarray | None]:
        """What of each reference of a frame lends, on the unit grid of its mask's window: see `lent_part`."""
        return self._warped(self.references.own, index, warps)

    def _seen(self, frame: PreparedFrame) -> list[np.ndarray | None]:
        """What of each lay inside its frame, behind something or not."""
        return self._warped(self.references.seen, frame.index, frame.warps)

    def _warped(self, parts: np.ndarray | None, index: int, warps: ReferenceWarps) -> list[np.ndarray | None]:
        chosen = self.chosen(index)[0]
        if parts is None:
            return [None] * len(chosen)
        return [
            None if parts[one].all() else lent_part(parts[one], warps.units[rank])
            for rank, one in enumerate(chosen)
        ]

    def _shown(self, frame: PreparedFrame, seen: list[np.ndarray | None]) -> MouthMask | None:
        """A frame's mask without what no reference has seen; None where that is a part of the lips, old or
        new."""
        parts = [part for part in seen if part is not None]
        if len(parts) < len(seen):
            return frame.mask
        known, lips = np.max(parts, axis=0), frame.lips(self.layout)
        if (known[lips] < KNOWN).sum() > UNKNOWN * lips.sum():
            return None
        return replace(frame.mask, lips=frame.mask.lips * known)

    def chosen(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The references of a frame, positions in the pool, and their weights: (R,) each."""
        chosen, weights = self.plan.indices[index], self.plan.weights[index]
        return chosen[chosen >= 0], weights[chosen >= 0]

    def lips(
        self,
        crop: np.ndarray,
        target: np.ndarray,
        index: int,
        mask: MouthMask,
        warps: ReferenceWarps | None = None,
        lent: list[np.ndarray | None] | None = None,
        texture: ExpectedTexture | None = None,
    ) -> np.ndarray:
        """The references' picture of the mouth: float32 (h, w, 3) of mask.core, for where mask.lips > 0.

        Of the frame's crop uint8 (S, S, 3) only the ring outside the mask is read, and that at one sample a
        unit: colour needs no more. `warps`, those of the frame's references, and `lent`, what each of them
        lends, are made where None; `texture` is what the lips are drawn towards, if anything.
        """
        size, core = self.references.size, mask.core
        warps = warps or self._warps(index, target, mask)
        matched = self._match(crop, index, mask, warps, lent or self._lent(index, warps))
        mixing = self.mixing(crop, target, mask, matched, warps)
        pictures, dark = [], []
        trios = zip(matched.chosen, matched.corrections, warps.pixels(core, mask.mouth, size), strict=True)
        for rank, (reference, correction, coordinates) in enumerate(trios):
            picture = self.references.crops[reference]
            coordinates, parted = self.mouths.parted(coordinates, int(reference), target, core, size)
            dark.append(parted)
            warped = sample(picture, mixing.moved(coordinates, rank)).astype(np.float32)
            if correction is not None:
                warped += core.enlarge(mask.window.part(correction, core), size)
            pictures.append(warped)
        pictures = matched.filled(pictures, mask, core, size)
        picture = mixing.mixed(pictures)
        if texture is not None:
            picture = texture.draw(picture)
        amount = self._dark(matched, target, dark)
        if np.max(amount) > 0:
            picture = dark_interior(picture, target, self.layout, core, size, amount)
        return np.clip(picture, 0, 255)

    def lips_batched(self, batch: Batch) -> Tensor:
        """`lips` of a batch on its device: float32 (B, 3, h, w) of its cores."""
        matched = match_batched(batch, self.settings.misfit if self.settings.colour_match else None)
        how = self.mouths.partings(batch.targets, batch.borrowed.chosen)
        mixing = self.mixing_batched(batch, matched, how)
        pictures, dark = warp_batched(batch, matched, how, mixing)
        picture = draw_expected(batch, mixing.mixed(pictures))
        return darken_batched(batch, picture, matched, dark, self.mouths.openings).clamp(0, 255)

    def expected(
        self,
        crop: np.ndarray,
        source: np.ndarray,
        target: np.ndarray,
        mask: MouthMask,
        warp: MeshWarp | None = None,
        inside: np.ndarray | None = None,
    ) -> ExpectedTexture | None:
        """What the person's texture model expects of a frame, see `TextureModel.expected`; None where there
        is none. `warp` is made where None."""
        if self._texture is None:
            return None
        warp = warp or MeshWarp(self.triangulation, target, UNITS, mask.window.pixels(UNITS))
        return self._texture.expected(crop, source, target, mask, warp, inside, self.TEXTURE)

    @property
    def split_px(self) -> float:
        """Where coarse structure ends and fine begins, pixels of the crops."""
        return self.settings.split * self.references.size / UNITS

    def mixing(
        self,
        crop: np.ndarray,
        target: np.ndarray,
        mask: MouthMask,
        matched: MatchedReferences,
        warps: ReferenceWarps,
    ) -> Mixing:
        """How the references of a frame become one picture of mask.core."""
        inner = between_lips(target, self.layout, mask.core, self.references.size)
        return Blend(matched.weights, self.settings.detail, self.split_px, inner)

    def mixing_batched(self, batch: Batch, matched: Matched, how: np.ndarray | None) -> BatchMixing:
        """`mixing` of a batch on its device; how: see `ReferenceMouths.partings`."""
        pairs = zip(batch.targets, batch.cores.own, strict=True)
        inner = [between_lips(target, self.layout, core, batch.size) for target, core in pairs]
        packed = batch.cores.packed(inner, "constant")[:, None]
        return BatchBlend(batch, matched.weights, self.settings.detail, self.split_px, packed)

    def _match(
        self,
        crop: np.ndarray,
        index: int,
        mask: MouthMask,
        warps: ReferenceWarps,
        lent: list[np.ndarray | None],
    ) -> MatchedReferences:
        chosen, weights = self.chosen(index)
        if not self.settings.colour_match:
            return MatchedReferences(chosen, weights / weights.sum(), [None] * len(chosen), lent)
        misfit = self.settings.misfit
        return match_references(self.references, chosen, weights, crop, mask, warps, misfit, lent)

    def _dark(
        self, matched: MatchedReferences, target: np.ndarray, dark: list[np.ndarray | float]
    ) -> np.ndarray | float:
        """How much of the mouth's interior is plainly dark, 0..1, everywhere or (h, w) of mask.core."""
        own = matched.weights @ self.mouths.openings[matched.chosen]
        sealed = seal(mouth_opening(target, self.layout), own)
        parted = sum(weight * part for weight, part in zip(matched.weights, dark, strict=True))
        return np.maximum(parted, sealed)


def _together_px(device: torch.device) -> int:
    """How many pixels of crops are drawn in one call on a device."""
    if not torch.cuda.is_available() or device.type != "cuda":
        return TOGETHER_PX
    return max(TOGETHER_PX, torch.cuda.get_device_properties(device).total_memory // BYTES_A_PIXEL)
