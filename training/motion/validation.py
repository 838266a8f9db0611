"""A motion model on clips kept from training: what it makes of their speech, and figures of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mytalk_core.evaluation.metrics.lips import velocity_distance
from mytalk_core.motion.denoiser import MotionDenoiser
from mytalk_core.motion.diffusion import PROCESSES, sample_dpmpp_2m
from mytalk_core.motion.identity import IdentityExtractor, describe_person
from mytalk_core.motion.person import interocular, opening_ratio
from mytalk_core.motion.space import LandmarkSpace

from .data import RawClip


def validate(
    denoiser: MotionDenoiser,
    space: LandmarkSpace,
    identity: IdentityExtractor,
    clips: list[tuple[RawClip, Tensor]],
    temperatures: tuple[float, ...] = (0.0, 0.5, 1.0),
) -> dict[str, float]:
    """For each noise temperature, means over the clips: Pearson's r of the mouth opening, generated against
    real; spread, its deviation over the real one's; velocity, as in `velocity_distance`.

    clips: raw clips and their features (2F,L,Ds); sampled in one window by 8 steps of DPM-Solver++.
    """
    points = space.lower_points
    figures: dict[str, list[float]] = {}
    for clip, features in clips:
        frames = min(500, len(clip.displacement))
        truth = clip.rest + clip.displacement[:frames] * clip.mouth_width
        real, unit = opening_ratio(truth), float(interocular(clip.rest[:, :2]))
        made = sample_clip(denoiser, space, identity, clip, features[: 2 * frames], temperatures)
        for temperature, displacement in zip(temperatures, made, strict=True):
            guess = clip.rest + displacement * clip.mouth_width
            moved = opening_ratio(guess)
            figures.setdefault(f"r@{temperature}", []).append(np.corrcoef(real, moved)[0, 1])
            figures.setdefault(f"spread@{temperature}", []).append(moved.std() / real.std())
            velocity = velocity_distance(truth[:, points, :2], guess[:, points, :2], unit)
            figures.setdefault(f"velocity@{temperature}", []).append(velocity.mean())
    return {key: round(float(np.mean(values)), 4) for key, values in figures.items()}


@torch.no_grad()
def sample_clip(
    denoiser: MotionDenoiser,
    space: LandmarkSpace,
    identity: IdentityExtractor,
    clip: RawClip,
    features: Tensor,
    temperatures: tuple[float, ...],
) -> list[np.ndarray]:
    """Displacements (F,N,3), in mouth widths, for features (2F,L,Ds) of a clip's beginning.

    One for each noise temperature; zero on points that are not generated.
    """
    denoiser.eval()
    device, frames = next(denoiser.parameters()).device, len(features) // 2
    speech = denoiser.encode_speech(features[None].to(device))
    upper = space.encode_upper(clip.displacement[:frames])[None]
    rest = torch.from_numpy(clip.rest[None, :, :2]).to(device)
    token = describe_person(denoiser.config.conditioning, identity, rest)[:, None]
    noise = torch.randn(1, frames, space.config.lower, generator=torch.Generator().manual_seed(0)).to(device)
    return [
        space.decode_lower(_sample(denoiser, noise * temperature, speech, upper, token)[0])
        for temperature in temperatures
    ]


def _sample(denoiser: MotionDenoiser, noise: Tensor, speech: Tensor, upper: Tensor, token: Tensor) -> Tensor:
    diffusion = PROCESSES[denoiser.config.process]()

    def denoise(x: Tensor, t: float) -> Tensor:
        return denoiser(x, torch.full((len(x),), t, device=x.device), speech, upper, token)

    return sample_dpmpp_2m(denoise, diffusion.start(noise), diffusion, diffusion.timesteps(8))
