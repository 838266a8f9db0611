"""When lips meet in speech: on p, b and m, in whatever language.

The motion model is a mean over what mouths do, and on these sounds the mean stays ajar. A small network on
the layers of Whisper's encoder that the motion model reads anyway says how sure it is of such a sound, by
moment. `mytalk_training.speech.train_closures` made it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ..checkpoint.pretrained import BUNDLED
from .features import SpeechEncoder, SpeechFeatures

LAYERS = (0, 2, 3, 4)
WIDTH, KERNEL = 24, 5
# Features beyond a piece's ends that its sounds are told by, and features that go through together.
AROUND = 2 * (KERNEL // 2)
BLOCK = 500
WEIGHTS = BUNDLED / "voice" / "closures.safetensors"


class ClosureHead(nn.Module):
    """features (F,L,D) of the encoder -> logits (F,) of a sound on which lips meet."""

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(len(LAYERS) * dim))
        self.register_buffer("scale", torch.ones(len(LAYERS) * dim))
        self.narrow = nn.Linear(len(LAYERS) * dim, WIDTH)
        self.around = nn.Conv1d(WIDTH, WIDTH, KERNEL, padding=KERNEL // 2)
        self.output = nn.Conv1d(WIDTH, 1, KERNEL, padding=KERNEL // 2)

    def forward(self, features: Tensor) -> Tensor:
        x = self.narrow((features.flatten(-2) - self.mean) * self.scale)
        x = torch.nn.functional.gelu(x).transpose(-1, -2)
        x = torch.nn.functional.gelu(self.around(x))
        return self.output(x).squeeze(-2)


class ClosureDetector:
    """The head, and the encoder that it was made for, on the CPU. sha256: of that encoder's weights."""

    def __init__(self, head: ClosureHead, sha256: str) -> None:
        self.head, self.sha256 = head, sha256

    def probabilities(self, features: SpeechFeatures) -> np.ndarray:
        """How surely lips meet, float32 (F,) in 0..1, by feature of speech whose features are read anyway.

        Where another encoder made them, or not these layers, the bundled one reads the speech again.
        """
        encoder = features.encoder
        if encoder.sha256 != self.sha256 or not set(LAYERS) <= set(encoder.layers):
            features = SpeechFeatures(_bundled_encoder(), features.waveform, len(features))
            encoder = features.encoder
        layers = [encoder.layers.index(layer) for layer in LAYERS]
        parts = []
        for start in range(0, len(features), BLOCK):
            first, stop = max(0, start - AROUND), min(len(features), start + BLOCK)
            window = features.window(first, min(len(features), stop + AROUND))[:, layers].float().cpu()
            with torch.no_grad():
                parts.append(self.head(window).sigmoid()[start - first : stop - first])
        return torch.cat(parts).numpy()


@lru_cache(maxsize=1)
def load_closure_detector() -> ClosureDetector:
    """The bundled detector."""
    with safe_open(WEIGHTS, "pt") as file:
        sha256 = file.metadata()["encoder"]
    tensors = load_file(WEIGHTS)
    head = ClosureHead(len(tensors["mean"]) // len(LAYERS))
    head.load_state_dict(tensors)
    return ClosureDetector(head.eval().requires_grad_(False), sha256)


@lru_cache(maxsize=1)
def _bundled_encoder() -> SpeechEncoder:
    return SpeechEncoder.from_pretrained("mini", layers=LAYERS)
