"""Picture <-> latent: the residual encoder and decoder of Fig. 9 (a, b), and the Gaussian in between.

One encoder class serves lip appearance, non-lip appearance and landmarks (paper 3.4). At the paper's sizes
(Table 9) an encoder has 237,999,878 parameters and the decoder 280,452,611.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def norm(channels: int, groups: int) -> nn.GroupNorm:
    """GroupNorm; ValueError where the groups do not divide the channels."""
    if channels % groups:
        raise ValueError(
            f"every width must be a multiple of the norm's groups; got {channels} channels, {groups} groups"
        )
    return nn.GroupNorm(groups, channels, eps=1e-6)


def conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Conv2d:
    """A convolution that keeps height and width."""
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)


class ResidualBlock(nn.Module):
    """Twice GroupNorm, SiLU and a 3x3 convolution: (B,C,H,W) -> (B,outputs,H,W)."""

    def __init__(self, inputs: int, outputs: int, groups: int):
        super().__init__()
        self.norm_1 = norm(inputs, groups)
        self.conv_1 = conv(inputs, outputs)
        self.norm_2 = norm(outputs, groups)
        self.conv_2 = conv(outputs, outputs)
        self.shortcut = conv(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.conv_1(F.silu(self.norm_1(x)))
        return self.shortcut(x) + self.conv_2(F.silu(self.norm_2(hidden)))


class SpatialAttention(nn.Module):
    """Single-head self-attention over all positions: (B,C,H,W) -> (B,C,H,W)."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = norm(channels, groups)
        self.query, self.key, self.value = (conv(channels, channels, 1) for _ in range(3))
        self.output = conv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm(x)
        query, key, value = (
            part(normed).flatten(2).transpose(1, 2)[:, None] for part in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value)[:, 0]
        return x + self.output(attended.transpose(1, 2).unflatten(2, x.shape[2:]))


class Downsample(nn.Module):
    """Stride-2 convolution; the padding is at the right and the bottom: (B,C,H,W) -> (B,C,H/2,W/2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Every pixel four times, then a convolution: (B,C,H,W) -> (B,C,2H,2W)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def middle(channels: int, groups: int) -> list[nn.Module]:
    """Residual, attention, residual at the latent's resolution."""
    return [
        ResidualBlock(channels, channels, groups),
        SpatialAttention(channels, groups),
        ResidualBlock(channels, channels, groups),
    ]


class _Blocks(nn.Module):
    """Blocks in a row; with `checkpointing` each is computed again in the backward pass, not kept."""

    def __init__(self, blocks: list[nn.Module]):
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            keep = not (self.checkpointing and torch.is_grad_enabled())
            x = block(x) if keep else checkpoint(block, x, use_reentrant=False)
        return x


class Encoder(_Blocks):
    """Picture (B,3,H,W) in [-1,1] -> mean and log variance of its latent (B,2z,H/f,W/f).

    f = 2^(levels - 1); width: channels of the first level, multiplied by `multipliers`, one a level.
    """

    def __init__(self, width: int, multipliers: tuple[int, ...], blocks: int, latent: int, groups: int):
        layers: list[nn.Module] = [conv(3, width)]
        channels = width
        for level, multiplier in enumerate(multipliers):
            if level:
                layers.append(Downsample(channels))
            for _ in range(blocks):
                layers.append(ResidualBlock(channels, width * multiplier, groups))
                channels = width * multiplier
        layers += middle(channels, groups)
        layers += [norm(channels, groups), nn.SiLU(), conv(channels, 2 * latent)]
        super().__init__(layers)


class Decoder(_Blocks):
    """Latent (B,z,H/f,W/f) -> picture (B,3,H,W): the encoder's mirror image, one block a level more."""

    def __init__(self, width: int, multipliers: tuple[int, ...], blocks: int, latent: int, groups: int):
        channels = width * multipliers[-1]
        layers: list[nn.Module] = [conv(latent, channels), *middle(channels, groups)]
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks + 1):
                layers.append(ResidualBlock(channels, width * multiplier, groups))
                channels = width * multiplier
            if level:
                layers.append(Upsample(channels))
        layers += [norm(channels, groups), nn.SiLU(), conv(channels, 3)]
        super().__init__(layers)


@dataclass(frozen=True)
class Posterior:
    """A diagonal Gaussian over latents: mean and log variance, each (B,z,h,w)."""

    mean: Tensor
    log_variance: Tensor

    @staticmethod
    def from_moments(moments: Tensor) -> Posterior:
        """Split moments (B,2z,h,w); the log variance is held within -30 ... 20."""
        mean, log_variance = moments.chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(-30.0, 20.0))

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """One draw (B,z,h,w); `generator` is the CPU's, so that every device draws the same."""
        return self.at(torch.randn(self.mean.shape, generator=generator).to(self.mean))

    def at(self, noise: Tensor) -> Tensor:
        """The latent (B,z,h,w) that standard normal `noise` (B,z,h,w) stands for."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    @property
    def mode(self) -> Tensor:
        """The most likely latent (B,z,h,w), which inference takes."""
        return self.mean

    def kl(self) -> Tensor:
        """Divergence from the standard normal in nats (B,), summed over the latent (Kingma & Welling)."""
        terms = self.mean.square() + self.log_variance.exp() - 1.0 - self.log_variance
        return 0.5 * terms.flatten(1).sum(dim=1)
