"""The refiner: a small network that mixes, bends and mends warped references into one mouth.

It goes beyond the paper's generator (section 3.4), which has to invent the lips: references that are already
warped to the target's landmarks need only be chosen pixel by pixel, nudged into place and corrected in light.
It reads one sample a canonical unit; its maps are enlarged to the source's own resolution and applied to
the references' own pixels there, so teeth and skin keep the sharpness of the source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...checkpoint.pretrained import PretrainedModel
from ...errors import WeightsError
from .refinement import Refinement

GROUPS = 8


@dataclass(frozen=True)
class RefinerConfig:
    """Sizes: `width` of a reference's features, `widths` of the U-Net at 1/patch, half of that, ... of the
    grid.

    landmark_layout: whose contours it reads; references: how many a frame is given; patch: so many units
    square become the channels of one place, a multiple of 2 up to 8; flow: the farthest that a pixel is
    nudged, units.
    """

    landmark_layout: str = "mesh478"
    references: int = 8
    patch: int = 2
    width: int = 24
    widths: tuple[int, ...] = (64, 96, 128, 160)
    flow: float = 4.0

    @property
    def step(self) -> int:
        """Grids are padded to multiples of this."""
        return max(8, self.patch * 2 ** (len(self.widths) - 1))


@dataclass(frozen=True)
class RefinerInputs:
    """B frames on the unit grid, R references each; pictures in [-1,1].

    frame (B,3,H,W) without its lips, 0 there; mask (B,1,H,W) in 0..1, how new each pixel is; contours
    (B,3,H,W), the landmark image; references (B,R,3,H,W), warped and matched in colour; stretch (B,R,1,H,W),
    log2 of how many of the reference's pixels make one of the target's; weights (B,R), sum 1; lips uint8
    (B,1,H,W), see `mask.lip_map`.
    """

    frame: Tensor
    mask: Tensor
    contours: Tensor
    references: Tensor
    stretch: Tensor
    weights: Tensor
    lips: Tensor

    @property
    def made(self) -> Tensor:
        """(B,1,H,W): 1 where anything is made anew, 0 elsewhere."""
        return (self.mask > 0).float()

    @property
    def mixture(self) -> Tensor:
        """(B,3,H,W): what will be mended, as it is without a network."""
        return weighted_sum(self.weights, self.references)

    def heaviest(self, count: int) -> RefinerInputs:
        """The same with at most `count` of the R references, those of the largest weights, which sum to 1
        again."""
        return self.taken(self.order(count)) if self.weights.shape[1] > count else self

    def order(self, count: int) -> tuple[Tensor, Tensor]:
        """Which `count` references of each frame have the largest weights, as an index (B,count) of (B,R)."""
        order = self.weights.topk(count, dim=1).indices
        return torch.arange(len(order), device=order.device)[:, None], order

    def taken(self, order: tuple[Tensor, Tensor]) -> RefinerInputs:
        """The same with these of the R references, see `order`, whose weights sum to 1 again."""
        weights = self.weights[order]
        return replace(
            self,
            references=self.references[order],
            stretch=self.stretch[order],
            weights=weights / weights.sum(1, keepdim=True),
        )


class RefinerBlock(nn.Module):
    """x + conv(act(norm(conv(act(norm(x)))))); starts as the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(GROUPS, width) for _ in range(2))
        first, last = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        nn.init.zeros_(last.weight)
        self.convs = nn.ModuleList([first, last])

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) -> the same shape."""
        hidden = self.convs[0](F.silu(self.norms[0](x)))
        return x + self.convs[1](F.silu(self.norms[1](hidden)))


class UNet(nn.Module):
    """Residual blocks on the way down and up, joined by sums: (B,widths[0],H,W) -> the same shape."""

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.before = nn.ModuleList(RefinerBlock(width) for width in widths)
        self.after = nn.ModuleList(RefinerBlock(width) for width in widths[:-1])
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairs)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)

    def forward(self, x: Tensor) -> Tensor:
        """Heights and widths are multiples of 2 to the number of levels but one."""
        kept = []
        for block, down in zip(self.before[:-1], self.down, strict=True):
            x = block(x)
            kept.append(x)
            x = down(F.silu(x))
        x = self.before[-1](x)
        for block, up, skip in zip(reversed(self.after), reversed(self.up), reversed(kept), strict=True):
            x = block(skip + F.interpolate(up(x), scale_factor=2.0, mode="nearest"))
        return x


def _see_all(config: dict[str, Any]) -> dict[str, Any]:
    """Before version 6 some saw the lips alone, and some were to be asked for by name."""
    if config.get("reach", 0.0) != 0:
        raise WeightsError(
            "a refiner of mouth and chin was required, but this one mends the lips alone, which no renderer "
            "does any more: take another model, or the renderer warp"
        )
    return {key: value for key, value in config.items() if key not in ("reach", "preferred")}


class MouthRefiner(PretrainedModel):
    """Any number of references in any order: each is encoded alike and seen beside the mean and maximum."""

    config_class = RefinerConfig
    format_version: ClassVar[int] = 6
    migrations: ClassVar[dict] = {4: dict, 5: _see_all}

    def __init__(self, config: RefinerConfig):
        super().__init__()
        self.config = config
        width, trunk, patch = config.width, config.widths[0], config.patch**2
        # Pixels of a square become channels: the network works at a part of the grid's resolution.
        self.frame_stem = nn.Conv2d(patch * 7, width, 3, padding=1)
        self.reference_stem = nn.Conv2d(patch * 4, width, 3, padding=1)
        self.reference_body = nn.Conv2d(width, width, 3, padding=1)
        # How well a reference fits the skin around the mouth tells how far to trust it inside.
        self.context = nn.Sequential(
            nn.AvgPool2d(8 // config.patch),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=2, dilation=2),
            nn.SiLU(),
            nn.Conv2d(2 * width, width, 3, padding=2, dilation=2),
            nn.Upsample(scale_factor=8.0 / config.patch, mode="nearest"),
        )
        self.join = nn.Conv2d(3 * width + patch * 3, trunk, 1)
        self.unet = UNet(config.widths)
        self.trunk_norm = nn.GroupNorm(GROUPS, trunk)
        self.trunk_head = nn.Conv2d(trunk, width, 3, padding=1)
        self.reference_head = nn.Conv2d(width, width, 3, padding=1)
        self.shares = nn.Conv2d(width, patch * 4, 3, padding=1)
        self.mend = nn.Conv2d(trunk, patch * 3, 3, padding=1)
        for layer in (self.shares, self.mend):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)

    def forward(self, inputs: RefinerInputs) -> Refinement:
        """The maps for a batch."""
        batch, count, _, height, width = inputs.references.shape
        patch = self.config.patch
        margin = (0, -width % self.config.step, 0, -height % self.config.step)
        still = F.pad(torch.cat([inputs.frame, inputs.mask, inputs.contours], dim=1), margin)
        still = self.frame_stem(F.pixel_unshuffle(still, patch))
        features = F.pad(torch.cat([inputs.references, inputs.stretch], dim=2).flatten(0, 1), margin)
        features = self.reference_stem(F.pixel_unshuffle(features, patch)).unflatten(0, (batch, count))
        features = F.silu(features + still[:, None]).flatten(0, 1)
        features = F.silu(self.reference_body(features)).unflatten(0, (batch, count))
        mean = weighted_sum(inputs.weights.to(features.dtype), features)
        mixture = F.pad(inputs.mixture, margin)
        most = reduce(torch.maximum, features.unbind(1))
        x = torch.cat([mean, most, F.silu(still), F.pixel_unshuffle(mixture, patch)], dim=1)
        x = F.silu(self.trunk_norm(self.unet(self.join(x))))
        features = features.flatten(0, 1)
        hidden = (self.reference_head(features) + self.context(features)).unflatten(0, (batch, count))
        hidden = F.silu(hidden + self.trunk_head(x)[:, None]).flatten(0, 1)
        mixing = F.pixel_shuffle(self.shares(hidden), patch).unflatten(0, (batch, count))
        mixing = mixing[..., :height, :width].float()
        mend = F.pixel_shuffle(self.mend(x), patch)[..., :height, :width].float()
        # The weights of the choice are the prior: a reference that fades out over time fades out here.
        prior = inputs.weights.clamp_min(1e-6).log()[:, :, None, None]
        return Refinement(
            coarse=(mixing[:, :, 0] + prior).softmax(1),
            fine=(mixing[:, :, 1] + prior).softmax(1),
            # Beside each other, or each is a step of its own: 5 ms a frame.
            flow=self.config.flow * mixing[:, :, 2:].contiguous().tanh(),
            residual=mend,
        )


def weighted_sum(weights: Tensor, pictures: Tensor) -> Tensor:
    """By weights (B,R) of pictures (B,R,C,H,W): (B,C,H,W)."""
    # One by one: over a dimension that is not the innermost PyTorch sums, on a CPU, three times as slowly.
    shares = weights[..., None, None, None].unbind(1)
    return reduce(torch.add, (share * one for share, one in zip(shares, pictures.unbind(1), strict=True)))
