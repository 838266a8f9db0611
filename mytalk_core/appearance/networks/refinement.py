"""What the refiner says of a mouth, as maps, and what they make of its references: one picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from ..blend import CLEAR
from ..square.mask import INNER
from ..square.reading import read_at

# Levels, the most that is added between the lips where pictures are drawn: of one reference alone the network
# makes the mean of all mouths, teeth and darkness both grey, and brighter and darker from frame to frame.
ADDED = 8.0
# Units, the most that a mixture as a whole is moved there, while its references are moved onto each other.
# Their teeth have their own size already, see `mouth`; the network knows them as the mesh squeezes them, and
# would stretch them once more, ragged and aslant.
NUDGED = 0.25


@dataclass(frozen=True)
class Refinement:
    """Maps on the unit grid.

    coarse, fine (B,R,H,W): weights of the references in coarse and fine structure, each sums to 1 over R;
    flow (B,R,2,H,W): how far beside each pixel a reference is read, units (x, y) of its own, so that their
    teeth meet;
    residual (B,3,H,W): added after.
    """

    coarse: Tensor
    fine: Tensor
    flow: Tensor
    residual: Tensor


def mix(references: Tensor, refinement: Refinement, split_px: float) -> Tensor:
    """References (B,R,3,H,W) in [-1,1] on the unit grid and their maps -> pictures (B,3,H,W); split_px: see
    `mixed`."""
    moved = nudged(references.flatten(0, 1), refinement.flow.flatten(0, 1))
    return mixed(moved.view_as(references), refinement, split_px)


def mixed(references: Tensor, refinement: Refinement, split_px: float) -> Tensor:
    """References (B,R,3,H,W) in [-1,1], nudged by the flow, and maps on their grid (see `enlarged`) ->
    pictures (B,3,H,W); split_px: where coarse structure ends and fine begins, pixels."""
    # Sums and no einsum: a product of matrices for every pixel is slow, in bfloat16 on CPUs beyond measure.
    fine = (refinement.fine[:, :, None] * references).sum(1)
    coarse = (refinement.coarse[:, :, None] * references).sum(1)
    # Blurring is linear and the weights are smooth: blur the difference of the two mixtures, once.
    return fine + _soft(coarse - fine, split_px) + refinement.residual


def crisp(refinement: Refinement, detail: float, lips: Tensor | None = None) -> Refinement:
    """Let fine structure lean on the reference with the largest weight, and coarse structure a little between
    the lips, see `blend`; detail: 1 leaves both as they are; lips: see `RefinerInputs`."""
    if detail == 1:
        return refinement
    coarse = refinement.coarse
    if lips is not None:
        coarse = torch.where(lips == INNER, fine_weights(coarse, CLEAR), coarse)
    return replace(refinement, coarse=coarse, fine=fine_weights(refinement.fine, detail))


def drawn(refinement: Refinement, detail: float, lips: Tensor) -> Refinement:
    """Maps as pictures are made by them: `crisp`, and between the lips less than ADDED levels are added, and
    all references together are moved by less than NUDGED units."""
    maps, between = crisp(refinement, detail, lips), _between(lips)
    mean = (maps.coarse[:, :, None] * maps.flow).sum(1, keepdim=True)
    return replace(
        maps,
        flow=maps.flow + _bounded(mean, NUDGED, between[:, None]) - mean,
        residual=_bounded(maps.residual, ADDED / 127.5, between),
    )


def _between(lips: Tensor) -> Tensor:
    """Where it is between the lips, and less and less in two units of them: float32 (B,1,H,W), 0..1."""
    near = F.max_pool2d((lips == INNER).float(), 3, stride=1, padding=1)
    return F.avg_pool2d(near, 3, stride=1, padding=1)


def _bounded(values: Tensor, most: float, where: Tensor) -> Tensor:
    """Values, no larger than `most` as far as `where` says, 0..1."""
    return values + where * (most * torch.tanh(values / most) - values)


def fine_weights(weights: Tensor, detail: float) -> Tensor:
    """`blend.fine_weights` of weights (B,R,...)."""
    raised = (weights / weights.amax(1, keepdim=True)) ** detail * (weights > 0)
    return raised / raised.sum(1, keepdim=True)


def enlarged(refinement: Refinement, size: tuple[int, int]) -> Refinement:
    """The maps bilinearly on a grid of size (H,W) that covers the same area."""

    def enlarge(maps: Tensor) -> Tensor:
        flat = F.interpolate(maps.flatten(1, -3), size=size, mode="bilinear")
        return flat.view(*maps.shape[:-2], *size)

    return Refinement(
        enlarge(refinement.coarse),
        enlarge(refinement.fine),
        enlarge(refinement.flow),
        enlarge(refinement.residual),
    )


def nudged(pictures: Tensor, flow: Tensor) -> Tensor:
    """Pictures (B,C,H,W) read flow (B,2,H,W) pixels (x, y) beside each pixel."""
    height, width = pictures.shape[-2:]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)[None] + flow[:, 0]
    return read_at(pictures, torch.stack([x, y], dim=1))


def _soft(pictures: Tensor, sigma_px: float) -> Tensor:
    """Gaussian blur of pictures (B,C,H,W), as far as OpenCV's reaches."""
    reach = max(1, round(4 * sigma_px))
    taps = torch.arange(-reach, reach + 1, device=pictures.device, dtype=pictures.dtype)
    kernel = torch.exp(-0.5 * (taps / sigma_px) ** 2)
    kernel = (kernel / kernel.sum()).expand(pictures.shape[1], 1, -1)
    padded = F.pad(pictures, (reach, reach, reach, reach), mode="replicate")
    across = F.conv2d(padded, kernel[:, :, None, :], groups=pictures.shape[1])
    return F.conv2d(across, kernel[:, :, :, None], groups=pictures.shape[1])
