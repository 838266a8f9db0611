"""What the appearance generator reads, made from crops and landmarks: masked pictures, the landmark image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...face.draw import landmark_image
from ...face.layout import LandmarkLayout
from ..references.references import References, resized
from ..square.mask import MouthMask, mouth_mask
from ..square.raster import Triangulation
from ..square.warp import MeshWarp
from .generator import AppearanceConfig
from .picture_tensors import to_tensor


@dataclass(frozen=True)
class GeneratorInputs:
    """Pictures of one frame in [-1,1], blank being 0.

    references (K,3,S,S); non_lip (3,S,S); landmark_image (3,S,S); mask (S,S) in 0..1, how new each pixel is.
    """

    references: Tensor
    non_lip: Tensor
    landmark_image: Tensor
    mask: Tensor


def generator_inputs(
    config: AppearanceConfig,
    crop: np.ndarray,
    source: np.ndarray,
    target: np.ndarray,
    references: References,
    chosen: np.ndarray,
    triangulation: Triangulation,
) -> GeneratorInputs:
    """One frame's inputs, at the model's size.

    crop: uint8 (S',S',3), the frame's canonical square; source, target: (N,2) canonical units, its own
    landmarks and the wanted ones, in the model's layout; chosen: int (K,), which of `references`;
    triangulation: of the layout, for mesh-aligned references.

    Raises ValueError if there are more or fewer references than the model reads.
    """
    layout = LandmarkLayout.load(config.landmark_layout)
    mask = whole_mask(mouth_mask(source, target, layout), config.size)
    return GeneratorInputs(
        reference_pictures(config, references, chosen, target, mask, triangulation),
        *frame_pictures(config, crop, target, mask),
        mask,
    )


def reference_pictures(
    config: AppearanceConfig,
    references: References,
    chosen: np.ndarray,
    target: np.ndarray,
    mask: Tensor,
    triangulation: Triangulation,
) -> Tensor:
    """The chosen references as the model reads them: (K,3,S,S) in [-1,1], blank being 0. Only those that are
    aligned to the mesh depend on the frame: on its target (N,2) and its mask (S,S).

    Raises ValueError if there are more or fewer references than the model reads.
    """
    if len(chosen) != config.reference_count:
        raise ValueError(
            f"{config.references} reads {config.reference_count} references a frame; got {len(chosen)}"
        )
    layout, size = LandmarkLayout.load(config.landmark_layout), config.size
    pictures = []
    for index in chosen:
        picture, landmarks = references.crops[index], references.landmarks[index]
        if config.reference_alignment == "mesh":
            warp = MeshWarp(triangulation, target, references.size, (0, 0, *picture.shape[:2]))
            picture, region = warp.warp(picture, landmarks), mask
        else:
            region = whole_mask(mouth_mask(landmarks, landmarks, layout), size)
        whole = config.references == "full-single"
        pictures.append(to_tensor(resized(picture, size)) * (1.0 if whole else region > 0))
    return torch.stack(pictures)


def frame_pictures(
    config: AppearanceConfig, crop: np.ndarray, target: np.ndarray, mask: Tensor
) -> tuple[Tensor, Tensor]:
    """The frame uint8 (S',S',3) without what its mask (S,S) covers, and the image of the wanted landmarks
    (N,2): (3,S,S)."""
    # Erased wherever anything is made anew, feather included: the old lips must not shine through.
    non_lip = to_tensor(resized(crop, config.size)) * (mask == 0)
    layout = LandmarkLayout.load(config.landmark_layout)
    return non_lip, to_tensor(landmark_image(target, layout, config.size))


def whole_mask(mask: MouthMask, size: int) -> Tensor:
    """The lips' part of a mask, on the pixels of the whole square: float32 (size,size)."""
    square = np.zeros((size, size), np.float32)
    mask.window.cut(square)[:] = mask.window.enlarge(mask.lips, size)
    return torch.from_numpy(square)
