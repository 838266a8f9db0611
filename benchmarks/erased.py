"""A frame's mouth, erased, so that a renderer that draws it anew from true landmarks cannot look at it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mytalk_core.appearance.square.mask import MouthMask, mouth_mask
from mytalk_core.appearance.warp_renderer import WarpRenderer
from mytalk_core.face.layout import LandmarkLayout


@dataclass(frozen=True, eq=False)
class ErasedMouth:
    """crop, erased: uint8 (S,S,3), the frame's square as filmed, and without the mouth; landmarks: (N,2)
    canonical units; inside: bool (h,w), the pixels of mask.core that are drawn anew."""

    crop: np.ndarray
    erased: np.ndarray
    landmarks: np.ndarray
    mask: MouthMask
    inside: np.ndarray

    @classmethod
    def of(
        cls, crop: np.ndarray, landmarks: np.ndarray, layout: LandmarkLayout, rim_px: int = 0
    ) -> ErasedMouth:
        """rim_px: so many of the outermost pixels that are drawn anew are not erased."""
        mask = mouth_mask(landmarks, landmarks, layout)
        inside = mask.core.enlarge(mask.window.part(mask.lips, mask.core), len(crop)) > 0
        erased, reach = crop.copy(), 2 * rim_px + 1
        mask.core.cut(erased)[cv2.erode(inside.astype(np.uint8), np.ones((reach, reach))) > 0] = 0
        return cls(crop, erased, landmarks, mask, inside)

    @property
    def truth(self) -> np.ndarray:
        """mask.core as filmed, uint8 (h,w,3)."""
        return self.mask.core.cut(self.crop)

    def lips(self, renderer: WarpRenderer, position: int = 0) -> np.ndarray:
        """What a renderer draws of mask.core at a position of its targets, uint8 (h,w,3)."""
        texture = renderer.expected(self.erased, self.landmarks, self.landmarks, self.mask)
        made = renderer.lips(self.erased, self.landmarks, position, self.mask, texture=texture)
        return np.rint(made).astype(np.uint8)

    def amid(self, lips: np.ndarray) -> np.ndarray:
        """mask.core with such lips where they are drawn anew, as filmed beside them: uint8 (h,w,3)."""
        return np.where(self.inside[..., None], lips, self.truth)

    def whole(self, core: np.ndarray) -> np.ndarray:
        """The crop with another mask.core, uint8 (S,S,3)."""
        made = self.crop.copy()
        self.mask.core.cut(made)[:] = core
        return made
