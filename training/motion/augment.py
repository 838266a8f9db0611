"""Changes to speech that leave the lips as they are, and changes of tempo that move both."""

from __future__ import annotations

import numpy as np
import torch
import torchaudio.functional as AF  # noqa: N812
from torch import Tensor

from mytalk_core.media.audio import MODEL_RATE_HZ
from mytalk_core.speech.features import SAMPLES_PER_FRAME

LONGEST_HIDDEN = 25  # features at 50 Hz
IN_A_ROOM = 0.2  # share of the voices that reverberate


def vary_voice(speech: Tensor, generator: torch.Generator) -> Tensor:
    """Another loudness, tone and room noise: speech (S,) at 16 kHz -> (S,)."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    out = speech * 10 ** (uniform(-12, 3) / 20)
    out = AF.equalizer_biquad(out, MODEL_RATE_HZ, uniform(200, 1000), uniform(-8, 8), 0.7)
    out = AF.equalizer_biquad(out, MODEL_RATE_HZ, uniform(1500, 6000), uniform(-10, 8), 0.7)
    if uniform(0, 1) < IN_A_ROOM:
        out = reverberated(out, uniform(0.1, 0.5), uniform(0.1, 0.6), generator)
    noise = torch.randn(speech.shape, generator=generator) * 10 ** (uniform(-70, -35) / 20)
    return (out + noise).clamp(-1, 1)


def reverberated(speech: Tensor, decay_s: float, strength: float, generator: torch.Generator) -> Tensor:
    """Speech (S,) in a room: with itself convolved with noise that has fallen by 60 dB after decay_s, whose
    energy is strength squared, (S,)."""
    time = torch.arange(1, round(decay_s * MODEL_RATE_HZ)) / MODEL_RATE_HZ
    tail = torch.randn(len(time), generator=generator) * 10 ** (-3 * time / decay_s)
    room = torch.cat([torch.ones(1), strength * tail / tail.norm()])
    return AF.fftconvolve(speech, room)[: len(speech)]


def hidden_spans(length: int, spans: int, generator: torch.Generator) -> Tensor:
    """Which of `length` speech features at 50 Hz are hidden, (T,) bool: `spans` stretches, each of up to
    0.5 s (SpecAugment, Park et al. 2019)."""
    first, count = (
        torch.rand(spans, 2, generator=generator).mul(torch.tensor([length, LONGEST_HIDDEN + 1])).long().T
    )
    position, first = torch.arange(length), first[:, None]
    return ((position >= first) & (position < first + count[:, None])).any(0)


def hide(features: Tensor, hidden: Tensor) -> Tensor:
    """Speech features (...,T,L,Ds) whose mean stands where `hidden` (...,T) is set: what was said there is to
    be told from what is around."""
    return torch.where(hidden[..., None, None], features.mean(-3, keepdim=True), features)


def change_tempo(speech: Tensor, displacement: np.ndarray, rate: float) -> tuple[Tensor, np.ndarray]:
    """Play sound (S,) and movement (F,N,3) `rate` times as fast; the voice's pitch follows."""
    faster = AF.resample(speech, round(MODEL_RATE_HZ * rate), MODEL_RATE_HZ)
    frames = min(int(len(displacement) / rate), len(faster) // SAMPLES_PER_FRAME)
    position = np.arange(frames) * rate
    left = np.minimum(position.astype(int), len(displacement) - 1)
    right, share = np.minimum(left + 1, len(displacement) - 1), (position % 1)[:, None, None]
    moved = displacement[left] * (1 - share) + displacement[right] * share
    return faster[: frames * SAMPLES_PER_FRAME], moved.astype(np.float32)
