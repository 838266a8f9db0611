"""Sample motion for speech of any length: overlapping windows walked together, joined in x0 at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from ..speech.features import SpeechFeatures
from .denoiser import MotionDenoiser
from .diffusion import SAMPLERS, GaussianDiffusion

# (start, stop) in motion frames -> encoded speech (stop - start, C)
SpeechProvider = Callable[[int, int], Tensor]


@dataclass(frozen=True)
class WindowPlan:
    """Equal windows over F frames and the weight of each of their frames in the joint result.

    starts (W,): first frame of each; length: frames of each; weight float32 (W, length), whose sum is 1 at
    every frame.
    """

    starts: tuple[int, ...]
    length: int
    weight: Tensor

    def cut(self, x: Tensor) -> Tensor:
        """(F, C) -> (W, length, C)."""
        return torch.stack([x[start : start + self.length] for start in self.starts])

    def join(self, parts: Tensor, frames: int) -> Tensor:
        """(W, length, C) -> (F, C), overlaps cross-faded."""
        joined = parts.new_zeros(frames, parts.shape[-1])
        weight = self.weight.to(parts)
        for start, part, share in zip(self.starts, parts, weight, strict=True):
            joined[start : start + self.length] += part * share[:, None]
        return joined


def plan_windows(frames: int, window: int, overlap: int) -> WindowPlan:
    """Cover `frames` with windows every `window - overlap`; the last one ends with the last frame.

    Fewer frames than `window` make one shorter window.
    """
    if frames < 1 or not 0 <= overlap < window:
        raise ValueError(f"need frames >= 1 and 0 <= overlap < window; got {frames}, {overlap}, {window}")
    length = min(frames, window)
    starts = [*range(0, frames - length, window - overlap), frames - length]
    ramp = torch.ones(length)
    if overlap:
        rise = ((torch.arange(length) + 0.5) / overlap).clamp(max=1.0)
        ramp = torch.minimum(rise, rise.flip(0))
    total = torch.zeros(frames)
    for start in starts:
        total[start : start + length] += ramp
    weight = torch.stack([ramp / total[start : start + length] for start in starts])
    return WindowPlan(tuple(starts), length, weight)


class EncodedSpeech:
    """Encoded speech, window by window: speech encoder, then the denoiser's own; nothing longer is held."""

    def __init__(self, denoiser: MotionDenoiser, features: SpeechFeatures):
        self._denoiser = denoiser
        self._features = features
        self.frames = len(features) // 2

    @torch.no_grad()
    def __call__(self, start: int, stop: int) -> Tensor:
        """Motion frames start ... stop -> (stop - start, C)."""
        parameter = next(self._denoiser.parameters())
        window = self._features.window(2 * start, 2 * stop).to(parameter)
        return self._denoiser.encode_speech(window[None])[0]


@torch.no_grad()
def sample_motion(
    denoiser: MotionDenoiser,
    diffusion: GaussianDiffusion,
    speech: Tensor | SpeechProvider,
    upper: Tensor,
    identity: Tensor,
    *,
    steps: int = 10,
    guidance: float = 1.0,
    sampler: str = "dpmpp_2m",
    seed: int = 0,
    temperature: float = 1.0,
    window: int = 250,
    overlap: int = 50,
    batch_windows: int = 8,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Generate the lower face for given speech, upper face and identity.

    speech: encoded speech (F, C), or a function of (start, stop) in frames such as `EncodedSpeech`, called
    once a window; upper (F, U); identity (K, Di). guidance: 1 follows the model, more follows the speech
    harder (x0 = free + guidance (given - free), free being the prediction without speech) at twice the work.
    sampler: "dpmpp_2m", "ddim" or "ddpm". All windows share x_t, whose noise is drawn a frame at a time from
    `seed` on the CPU and scaled by `temperature` (1 samples the model's distribution, less stays nearer to
    its most likely motion; "ddpm" draws more noise on its way, unscaled): the same seed gives the same motion
    whatever `batch_windows` is, up to rounding.
    progress(done, total) is called after every window of speech that was encoded and every batch of windows
    that was sampled; what it raises ends the sampling.

    Returns x0 (F, D) float32 on the denoiser's device.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}; got {sampler!r}")
    parameter = next(denoiser.parameters())
    frames = upper.shape[0]
    windows = plan_windows(frames, window, overlap)
    if isinstance(speech, Tensor) and len(speech) != frames:
        raise ValueError(f"speech and upper face must have the same frames; got {len(speech)} and {frames}")
    provider = (lambda start, stop: speech[start:stop]) if isinstance(speech, Tensor) else speech
    timesteps = diffusion.timesteps(steps)
    batches = range(0, len(windows.starts), batch_windows)
    done, total = count(1), len(windows.starts) + len(batches) * len(timesteps)

    def advance() -> None:
        if progress:
            progress(next(done), total)

    parts = []
    for start in windows.starts:
        parts.append(provider(start, start + windows.length))
        advance()
    spoken = torch.stack(parts).to(parameter)
    upper_parts = windows.cut(upper.to(parameter))
    identity = identity.to(parameter)[None]

    def denoise(x: Tensor, t: float) -> Tensor:
        x_parts, x0_parts = windows.cut(x), []
        for first in batches:
            rows = slice(first, first + batch_windows)
            x0_parts.append(
                _guided(denoiser, x_parts[rows], t, spoken[rows], upper_parts[rows], identity, guidance)
            )
            advance()
        return windows.join(torch.cat(x0_parts), frames)

    generator = torch.Generator().manual_seed(seed)
    noise = temperature * torch.randn(frames, denoiser.config.lower, generator=generator)
    noisy = diffusion.start(noise.to(parameter.device))
    return SAMPLERS[sampler](denoise, noisy, diffusion, timesteps, generator)


def _guided(
    denoiser: MotionDenoiser,
    x: Tensor,
    t: float,
    speech: Tensor,
    upper: Tensor,
    identity: Tensor,
    guidance: float,
) -> Tensor:
    """One guided prediction for a batch of windows: x (B, n, D), speech (B, n, C), upper (B, n, U).

    The walk itself stays in float32 whatever the denoiser's dtype.
    """
    batch = x.shape[0]
    x = x.to(speech.dtype)
    time = torch.full((batch,), t, device=x.device)
    identity = identity.expand(batch, -1, -1)
    given = denoiser(x, time, speech, upper, identity)
    if guidance == 1.0:
        return given.float()
    free = denoiser(x, time, torch.zeros_like(speech), upper, identity)
    return torch.lerp(free.float(), given.float(), guidance)
