"""Where somebody speaks: the mouth rests where nobody does.

The gate knows no level of its own: it compares each moment with the loudest and the quietest of the same
sound, so that a quiet recording moves the lips and a steady noise does not.
"""

from __future__ import annotations

import numpy as np

from .features import SAMPLES_PER_FRAME

# Where voices have their power, Hz: hum and rumble lie below, hiss above.
BAND_HZ = (150.0, 4000.0)
RATE_HZ = 16_000
# Below this, in dB of full scale, there is nothing but the rounding of 16-bit samples.
NOTHING_DB = -96.0
# The level of speech and of what lies behind it: quantiles over the frames in which there is anything.
SPEECH_QUANTILE, FLOOR_QUANTILE = 0.95, 0.1
# A frame so far below the speech is silent, dB; one near the floor is too.
BELOW_SPEECH_DB, ABOVE_FLOOR_DB = 45.0, 6.0
# Who speaks without a pause shows no floor: only where the quiet frames between these quantiles are so much
# alike is it a noise that goes on behind the speech, and may be near to it; else far is far enough.
QUIET_QUANTILES, ALIKE_DB = (0.05, 0.2), 3.0
NEAREST_FLOOR_DB, FARTHER_DB = 10.0, 30.0
# Once somebody speaks, the gate stays open for this much less.
HYSTERESIS_DB = 4.0
# Within a sentence people do not close their lips at every gap, and the motion model has heard it: a shorter
# silence between speech is no silence (0.6 s).
PAUSE_FRAMES = 15
# Speech rises and falls; what stays within so many dB for half a second and more is a noise or a tone.
STEADY_DB, STEADY_FRAMES = 6.0, 13
# Lips move this many frames before speech begins and after it ends, and ease in and out over so many more:
# they rest from 120 ms behind its end on.
LEAD_FRAMES, LEAD_EASE_FRAMES = 2, 2
TAIL_FRAMES, TAIL_EASE_FRAMES = 1, 1


def speech_presence(mono_16k: np.ndarray, frames: int) -> np.ndarray:
    """How far the mouth may leave its rest, by motion frame at 25 Hz.

    mono_16k: (S,) in -1..1 at 16 kHz, taken as silent behind its end. Returns (frames,) float32 in 0..1:
    1 in and around speech, 0 from 120 ms behind its end; pauses under 0.6 s belong to it.
    """
    speaking = speech_frames(mono_16k, frames).astype(np.float32)
    before = _ramp(LEAD_FRAMES, LEAD_EASE_FRAMES)
    after = _ramp(TAIL_FRAMES, TAIL_EASE_FRAMES)
    # What is spoken at frame i reaches back to i - len(before) + 1 and on to i + len(after) - 1.
    weights = np.concatenate([after[:0:-1], before])
    padded = np.pad(speaking, (len(after) - 1, len(before) - 1))
    return np.stack([w * padded[i : i + frames] for i, w in enumerate(weights)]).max(0).astype(np.float32)


def speech_frames(mono_16k: np.ndarray, frames: int) -> np.ndarray:
    """In which motion frames (frames,) somebody speaks, bool; arguments as for `speech_presence`."""
    level_db = band_level_db(mono_16k, frames)
    audible = level_db > NOTHING_DB
    if not audible.any():
        return audible
    speech_db, floor_db = np.quantile(level_db[audible], (SPEECH_QUANTILE, FLOOR_QUANTILE))
    if speech_db - floor_db < STEADY_DB and audible.sum() >= STEADY_FRAMES:
        return np.zeros(frames, bool)
    low, high = np.quantile(level_db[audible], QUIET_QUANTILES)
    nearest_db = NEAREST_FLOOR_DB if high - low < ALIKE_DB else FARTHER_DB
    near_floor = min(floor_db + ABOVE_FLOOR_DB, speech_db - nearest_db)
    opens_db = max(speech_db - BELOW_SPEECH_DB, near_floor, NOTHING_DB)
    speaking = _hysteresis(level_db > opens_db, level_db > max(opens_db - HYSTERESIS_DB, NOTHING_DB))
    return _without_gaps(speaking, PAUSE_FRAMES)


def band_level_db(mono_16k: np.ndarray, frames: int) -> np.ndarray:
    """Level of the voices' band by motion frame (frames,), dB of full scale; arguments as above."""
    padded = np.zeros((frames + 1) * SAMPLES_PER_FRAME, np.float32)
    count = min(len(mono_16k), len(padded) - SAMPLES_PER_FRAME // 2)
    # Motion frame j is the moment j / 25 s: its 40 ms of sound lie around it.
    padded[SAMPLES_PER_FRAME // 2 : SAMPLES_PER_FRAME // 2 + count] = mono_16k[:count]
    blocks = padded[: frames * SAMPLES_PER_FRAME].reshape(frames, SAMPLES_PER_FRAME)
    window = np.hanning(SAMPLES_PER_FRAME).astype(np.float32)
    hz = np.fft.rfftfreq(SAMPLES_PER_FRAME, 1 / RATE_HZ)
    inside = (hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])
    power = np.square(np.abs(np.fft.rfft(blocks * window, axis=1)[:, inside])).sum(1)
    # By Parseval: the mean square of the block that has these bins and their mirror images.
    mean_square = 2 * power / (SAMPLES_PER_FRAME * np.square(window).sum())
    return 10 * np.log10(mean_square + 1e-12)


def _hysteresis(opens: np.ndarray, stays: np.ndarray) -> np.ndarray:
    """Runs of `stays` (F,) that have an `opens` in them."""
    run = np.cumsum(np.diff(stays, prepend=False) & stays) * stays
    return stays & np.isin(run, np.unique(run[opens & stays]))


def _without_gaps(speaking: np.ndarray, shortest: int) -> np.ndarray:
    """Runs of False between two of True filled where they have fewer frames than `shortest`."""
    rows = np.flatnonzero(speaking)
    filled = speaking.copy()
    for first, last in zip(rows[:-1], rows[1:], strict=True):
        if last - first <= shortest:
            filled[first:last] = True
    return filled


def _ramp(full: int, ease: int) -> np.ndarray:
    """1 up to `full` frames away, then falling: 0 is behind its end."""
    distance = np.arange(full + ease + 1)
    return np.clip((full + ease + 1 - distance) / (ease + 1), 0, 1)
