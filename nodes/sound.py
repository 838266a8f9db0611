"""AUDIO <-> the core's speech."""

from __future__ import annotations

import torch

from ..mytalk_core.media.audio import Speech


def to_speech(audio: dict) -> Speech:
    """AUDIO {"waveform": (B,C,T) -1..1, "sample_rate": Hz} as speech; of a batch the first."""
    return Speech.from_waveform(audio["waveform"][0].float().cpu().numpy(), int(audio["sample_rate"]))


def to_audio(speech: Speech) -> dict:
    """Speech as AUDIO, its own rate and channels."""
    return {"waveform": torch.from_numpy(speech.waveform)[None], "sample_rate": speech.sample_rate}
