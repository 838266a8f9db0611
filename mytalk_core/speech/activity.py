"""Where there is sound at all: the mouth rests where there is none."""

from __future__ import annotations

import numpy as np

from .features import SAMPLES_PER_FRAME

# Below this level, in dB of full scale, a frame is silence: far under any room's noise.
SILENCE_DB = -58.0
# Lips move this many frames before a sound begins and after it ends (about 80 ms), then ease in and out.
LEAD_FRAMES, EASE_FRAMES = 2, 2


def speech_presence(mono_16k: np.ndarray, frames: int) -> np.ndarray:
    """How far the mouth may leave its rest, by motion frame at 25 Hz.

    mono_16k: (S,) in -1..1 at 16 kHz, taken as silent behind its end. Returns (frames,) float32 in 0..1:
    1 in and around sound, falling to 0 within 160 ms of silence.
    """
    padded = np.zeros((frames + 1) * SAMPLES_PER_FRAME, np.float32)
    count = min(len(mono_16k), len(padded) - SAMPLES_PER_FRAME // 2)
    # Motion frame j is the moment j / 25 s: its 40 ms of sound lie around it.
    padded[SAMPLES_PER_FRAME // 2 : SAMPLES_PER_FRAME // 2 + count] = mono_16k[:count]
    blocks = padded[: frames * SAMPLES_PER_FRAME].reshape(frames, SAMPLES_PER_FRAME)
    level_db = 10 * np.log10(np.square(blocks).mean(1) + 1e-12)
    sounding = (level_db > SILENCE_DB).astype(np.float32)
    reach = LEAD_FRAMES + EASE_FRAMES
    weights = np.clip((reach + 1 - np.abs(np.arange(-reach, reach + 1))) / (EASE_FRAMES + 1), 0, 1)
    shifted = np.pad(sounding, reach)
    return np.stack([w * shifted[i : i + frames] for i, w in enumerate(weights)]).max(0).astype(np.float32)
