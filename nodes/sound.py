"""AUDIO <-> the core's speech."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..mytalk_core.errors import MediaError
from ..mytalk_core.media.audio import Speech


def to_speech(audio: Mapping | None) -> Speech:
    """AUDIO {"waveform": (B,C,T) -1..1, "sample_rate": Hz} as speech; of a batch the first.

    A waveform without a batch, or without channels too, is one sound; samples that are whole numbers are PCM
    of their type. Raises MediaError for none, as of a video without sound, ValueError for what is no AUDIO.
    """
    sounds, sample_rate = parts_of(audio)
    if len(sounds) == 0:
        raise MediaError("sound was required, but the linked node gave none: link one that has sound")
    waveform = sounds[0].cpu()
    if not waveform.is_floating_point():
        # Of an unsigned type silence is the middle.
        kind = torch.iinfo(waveform.dtype)
        half = (kind.max - kind.min + 1) / 2
        waveform = (waveform - (half + kind.min)) / half
    return Speech.from_waveform(waveform.float().numpy(), int(sample_rate))


def parts_of(audio: Mapping | None) -> tuple[torch.Tensor, Any]:
    """An AUDIO's waveform (B,C,T), B 0 for None, and sample rate; raises ValueError for what is no AUDIO."""
    if audio is None:
        return torch.empty(0, 1, 0), 0
    try:
        waveform, sample_rate = torch.as_tensor(audio["waveform"]), audio["sample_rate"]
    except (KeyError, TypeError):
        arrived = f"a {type(audio).__name__}"
        if isinstance(audio, Mapping):
            arrived += f" of {', '.join(map(str, audio)) or 'nothing'}"
        raise ValueError(
            f"an AUDIO of waveform and sample_rate was required, but {arrived} arrived: link a "
            "node that gives sound"
        ) from None
    return waveform[(None,) * (3 - waveform.ndim)], sample_rate


def of_several(audio: Mapping | None) -> list[str]:
    """A line for the user where a batch holds more sounds than the one that is taken."""
    sounds, _ = parts_of(audio)
    if len(sounds) < 2:
        return []
    return [f"the first of the batch's {len(sounds)} sounds is taken: a list runs the node once for each"]


def sound_of(audio: Mapping | None) -> Speech | None:
    """The sound of a video's parts as speech, None where it has no samples."""
    return to_speech(audio) if audio and parts_of(audio)[0].numel() else None


def to_audio(speech: Speech) -> dict:
    """Speech as AUDIO, its own rate and channels."""
    return {"waveform": torch.from_numpy(speech.waveform)[None], "sample_rate": speech.sample_rate}
