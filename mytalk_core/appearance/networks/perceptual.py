"""LPIPS with VGG16: how different two pictures look (Zhang et al. 2018); a loss and a metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint.pretrained import PretrainedModel

VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


@dataclass(frozen=True)
class PerceptualConfig:
    """Sizes of the trunk whose features are compared.

    stages: channels of the convolutions between the poolings; the default is VGG16's trunk.
    """

    stages: tuple[tuple[int, ...], ...] = VGG16


class PerceptualDistance(PretrainedModel):
    """Weighted squared differences of unit-length features after every stage: 14,716,160 parameters.

    The weights are pre-trained, never trained here: `mytalk_training.convert.lpips` writes them.
    """

    config_class: ClassVar[type] = PerceptualConfig
    shift: Tensor
    scale: Tensor

    def __init__(self, config: PerceptualConfig):
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList()
        channels = 3
        for widths in config.stages:
            stage = nn.ModuleList()
            for width in widths:
                stage.append(nn.Conv2d(channels, width, 3, padding=1))
                channels = width
            self.stages.append(stage)
        self.weights = nn.ParameterList(torch.full((widths[-1],), 1 / widths[-1]) for widths in config.stages)
        # ImageNet's statistics for pictures in [-1,1]; constants, so not among the saved tensors.
        for name, values in {"shift": (-0.030, -0.088, -0.188), "scale": (0.458, 0.448, 0.450)}.items():
            buffer = torch.tensor(values, device="cpu")[:, None, None]
            self.register_buffer(name, buffer, persistent=False)
        self.requires_grad_(False)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Pictures (B,3,H,W) in [-1,1] -> unit-length features (B,C,h,w) after every stage."""
        x, found = (pictures - self.shift) / self.scale, []
        for index, stage in enumerate(self.stages):
            x = F.max_pool2d(x, 2) if index else x
            for layer in stage.children():
                x = F.relu(layer(x))
            found.append(x / (x.square().sum(dim=1, keepdim=True).add(1e-20).sqrt() + 1e-10))
        return found

    def forward(self, pictures: Tensor, others: Tensor) -> Tensor:
        """Distance (B,) of pictures (B,3,H,W) in [-1,1], 16 pixels a side or more; 0 where they are equal."""
        total = pictures.new_zeros(len(pictures))
        pairs = zip(self.features(pictures), self.features(others), self.weights, strict=True)
        for one, other, weight in pairs:
            different = ((one - other).square() * weight[:, None, None]).sum(dim=1)
            total = total + different.mean(dim=(1, 2))
        return total
