"""The refiner: a small network that mixes, bends and mends warped references into one mouth.

It goes beyond the paper's generator (section 3.4), which has to invent the lips: references that are already
warped to the target's landmarks need only be chosen pixel by pixel, nudged into place and corrected in light.
It reads one sample a canonical unit; its maps are enlarged to the source's own resolution and applied to the
references' own pixels there, so teeth and skin keep the sharpness of the source. What no reference shows, as
the teeth of a source that never opens its mouth, a second network makes (`Inventor`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoint.pretrained import PretrainedModel
from .mask import INNER, LIPS, smooth_step
from .reading import read_at

GROUPS = 8
REMADE = 0.4  # a correction of this size leaves nothing of the mixture but its coarse structure
MOUTH = (64, 96)  # height and width in units of what an `Inventor` sees
# Octaves by which the references are stretched between the lips: nothing is invented up to the first of them,
# where their own teeth are sharper, and all is from the second on.
BORROWED, INVENTED = 0.3, 1.0
NEAR, SOFT = 9, 5  # it changes nothing farther from the lips than half of these widths together, units


@dataclass(frozen=True)
class RefinerConfig:
    """Sizes: `width` of a reference's features, `widths` of the U-Net at 1/2, 1/4, ... of the grid.

    landmark_layout: whose contours it reads; flow: the farthest that a pixel is nudged, units; preferred:
    whether the renderer `auto` takes it before `warp`, for weights that a table shows to do better; inventor:
    widths of the `Inventor` at 1/2, 1/4, ... of its window, none where there is none.
    """

    landmark_layout: str = "mesh478"
    width: int = 24
    widths: tuple[int, ...] = (64, 96, 128, 160)
    flow: float = 4.0
    preferred: bool = False
    inventor: tuple[int, ...] = ()

    @property
    def step(self) -> int:
        """Grids are padded to multiples of this."""
        return 2 ** max(3, len(self.widths))

    @property
    def invents(self) -> bool:
        """Whether it makes what no reference shows: no dark filling is needed then."""
        return len(self.inventor) > 0


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
    def mixture(self) -> Tensor:
        """(B,3,H,W): what will be mended, as it is without a network."""
        return (self.weights[:, :, None, None, None] * self.references).sum(1)


@dataclass(frozen=True)
class Refinement:
    """Maps on the unit grid.

    coarse, fine (B,R,H,W): weights of the references in coarse and fine structure, each sums to 1 over R;
    flow (B,2,H,W): how far beside each pixel their mixture is read, units (x, y); kept (B,1,H,W) in 0..1: how
    much of the mixture stays; residual (B,3,H,W): added after.
    """

    coarse: Tensor
    fine: Tensor
    flow: Tensor
    kept: Tensor
    residual: Tensor


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


class Inventor(nn.Module):
    """Makes the inside of a mouth from its surroundings, its contours and what the references have."""

    CHANNELS = 14  # of `inventor_view`

    def __init__(self, widths: tuple[int, ...]):
        super().__init__()
        self.stem = nn.Conv2d(4 * self.CHANNELS, widths[0], 3, padding=1)
        self.unet = UNet(widths)
        self.norm = nn.GroupNorm(GROUPS, widths[0])
        self.head = nn.Conv2d(widths[0], 4 * 3, 3, padding=1)
        for parameter in self.head.parameters():
            nn.init.zeros_(parameter)

    def forward(self, seen: Tensor) -> Tensor:
        """seen (B,CHANNELS,*MOUTH) of `inventor_view` -> (B,3,*MOUTH), what must be added to its mixture."""
        x = self.unet(self.stem(F.pixel_unshuffle(seen, 2)))
        x = F.pixel_shuffle(self.head(F.silu(self.norm(x))), 2).float()
        near = (seen[:, 9:11].sum(1, keepdim=True) > 0).float()
        near = F.max_pool2d(near, NEAR, stride=1, padding=NEAR // 2)
        return x * F.avg_pool2d(near, SOFT, stride=1, padding=SOFT // 2)


def inventor_view(inputs: RefinerInputs) -> Tensor:
    """What an `Inventor` sees, on the whole grid: (B,14,H,W).

    The mixture 3, the reference of most weight 3, contours 3, lips and what is between them 2, the mask 1,
    the stretch of that reference and of the mixture 2.
    """
    first = inputs.weights.argmax(1)
    rows = torch.arange(len(first), device=first.device)
    weights = inputs.weights[:, :, None, None, None]
    parts = [
        inputs.mixture,
        inputs.references[rows, first],
        inputs.contours,
        inputs.lips == LIPS,
        inputs.lips == INNER,
        inputs.mask,
        inputs.stretch[rows, first],
        (weights * inputs.stretch).sum(1),
    ]
    return torch.cat([part.to(inputs.mask.dtype) for part in parts], dim=1)


def invented(inventor: Inventor, inputs: RefinerInputs) -> Tensor:
    """What an inventor adds to the mixture, (B,3,H,W) on the whole grid; 0 outside its window, and where the
    references show what is wanted."""
    height, width = inputs.mask.shape[-2:]
    margin = (0, max(0, MOUTH[1] - width), 0, max(0, MOUTH[0] - height))
    lips = F.pad(inputs.lips, margin)
    corners = mouth_corners(lips)
    added = inventor(cut_mouths(F.pad(inventor_view(inputs), margin), corners))
    whole = added.new_zeros(len(added), 3, *lips.shape[-2:])
    for row, (top, left) in enumerate(corners.tolist()):
        whole[row, :, top : top + MOUTH[0], left : left + MOUTH[1]] = added[row]
    return needed(inputs) * whole[..., :height, :width]


def needed(inputs: RefinerInputs) -> Tensor:
    """How much of a mouth no reference shows, (B,1,1,1) in 0..1: they are stretched between the lips."""
    between = inputs.lips == INNER
    stretch = (inputs.weights[:, :, None, None, None] * inputs.stretch).sum(1)
    octaves = -(stretch * between).sum((1, 2, 3)) / between.sum((1, 2, 3)).clamp(min=1)
    return smooth_step((octaves - BORROWED) / (INVENTED - BORROWED))[:, None, None, None]


def mouth_corners(lips: Tensor) -> Tensor:
    """Top and left, int64 (B,2), of the window MOUTH about lips (B,1,H,W), on the grid; without lips, the
    middle."""
    corners = []
    for own in lips[:, 0] > 0:
        sides = []
        for places, size in zip((own.any(1), own.any(0)), MOUTH, strict=True):
            found = places.nonzero()
            middle = float(found.float().mean()) + 0.5 if len(found) else len(places) / 2
            sides.append(max(0, min(round(middle - size / 2), len(places) - size)))
        corners.append(sides)
    return torch.tensor(corners)


def cut_mouths(maps: Tensor, corners: Tensor) -> Tensor:
    """The windows MOUTH of maps (B,C,H,W): (B,C,*MOUTH)."""
    pairs = zip(maps, corners.tolist(), strict=True)
    return torch.stack([own[:, top : top + MOUTH[0], left : left + MOUTH[1]] for own, (top, left) in pairs])


class MouthRefiner(PretrainedModel):
    """Any number of references in any order: each is encoded alike and seen beside the mean and maximum."""

    config_class = RefinerConfig
    format_version: ClassVar[int] = 2
    migrations: ClassVar[dict[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
        1: lambda config: config | {"inventor": []}
    }

    def __init__(self, config: RefinerConfig):
        super().__init__()
        self.config = config
        width, trunk = config.width, config.widths[0]
        # Two by two pixels become channels: the network works at half the grid's resolution.
        self.frame_stem = nn.Conv2d(4 * 7, width, 3, padding=1)
        self.reference_stem = nn.Conv2d(4 * 4, width, 3, padding=1)
        self.reference_body = nn.Conv2d(width, width, 3, padding=1)
        # How well a reference fits the skin around the mouth tells how far to trust it inside.
        self.context = nn.Sequential(
            nn.AvgPool2d(4),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=2, dilation=2),
            nn.SiLU(),
            nn.Conv2d(2 * width, width, 3, padding=2, dilation=2),
            nn.Upsample(scale_factor=4.0, mode="nearest"),
        )
        self.join = nn.Conv2d(3 * width + 4 * 3, trunk, 1)
        self.unet = UNet(config.widths)
        self.trunk_norm = nn.GroupNorm(GROUPS, trunk)
        self.trunk_head = nn.Conv2d(trunk, width, 3, padding=1)
        self.reference_head = nn.Conv2d(width, width, 3, padding=1)
        self.shares = nn.Conv2d(width, 4 * 2, 3, padding=1)
        self.mend = nn.Conv2d(trunk, 4 * 5, 3, padding=1)
        for layer in (self.shares, self.mend):
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        if config.invents:
            self.inventor = Inventor(config.inventor)

    def forward(self, inputs: RefinerInputs) -> Refinement:
        """The maps for a batch."""
        batch, count, _, height, width = inputs.references.shape
        margin = (0, -width % self.config.step, 0, -height % self.config.step)
        still = F.pad(torch.cat([inputs.frame, inputs.mask, inputs.contours], dim=1), margin)
        still = self.frame_stem(F.pixel_unshuffle(still, 2))
        features = F.pad(torch.cat([inputs.references, inputs.stretch], dim=2).flatten(0, 1), margin)
        features = self.reference_stem(F.pixel_unshuffle(features, 2)).unflatten(0, (batch, count))
        features = F.silu(features + still[:, None]).flatten(0, 1)
        features = F.silu(self.reference_body(features)).unflatten(0, (batch, count))
        weights = inputs.weights.to(features.dtype)[:, :, None, None, None]
        mean = (weights * features).sum(1)
        mixture = F.pad(inputs.mixture, margin)
        x = torch.cat([mean, features.amax(1), F.silu(still), F.pixel_unshuffle(mixture, 2)], dim=1)
        x = F.silu(self.trunk_norm(self.unet(self.join(x))))
        features = features.flatten(0, 1)
        hidden = (self.reference_head(features) + self.context(features)).unflatten(0, (batch, count))
        hidden = F.silu(hidden + self.trunk_head(x)[:, None]).flatten(0, 1)
        mixing = F.pixel_shuffle(self.shares(hidden), 2).unflatten(0, (batch, count))
        mixing = mixing[..., :height, :width].float()
        mend = F.pixel_shuffle(self.mend(x), 2)[..., :height, :width].float()
        # The weights of the choice are the prior: a reference that fades out over time fades out here.
        prior = inputs.weights.clamp_min(1e-6).log()[:, :, None, None]
        kept, residual = torch.ones_like(mend[:, :1]), mend[:, 2:]
        if self.config.invents:
            added = invented(self.inventor, inputs)
            # The references' fine structure would show through what is made, as stripes of lip across teeth.
            kept = 1 - (_soft(added.abs().mean(1, keepdim=True), 1.0) / REMADE).clamp(max=1)
            residual = kept * residual + (1 - kept) * inputs.mixture + added
        return Refinement(
            coarse=(mixing[:, :, 0] + prior).softmax(1),
            fine=(mixing[:, :, 1] + prior).softmax(1),
            flow=self.config.flow * mend[:, :2].tanh(),
            kept=kept,
            residual=residual,
        )


def mix(references: Tensor, refinement: Refinement, split_px: float, scale: float = 1.0) -> Tensor:
    """References (B,R,3,H,W) in [-1,1] and their maps -> pictures (B,3,H,W).

    The maps are on the references' own grid (see `enlarged`); split_px: where coarse structure ends and fine
    begins, pixels; scale: pixels a unit.
    """
    # Sums and no einsum: a product of matrices for every pixel is slow, in bfloat16 on CPUs beyond measure.
    fine = (refinement.fine[:, :, None] * references).sum(1)
    coarse = (refinement.coarse[:, :, None] * references).sum(1)
    # Blurring is linear and the weights are smooth: blur the difference of the two mixtures, once.
    mixture = fine + _soft(coarse - fine, split_px)
    return refinement.kept * _nudged(mixture, refinement.flow * scale) + refinement.residual


def crisp(refinement: Refinement, detail: float) -> Refinement:
    """Let fine structure lean on the reference with the largest weight; detail: 1 leaves it as it is."""
    fine = refinement.fine**detail
    return replace(refinement, fine=fine / fine.sum(1, keepdim=True))


def enlarged(refinement: Refinement, size: tuple[int, int]) -> Refinement:
    """The maps bilinearly on a grid of size (H,W) that covers the same area."""

    def enlarge(maps: Tensor) -> Tensor:
        return F.interpolate(maps, size=size, mode="bilinear")

    return Refinement(
        enlarge(refinement.coarse),
        enlarge(refinement.fine),
        enlarge(refinement.flow),
        enlarge(refinement.kept),
        enlarge(refinement.residual),
    )


def _nudged(pictures: Tensor, flow: Tensor) -> Tensor:
    """Pictures (B,3,H,W) read flow (B,2,H,W) pixels (x, y) beside each pixel."""
    height, width = pictures.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)[None] + flow[:, 0]
    return read_at(pictures, torch.stack([x, y], dim=1))


def _soft(pictures: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur of pictures (B,C,H,W)."""
    reach = max(1, round(3 * sigma_px))
    taps = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    kernel = torch.exp(-0.5 * (taps / sigma_px) ** 2)
    kernel = (kernel / kernel.sum()).expand(pictures.shape[1], 1, -1)
    padded = F.pad(pictures, (reach, reach, reach, reach), mode="replicate")
    across = F.conv2d(padded, kernel[:, :, None, :], groups=pictures.shape[1])
    return F.conv2d(across, kernel[:, :, :, None], groups=pictures.shape[1])
