"""Losses of the appearance model (eq. 8 and 9) and of its discriminator."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mytalk_core.appearance.networks.discriminator import PatchDiscriminator
from mytalk_core.appearance.networks.generator import Generated
from mytalk_core.appearance.networks.perceptual import PerceptualDistance


@dataclass(frozen=True)
class AppearanceLossWeights:
    """What each term of the loss counts.

    kl, discriminator: Table 9's; perceptual: counts only where a network for it is given; mouth: of what
    is made anew, beside the L1 of the whole picture; temporal: of the difference of neighbouring frames.
    """

    kl: float = 1e-6
    discriminator: float = 0.5
    perceptual: float = 1.0
    mouth: float = 0.0
    temporal: float = 0.0


class LossNetwork(nn.Module):
    """Table 9's "Discriminator": PatchGAN and LPIPS-VGG16, 17,481,793 parameters at their defaults."""

    def __init__(self, discriminator: PatchDiscriminator, perceptual: PerceptualDistance | None = None):
        super().__init__()
        self.discriminator = discriminator
        self.perceptual = perceptual


def generator_loss(
    generated: Generated,
    truth: Tensor,
    networks: LossNetwork,
    weights: AppearanceLossWeights,
    last_layer: Tensor,
    adversarial: bool = True,
    mask: Tensor | None = None,
    window: int = 1,
) -> dict[str, Tensor]:
    """The terms of eq. 9 for the generator, and their weighted sum, `total`.

    truth (B,3,H,W) in [-1,1]; last_layer: the decoder's last weight, on which the adversarial gradient is
    scaled to the reconstruction's (Esser et al. 2021, eq. 7); adversarial: off until the generator has warmed
    up; mask (B,H,W) in 0..1, how new each pixel is, for the mouth's term; window: so many of the B pictures
    in a row are neighbouring frames.

    The KL weight is for sums over pixels, of which all terms here are means.
    """
    frames = generated.frames
    terms = {"l1": (frames - truth).abs().mean()}
    reconstruction = terms["l1"]
    if networks.perceptual is not None:
        terms["perceptual"] = networks.perceptual(frames, truth).mean()
        reconstruction = reconstruction + weights.perceptual * terms["perceptual"]
    if weights.mouth:
        if mask is None:
            raise ValueError("the mouth's term needs a mask; none was given")
        terms["mouth"] = _inside(frames - truth, mask)
        reconstruction = reconstruction + weights.mouth * terms["mouth"]
    if weights.temporal:
        terms["temporal"] = (frames - truth).unflatten(0, (-1, window)).diff(dim=1).abs().mean()
        reconstruction = reconstruction + weights.temporal * terms["temporal"]
    terms["kl"] = (generated.appearance.kl() + generated.motion.kl()).mean() / truth[0].numel()
    total = reconstruction + weights.kl * terms["kl"]
    if adversarial:
        terms["adversarial"] = -networks.discriminator(frames).mean()
        scale = _adaptive_weight(reconstruction, terms["adversarial"], last_layer)
        total = total + weights.discriminator * scale * terms["adversarial"]
    return terms | {"total": total}


def _inside(error: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute error (B,3,H,W) where mask (B,H,W) is, each picture counting alike."""
    mask = mask[:, None]
    inside = (error.abs() * mask).mean(dim=(1, 2, 3)) / mask.mean(dim=(1, 2, 3)).clamp_min(1e-3)
    return inside.mean()


def _adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    wanted = torch.autograd.grad(reconstruction, last_layer, retain_graph=True)[0].norm()
    found = torch.autograd.grad(adversarial, last_layer, retain_graph=True)[0].norm()
    return (wanted / (found + 1e-4)).clamp(0.0, 1e4).detach()


def discriminator_loss(discriminator: PatchDiscriminator, real: Tensor, generated: Tensor) -> Tensor:
    """Hinge loss of real and generated pictures (B,3,H,W): the stable form of eq. 8 (Lim & Ye 2017)."""
    margin = F.relu(1.0 - discriminator(real)).mean() + F.relu(1.0 + discriminator(generated.detach())).mean()
    return 0.5 * margin


class DiscriminatorLoss(nn.Module):
    """The discriminator and its loss, which looks at real and generated pictures in one forward pass."""

    def __init__(self, discriminator: PatchDiscriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, pictures: Tensor, generated: Tensor | None = None) -> Tensor:
        """Logits (B,1,h,w) of pictures (B,3,H,W); or, with generated ones to tell from these, the loss."""
        if generated is None:
            return self.discriminator(pictures).float()
        return discriminator_loss(self.discriminator, pictures, generated).float()
