"""The refiner as it is trained: its maps and the pictures that they mix, in one pass."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from mytalk_core.appearance.blend import SPLIT
from mytalk_core.appearance.networks.refinement import crisp, enlarged, mix
from mytalk_core.appearance.networks.refiner import MouthRefiner
from mytalk_core.appearance.warp_renderer import WarpSettings

from .data import MouthSamples

DETAIL = WarpSettings().detail  # as the renderer will draw


class MixingRefiner(nn.Module):
    """The refiner and the mixing it steers, as one forward pass; detail: see `crisp`, None leaves it out."""

    def __init__(self, refiner: MouthRefiner, detail: float | None = None) -> None:
        super().__init__()
        self.refiner, self.detail = refiner, detail

    def forward(self, samples: MouthSamples) -> Tensor:
        """Pictures (B,3,S H,S W), about [-1,1]."""
        samples = samples.heaviest(self.refiner.config.references)
        refinement = self.refiner(samples.inputs)
        if self.detail is not None:
            refinement = crisp(refinement, self.detail, samples.inputs.lips)
        if samples.scale > 1:
            height, width = samples.truth.shape[-2:]
            refinement = enlarged(refinement, (height, width))
            refinement = replace(refinement, flow=samples.scale * refinement.flow)
        return mix(samples.references, refinement, SPLIT * samples.scale)


def psnr(pictures: Tensor, truth: Tensor, inside: Tensor) -> list[float]:
    """Of each picture (B,3,H,W) in [-1,1], over the pixels where inside (B,1,H,W) is 1."""
    error = ((pictures.clamp(-1, 1) - truth) / 2).square() * inside
    mean = error.sum((1, 2, 3)) / (3 * inside.sum((1, 2, 3)))
    return (-10 * torch.log10(mean.clamp_min(1e-10))).tolist()
