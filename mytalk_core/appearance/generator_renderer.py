"""The paper's renderer: lips drawn by its generator (section 3.4) where `WarpRenderer` warps references."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import cv2
import numpy as np
import torch
from torch import Tensor

from ..face.layout import LandmarkLayout
from ..face.packed import Rows
from .networks.generator import AppearanceGenerator
from .networks.generator_inputs import frame_pictures, reference_pictures, whole_mask
from .on_device.batch import Batch
from .on_device.generating import generated
from .references.plan import ReferenceChoice
from .references.references import References
from .references.texture_model import ExpectedTexture
from .square.mask import MouthMask
from .square.raster import triangulate
from .square.warp import ReferenceWarps
from .square.window import SQUARE, Window
from .warp_renderer import WarpRenderer, WarpSettings


class GeneratorRenderer(WarpRenderer):
    """`WarpRenderer` whose lips are drawn whole by an `AppearanceGenerator`, not the references' own.

    Pictures of a generator that aligns its references to the mesh are read from those nearest to the frame,
    as `WarpRenderer` chooses them; another's are the same for all frames, spread evenly from the closed mouth
    to the widest, and encoded once.

    generator: in eval mode, on the device where all is worked on; dtype: what it computes in; all else as in
    `WarpRenderer`.
    Raises ValueError if the generator's landmarks cannot be made from the layout's.
    """

    TEXTURE: ClassVar[float] = 0.0

    def __init__(
        self,
        generator: AppearanceGenerator,
        references: References,
        targets: Rows,
        layout: LandmarkLayout,
        shots: np.ndarray | None = None,
        settings: WarpSettings | None = None,
        dtype: torch.dtype = torch.float32,
        light: np.ndarray | None = None,
    ):
        config = generator.config
        choice = ReferenceChoice(references=config.reference_count)
        super().__init__(references, targets, layout, shots, choice, settings, light=light)
        self.generator, self.dtype = generator, dtype
        self.own = LandmarkLayout.load(config.landmark_layout)
        if layout.name not in (self.own.name, self.own.source):
            raise ValueError(
                f"the generator reads landmarks of {self.own.name}, which cannot be made of {layout.name}"
            )
        self.mesh = triangulate(self.own)
        self.small = replace(references.resized(config.size), landmarks=self.to_own(references.landmarks))
        self._encoded: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where the generator is just now: whoever keeps it elsewhere brings it to draw."""
        return next(self.generator.parameters()).device

    def reads(self, source: np.ndarray, target: np.ndarray) -> Window:
        """All: see `Renderer.reads`."""
        return SQUARE

    def lips_batched(self, batch: Batch) -> Tensor:
        """See `WarpRenderer.lips_batched`; of the crops all that the masks leave is read."""
        return generated(batch, self.generator, self.dtype, self.to_own, self.read_references)

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
        """See `WarpRenderer.lips`; of the crop all that the mask leaves is read."""
        wanted, device = self.to_own(target), self.device
        whole = whole_mask(mask, self.generator.config.size)
        frame = frame_pictures(self.generator.config, crop, wanted, whole)
        precision = torch.autocast(device.type, self.dtype, enabled=self.dtype != torch.float32)
        with torch.inference_mode(), precision:
            references = self.read_references(index, wanted, whole, device)
            pictures = [picture[None].to(device) for picture in frame]
            made = self.generator(references, *pictures).frames[0].float()
        picture = ((made + 1) * 127.5).permute(1, 2, 0).cpu().numpy()
        size = self.references.size
        if len(picture) != size:
            picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC)
        return np.clip(mask.core.cut(picture), 0, 255)

    def to_own(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (...,N,C) in the generator's layout."""
        return landmarks if self.layout.name == self.own.name else self.own.from_source(landmarks)

    def read_references(self, index: int, wanted: np.ndarray, mask: Tensor, device: torch.device) -> Tensor:
        """What the generator takes as a frame's references: pictures, or what it encoded of them before."""
        config = self.generator.config
        if self._encoded is not None:
            return self._encoded
        if config.reference_alignment == "mesh":
            chosen = self.plan.indices[index]
            chosen = np.resize(chosen[chosen >= 0], config.reference_count)
        else:
            share = (np.arange(config.reference_count) + 0.5) / config.reference_count
            chosen = np.argsort(self.mouths.openings)[(share * len(self.references)).astype(int)]
        pictures = reference_pictures(config, self.small, chosen, wanted, mask, self.mesh)[None].to(device)
        if config.reference_alignment == "mesh":
            return pictures
        self._encoded = self.generator.encode_references(pictures)
        return self._encoded
