"""LPIPS with AlexNet, the variant most papers print (Zhang et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from ...appearance.networks.perceptual import PerceptualConfig, PerceptualDistance

# Outputs, kernel and stride of AlexNet's convolutions (Krizhevsky 2014); a pooling stands before these.
CONVOLUTIONS = ((64, 11, 4), (192, 5, 1), (384, 3, 1), (256, 3, 1), (256, 3, 1))
POOLED = (1, 2)


@dataclass(frozen=True)
class AlexNetConfig:
    """Sizes of the trunk.

    convolutions: (outputs, kernel, stride) in order; the default is AlexNet's trunk.
    """

    convolutions: tuple[tuple[int, int, int], ...] = CONVOLUTIONS


class AlexNetDistance(PerceptualDistance):
    """`PerceptualDistance` whose trunk is AlexNet's: 2,470,848 parameters."""

    config_class = AlexNetConfig

    def __init__(self, config: AlexNetConfig):
        super().__init__(PerceptualConfig(tuple((outputs,) for outputs, _, _ in config.convolutions)))
        self.config = config
        self.stages, inputs = nn.ModuleList(), 3
        for outputs, kernel, stride in config.convolutions:
            # Whatever the stride, AlexNet pads by half of the kernel, but by 2 before its stride of 4.
            padding = 2 if stride == 4 else kernel // 2
            self.stages.append(nn.ModuleList([nn.Conv2d(inputs, outputs, kernel, stride, padding)]))
            inputs = outputs
        self.requires_grad_(False)

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Pictures (B,3,H,W) in [-1,1] -> unit-length features (B,C,h,w) after every convolution."""
        x, found = (pictures - self.shift) / self.scale, []
        for index, stage in enumerate(self.stages):
            x = F.max_pool2d(x, 3, 2) if index in POOLED else x
            (convolution,) = stage.children()
            x = F.relu(convolution(x))
            found.append(x / (x.square().sum(dim=1, keepdim=True).add(1e-20).sqrt() + 1e-10))
        return found
