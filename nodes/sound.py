"""AUDIO <-> the core's speech."""

from __future__ import annotations

import torch

from ..mytalk_core.errors import MediaError
from ..mytalk_core.media.audio import Speech


def to_speech(audio: dict | None) -> Speech:
    """AUDIO {"waveform": (B,C,T) -1..1, "sample_rate": Hz} as speech; of a batch the first.

    Samples that are integers are taken as such. Raises MediaError for none, as of a video without sound.
    """
    if audio is None or len(audio["waveform"]) == 0:
        raise MediaError("sound was required, but the linked node gave none: link one that has sound")
    waveform = audio["waveform"][0].cpu()
    if not waveform.is_floating_point():
        waveform = waveform / -torch.iinfo(waveform.dtype).min
    return Speech.from_waveform(waveform.float().numpy(), int(audio["sample_rate"]))


def to_audio(speech: Speech) -> dict:
    """Speech as AUDIO, its own rate and channels."""
    return {"waveform": torch.from_numpy(speech.waveform)[None], "sample_rate": speech.sample_rate}
