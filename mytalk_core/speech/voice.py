"""Silero's voice detector: how likely somebody speaks or sings, by pieces of 32 ms.

Source: Silero Team, "Silero VAD", 2021 to 2026, https://github.com/snakers4/silero-vad, version 6.2; the
weights are theirs, converted (MIT).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ..checkpoint.pretrained import BUNDLED

# Each piece is heard with the end of the one before it.
PIECE, BEFORE = 512, 64
# Pieces that go through the network together, about 30 s: memory does not grow with the speech.
BLOCK_PIECES = 1000


class VoiceDetector(nn.Module):
    """The network: a spectrum, four convolutions that make one vector of a piece, an LSTM over the pieces.

    forward: pieces (n,576) in -1..1 at 16 kHz, the state that the last call returned -> probability (n,) of a
    voice, state.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = nn.Conv1d(1, 258, 256, 128, bias=False)
        widths = (129, 128, 64, 64, 128)
        self.encoder = nn.ModuleList(
            nn.Conv1d(before, after, 3, stride, padding=1)
            for (before, after), stride in zip(pairwise(widths), (1, 2, 2, 1), strict=True)
        )
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.output = nn.Linear(128, 1)

    def forward(
        self, pieces: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        real, imaginary = self.spectrum(F.pad(pieces[:, None], (0, 64), mode="reflect")).chunk(2, dim=1)
        x = (real.square() + imaginary.square()).sqrt()
        for layer in self.encoder:
            x = layer(x).relu()
        x, state = self.lstm(x[None, :, :, 0], state)
        return self.output(x[0].relu())[:, 0].sigmoid(), state

    @torch.no_grad()
    def probabilities(self, mono_16k: np.ndarray) -> np.ndarray:
        """Probability float32 (P,) of a voice in each 32 ms of speech (S,), -1..1 at 16 kHz."""
        count = -(-len(mono_16k) // PIECE)
        parts, state = [], None
        for first in range(0, count, BLOCK_PIECES):
            stop = min(first + BLOCK_PIECES, count)
            begin, end = first * PIECE - BEFORE, stop * PIECE
            heard = torch.from_numpy(mono_16k[max(begin, 0) : end].astype(np.float32))
            heard = F.pad(heard, (max(-begin, 0), end - max(begin, 0) - len(heard)))
            part, state = self(heard.unfold(0, BEFORE + PIECE, PIECE), state)
            parts.append(part)
        return torch.cat(parts).numpy() if parts else np.zeros(0, np.float32)


@lru_cache(maxsize=1)
def load_voice_detector() -> VoiceDetector:
    """The bundled detector, on the CPU, where it takes 6 ms a second of speech."""
    detector = VoiceDetector()
    detector.load_state_dict(load_file(BUNDLED / "voice" / "detector.safetensors"))
    return detector.eval().requires_grad_(False)
