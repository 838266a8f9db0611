"""Changes of a canonical crop and its landmarks alike: position, mirror, colour, resolution, compression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout

TURN_DEG, SCALE, SHIFT = 6.0, 0.08, 6.0  # most by which a crop is moved; SHIFT in canonical units
GAIN, CONTRAST = 0.25, 0.3  # logarithms


@dataclass(frozen=True)
class PictureChange:
    """One change for all pictures of a sample, which stay pictures of one video.

    transform: float64 (2,3), canonical units to canonical units; flip: whether it mirrors; levels: uint8
    (256,3), the new level of each RGB level; small: share of the resolution that is left; blur: sigma in
    canonical units, 0 for none; quality: of a JPEG compression, None for none.
    """

    transform: np.ndarray
    flip: bool
    levels: np.ndarray
    small: float
    blur: float
    quality: int | None

    def points(self, landmarks: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
        """Landmarks (...,N,2) in canonical units, changed."""
        moved = (landmarks @ self.transform[:, :2].T + self.transform[:, 2]).astype(np.float32)
        return moved[..., layout.mirror, :] if self.flip else moved

    def picture(self, crop: np.ndarray) -> np.ndarray:
        """A crop uint8 (S,S,3), changed."""
        return self._degraded(self._placed(crop))

    def _placed(self, crop: np.ndarray) -> np.ndarray:
        size = len(crop)
        matrix = self.transform.copy()
        # In pixel indices, whose centres lie at half a pixel.
        matrix[:, 2] = matrix[:, 2] * size / UNITS + matrix[:, :2].sum(1) * 0.5 - 0.5
        return cv2.warpAffine(
            crop, matrix, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )

    def _degraded(self, crop: np.ndarray) -> np.ndarray:
        size = len(crop)
        crop = cv2.LUT(crop, self.levels[None])
        if self.small < 1:
            side = max(8, round(self.small * size))
            crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
            crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_CUBIC)
        if self.blur:
            crop = cv2.GaussianBlur(crop, (0, 0), self.blur * size / UNITS)
        if self.quality is None:
            return crop
        _, data = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.quality])
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert bgr is not None  # it was just written
        return np.ascontiguousarray(bgr[..., ::-1])


def draw_change(generator: torch.Generator) -> PictureChange:
    """A random change: half of them mirror, a sixth lose resolution, a sixth sharpness, a third are JPEGs."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    flip = uniform(0, 1) < 0.5
    return PictureChange(
        transform=_draw_transform(uniform, flip),
        flip=flip,
        levels=_draw_levels(uniform),
        small=uniform(0.4, 0.9) if uniform(0, 1) < 1 / 6 else 1.0,
        blur=uniform(0.5, 1.5) if uniform(0, 1) < 1 / 6 else 0.0,
        quality=int(uniform(40, 95)) if uniform(0, 1) < 1 / 3 else None,
    )


def _draw_transform(uniform: Callable[[float, float], float], flip: bool) -> np.ndarray:
    """About the middle of the square."""
    turn, scale = np.radians(uniform(-TURN_DEG, TURN_DEG)), np.exp(uniform(-SCALE, SCALE))
    linear = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    if flip:
        linear = linear @ np.diag([-1.0, 1.0])
    middle = np.full(2, UNITS / 2)
    moved = np.array([uniform(-SHIFT, SHIFT), uniform(-SHIFT, SHIFT)])
    return np.concatenate([linear, (middle + moved - linear @ middle)[:, None]], axis=1)


def _draw_levels(uniform: Callable[[float, float], float]) -> np.ndarray:
    power = np.exp(uniform(-CONTRAST, CONTRAST))
    gain = np.exp(uniform(-GAIN, GAIN) + np.array([uniform(-GAIN, GAIN) / 2 for _ in range(3)]))
    level = (np.arange(256) / 255)[:, None] ** power * gain
    return np.rint(level.clip(0, 1) * 255).astype(np.uint8)
