"""Whether somebody sings over music, where the voice detector, which was made for speech, is not sure.

Whisper's encoder, which the motion model reads anyway, tells words from instruments: a linear head on the
mean and the deviation of its last layer over half a second. `mytalk_training.speech.train_singing` made it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..checkpoint.pretrained import BUNDLED
from .features import FEATURES_PER_FRAME, SpeechEncoder

LAYER = 4
# Motion frames that are looked at together, half a second.
AROUND_FRAMES = 13


class SingingHead(nn.Module):
    """features (F,D) of `pooled` -> logit (F,) of a voice that speaks or sings."""

    mean: Tensor
    scale: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(2 * width))
        self.register_buffer("scale", torch.ones(2 * width))
        self.linear = nn.Linear(2 * width, 1)

    def forward(self, features: Tensor) -> Tensor:
        return self.linear((features - self.mean) * self.scale)[:, 0]


def pooled(features: Tensor) -> Tensor:
    """Whisper's features (2F,D) at 50 Hz -> their mean and deviation about every motion frame (F,2D)."""
    frames = features.unflatten(0, (-1, FEATURES_PER_FRAME)).mean(1).T[None]
    reach = AROUND_FRAMES // 2
    padded = F.pad(frames, (reach, reach), mode="replicate")
    mean = F.avg_pool1d(padded, AROUND_FRAMES, 1)
    deviation = (F.avg_pool1d(padded.square(), AROUND_FRAMES, 1) - mean.square()).clamp_min(0).sqrt()
    return torch.cat([mean, deviation], 1)[0].T


class SingingDetector:
    """The head with the bundled encoder, on the CPU."""

    def __init__(self, encoder: SpeechEncoder, head: SingingHead) -> None:
        self.encoder, self.head = encoder, head

    @torch.no_grad()
    def probabilities(self, mono_16k: np.ndarray, frames: int) -> np.ndarray:
        """Probability (frames,) of a voice by motion frame of speech (S,), -1..1 at 16 kHz."""
        features = self.encoder.encode(mono_16k, FEATURES_PER_FRAME * frames)[:, 0]
        return self.head(pooled(features)).sigmoid().numpy()


@lru_cache(maxsize=1)
def load_singing_detector() -> SingingDetector:
    """The bundled detector."""
    encoder = SpeechEncoder.from_pretrained("mini", layers=(LAYER,))
    head = SingingHead(encoder.dim)
    head.load_state_dict(load_file(BUNDLED / "voice" / "singing.safetensors"))
    return SingingDetector(encoder, head.eval().requires_grad_(False))
