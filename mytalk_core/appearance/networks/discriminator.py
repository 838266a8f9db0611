"""PatchGAN discriminator (Isola et al. 2017): how real each patch of a picture looks."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ...checkpoint.pretrained import PretrainedModel


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Sizes of the discriminator.

    width: channels of the first layer; layers: stride-2 layers, 3 make each logit see 70x70 pixels.
    """

    width: int = 64
    layers: int = 3


class PatchDiscriminator(PretrainedModel):
    """Pictures (B,3,H,W) in [-1,1] -> logits (B,1,h,w), real above 0: 2,765,633 parameters (Table 9)."""

    config_class = DiscriminatorConfig

    def __init__(self, config: DiscriminatorConfig):
        super().__init__()
        self.config = config
        layers: list[nn.Module] = [nn.Conv2d(3, config.width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        channels = config.width
        for layer in range(1, config.layers + 1):
            wider = config.width * min(2**layer, 8)
            stride = 2 if layer < config.layers else 1
            layers += [
                nn.Conv2d(channels, wider, 4, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(wider),
                nn.LeakyReLU(0.2),
            ]
            channels = wider
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, padding=1))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, 0.0, 0.02)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, 1.0, 0.02)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures)
