"""Speech features that are computed once and kept on disk: for variants of a run, and for resumed ones."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from mytalk_core.files import replacing
from mytalk_core.speech.features import SpeechEncoder


class KeptFeatures:
    """A speech encoder that keeps what it has encoded in a folder, which others may share; float16, as
    training holds it."""

    def __init__(self, encoder: SpeechEncoder, folder: Path) -> None:
        self._encoder = encoder
        self._folder = folder
        self.dim, self.layers = encoder.dim, encoder.layers
        folder.mkdir(parents=True, exist_ok=True)

    def encode(self, speech: Tensor, count: int) -> Tensor:
        """Speech (S,) at 16 kHz -> features (count,L,Ds)."""
        # Another encoder's of the same speech may have the same shape.
        digest = hashlib.sha256(f"{self._encoder.sha256} {self.layers}".encode())
        digest.update(speech.numpy().tobytes())
        path = self._folder / f"{digest.hexdigest()[:24]}-{count}.safetensors"
        if not path.exists():
            features = self._encoder.encode(speech, count).half().contiguous()
            # Processes of one run may write the same features at once.
            with replacing(path) as temporary:
                save_file({"features": features}, temporary)
        return load_file(path)["features"].to(torch.float32)


Encoder = SpeechEncoder | KeptFeatures


def keeping(folder: Path | None, encoder: SpeechEncoder) -> Encoder:
    """An encoder that keeps what it encodes in a folder; None keeps nothing."""
    return encoder if folder is None else KeptFeatures(encoder, folder)
