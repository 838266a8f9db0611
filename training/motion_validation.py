"""Figures of a motion model on clips kept from training."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mytalk_core.motion.denoiser import MotionDenoiser
from mytalk_core.motion.diffusion import PROCESSES, sample_dpmpp_2m
from mytalk_core.motion.identity import IdentityExtractor, describe_person
from mytalk_core.motion.person import mouth_opening
from mytalk_core.motion.space import LandmarkSpace

from .motion_data import RawClip


@torch.no_grad()
def validate(
    denoiser: MotionDenoiser,
    space: LandmarkSpace,
    identity: IdentityExtractor,
    clips: list[tuple[RawClip, Tensor]],
    temperatures: tuple[float, ...] = (0.0, 0.5, 1.0),
) -> dict[str, float]:
    """Mean Pearson r of the mouth opening, generated against real, for each noise temperature.

    clips: raw clips and their features (2F,L,Ds); sampled in one window by 8 steps of DPM-Solver++.
    """
    denoiser.eval()
    device = next(denoiser.parameters()).device
    figures: dict[str, list[float]] = {}
    for clip, features in clips:
        frames = min(500, len(clip.displacement))
        real = mouth_opening(clip.rest + clip.displacement[:frames] * _width(clip))
        speech = denoiser.encode_speech(features[None, : 2 * frames].to(device))
        upper = space.encode_upper(clip.displacement[:frames])[None]
        rest = torch.from_numpy(clip.rest[None, :, :2]).to(device)
        token = describe_person(denoiser.config.conditioning, identity, rest)[:, None]
        noise = torch.randn(1, frames, space.config.lower, generator=torch.Generator().manual_seed(0))
        for temperature in temperatures:
            x0 = _sample(denoiser, noise.to(device) * temperature, speech, upper, token)[0]
            moved = mouth_opening(clip.rest + space.decode_lower(x0) * _width(clip))
            figures.setdefault(f"r@{temperature}", []).append(np.corrcoef(real, moved)[0, 1])
            figures.setdefault(f"spread@{temperature}", []).append(moved.std() / real.std())
    return {key: round(float(np.mean(values)), 4) for key, values in figures.items()}


def _width(clip: RawClip) -> float:
    return float(np.linalg.norm(clip.rest[61] - clip.rest[291]))


def _sample(denoiser: MotionDenoiser, noise: Tensor, speech: Tensor, upper: Tensor, token: Tensor) -> Tensor:
    diffusion = PROCESSES[denoiser.config.process]()

    def denoise(x: Tensor, t: float) -> Tensor:
        return denoiser(x, torch.full((len(x),), t), speech, upper, token)

    return sample_dpmpp_2m(denoise, diffusion.start(noise), diffusion, diffusion.timesteps(8))
