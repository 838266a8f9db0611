"""A part of a sound, louder or quieter."""

from __future__ import annotations

import numpy as np

from ..errors import MediaError
from .audio import Speech


def cut_speech(
    speech: Speech, start_s: float = 0.0, duration_s: float | None = None, gain_db: float = 0.0
) -> Speech:
    """The sound from start_s on, `duration_s` seconds of it (to its end where None), scaled by `gain_db`.

    Raises: ValueError for a start or a length below 0, MediaError where nothing is left.
    """
    if start_s < 0 or (duration_s or 0) < 0:
        raise ValueError(
            f"a part from 0 s on and of 0 s or more was required, but one of {duration_s} s from {start_s:g} "
            "s on arrived"
        )
    if start_s == 0 and duration_s is None and gain_db == 0:
        return speech
    first = round(start_s * speech.sample_rate)
    last = speech.samples if duration_s is None else first + round(duration_s * speech.sample_rate)
    waveform = speech.waveform[:, first:last] * np.float32(10 ** (gain_db / 20))
    if waveform.shape[1] == 0:
        raise MediaError(
            f"a part with sound in it was required, but the sound lasts {speech.duration_s:.2f} s and the "
            f"part begins at {start_s:.2f} s: begin earlier"
        )
    return Speech.from_waveform(waveform, speech.sample_rate, speech.layout)
