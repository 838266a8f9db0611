"""Parameters and floating-point operations of a preset's models, on the meta device: nothing is allocated."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..appearance.networks.discriminator import PatchDiscriminator
from ..appearance.networks.generator import AppearanceGenerator
from ..appearance.networks.perceptual import PerceptualConfig, PerceptualDistance
from ..motion.denoiser import MotionDenoiser
from ..motion.identity import ArcFaceHead, IdentityExtractor
from .preset import Preset


@dataclass(frozen=True)
class Component:
    """A row of the table: its parameters, and the size a publication prints for it, "" where none."""

    name: str
    parameters: int
    published: str = ""

    @property
    def agrees(self) -> bool | None:
        """Whether the size, printed alike, is the published one; None where there is none."""
        return summarise(self.parameters) == self.published if self.published else None


@dataclass(frozen=True)
class Sizes:
    """components; total: their sum; flops: by name, of one motion window and one frame (2 a multiply-add)."""

    components: tuple[Component, ...]
    total: Component
    flops: dict[str, float]


def summarise(parameters: int) -> str:
    """As Tables 9 and 10 print: one decimal below 100, none (truncated) above, two for billions."""
    if parameters < 1000:
        return str(parameters)
    if parameters >= 1e9:
        return f"{parameters / 1e9:.2f}B"
    value, letter = (parameters / 1e6, "M") if parameters >= 1e6 else (parameters / 1e3, "K")
    return f"{int(value)}{letter}" if value >= 100 else f"{value:.1f}{letter}"


def measure(preset: Preset) -> Sizes:
    """Count everything in a preset; the loss networks count where the preset has an appearance model."""
    with torch.device("meta"):
        denoiser = MotionDenoiser(preset.motion).eval()
        identity = nn.ModuleList([IdentityExtractor(preset.identity)])
        if preset.people:
            identity.append(ArcFaceHead(preset.identity.embedding, preset.people))
        modules: dict[str, nn.Module] = {
            "audio encoder": denoiser.audio_encoder,
            "audio downsample": denoiser.downsample,
            "identity extractor": identity,
            "conformer backbone": denoiser.backbone,
        }
        flops = _motion_flops(preset, denoiser)
        if preset.appearance is not None:
            generator = AppearanceGenerator(preset.appearance).eval()
            modules |= _appearance_modules(generator)
            flops |= _appearance_flops(generator)
        if preset.discriminator is not None:
            networks = [PatchDiscriminator(preset.discriminator), PerceptualDistance(PerceptualConfig())]
            modules["discriminator"] = nn.ModuleList(networks)
    components = tuple(
        Component(name, _count(module), preset.published.get(name, "")) for name, module in modules.items()
    )
    total = Component("total", sum(part.parameters for part in components), preset.published.get("total", ""))
    return Sizes(components, total, flops)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _appearance_modules(generator: AppearanceGenerator) -> dict[str, nn.Module]:
    named = {
        "lip appearance encoder": generator.lip_encoder,
        "non-lip appearance encoder": generator.non_lip_encoder,
        "landmark encoder": generator.landmark_encoder,
        "fusion net": generator.fusion,
        "appearance quant. conv.": generator.appearance_quant,
        "landmark quant. conv.": generator.landmark_quant,
        "appearance-landmark quant. conv.": generator.joint_quant,
        "post-quant. conv.": generator.post_quant,
        "decoder": generator.decoder,
    }
    return {name: module for name, module in named.items() if module is not None}


@torch.no_grad()
def _motion_flops(preset: Preset, denoiser: MotionDenoiser) -> dict[str, float]:
    config, frames = preset.motion, preset.sampling.window
    features = torch.empty(1, 2 * frames, len(config.speech_layers), config.speech_width)
    with FlopCounterMode(display=False) as speech_counter:
        speech = denoiser.encode_speech(features)
    with FlopCounterMode(display=False) as step_counter:
        denoiser(
            torch.empty(1, frames, config.lower),
            torch.empty(1),
            speech,
            torch.empty(1, frames, config.upper),
            torch.empty(1, 1, config.identity_width),
        )
    once, step = speech_counter.get_total_flops(), step_counter.get_total_flops()
    whole = once + preset.sampling.steps * step
    return {"window: speech": once, "window: a sampling step": step, "window: all": whole}


@torch.no_grad()
def _appearance_flops(generator: AppearanceGenerator) -> dict[str, float]:
    config = generator.config

    def pictures(*shape: int) -> Tensor:
        return torch.empty(*shape, 3, config.size, config.size)

    with FlopCounterMode(display=False) as once:
        references = generator.encode_references(pictures(1, config.reference_count))
    with FlopCounterMode(display=False) as frame:
        generator(references, pictures(1), pictures(1))
    return {"references: once": once.get_total_flops(), "frame: references cached": frame.get_total_flops()}
