"""FusionNet F: lip and non-lip latents -> one appearance latent (eq. 6, Fig. 9 c)."""

from __future__ import annotations

from torch import Tensor, nn

from .autoencoder import ResidualBlock, conv, norm


class FusionNet(nn.Sequential):
    """Residual blocks between two 3x3 convolutions: 4,794,630 parameters at the paper's sizes (Table 9).

    inputs: the channels of all latents together. Appendix B names one lip and three non-lip latents where
    section 3.4 has three lip references and one current frame; 3.4 holds here.
    """

    def __init__(self, inputs: int, outputs: int, width: int, blocks: int, groups: int):
        super().__init__(
            conv(inputs, width),
            *(ResidualBlock(width, width, groups) for _ in range(blocks)),
            norm(width, groups),
            nn.SiLU(),
            conv(width, outputs),
        )

    def forward(self, latents: Tensor) -> Tensor:
        """Concatenated moments (B,inputs,h,w) -> moments of the appearance latent (B,outputs,h,w)."""
        return super().forward(latents)
