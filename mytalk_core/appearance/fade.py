"""Fades from and to white or black, and haze: how much of a face's contrast is left, and how dark it gets.

Eyes and nose tell it, beside what they are in most of a shot's frames. A frame in the midst of a fade stays
as it is and lends no lips, which would be pale or dark elsewhere; before that nothing new is darker than the
veil of light over the face, the inside of a mouth neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .references import References

# Where eyes and nose lie in the canonical square, shares of its side: top, bottom, left, right.
EYES = (0.3125, 0.625, 0.1875, 0.8125)
SAMPLES = 32  # rows and columns of that part that are asked
DARKEST = 0.05  # quantile of the samples
CLEAR = 0.7  # quantile of a shot's contrasts that is usual; of its darkest levels it is the rest
# Shares of the usual contrast: from the first down a fade begins, at the second it is all there is. Of 1,500
# frames of 60 clips without a fade none has less than 0.64.
FADED = (0.55, 0.35)
# Levels above the usual up to which the darkest is as the light has it, and from which on it is a veil.
VEILED = (32.0, 64.0)


@dataclass(frozen=True, eq=False)
class Light:
    """How light and dark eyes and nose are, levels. darkest: float32 (K, 3); brightness, contrast: float32
    (K,), mean and deviation."""

    darkest: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray

    @classmethod
    def of(cls, crops: np.ndarray) -> Light:
        """In crops uint8 (K, S, S, 3)."""
        top, bottom, left, right = (round(share * crops.shape[1]) for share in EYES)
        rows, columns = (
            np.linspace(*ends, SAMPLES).astype(int) for ends in ((top, bottom - 1), (left, right - 1))
        )
        samples = crops[:, rows[:, None], columns].reshape(len(crops), -1, 3)
        darkest = np.quantile(samples, DARKEST, axis=1) if len(crops) else np.empty((0, 3))
        grey = samples.mean(2, dtype=np.float32)
        return cls(darkest.astype(np.float32), grey.mean(1), grey.std(1))


def expected_brightness(references: References, frames: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """How bright frames (T,) of the references' clip are, as those that lie next in the shot (T,) tell: float
    (T,) levels, NaN where a shot has none."""
    brightness, expected = Light.of(references.crops).brightness, np.full(len(frames), np.nan)
    for shot in np.unique(references.shots):
        own, of = references.shots == shot, shots == shot
        expected[of] = np.interp(frames[of], references.frame_index[own], brightness[own])
    return expected


class UsualLight:
    """A person's `Light` without a fade, shot by shot."""

    def __init__(self, crops: np.ndarray, shots: np.ndarray) -> None:
        """crops: uint8 (K, S, S, 3), K at least 1; shots: int (K,), their numbers."""
        light = Light.of(crops)
        self._of_shots = {int(shot): self._usual(light, shots == shot) for shot in np.unique(shots)}
        self._of_all = self._usual(light, np.ones(len(crops), bool))

    def faded(self, crops: np.ndarray, shots: np.ndarray) -> np.ndarray:
        """How far crops uint8 (K, S, S, 3) of these shots (K,) have faded: float32 (K,), 0..1."""
        usual = np.array([self._of_shots.get(int(shot), self._of_all)[1] for shot in shots], np.float32)
        begun, gone = FADED
        share = Light.of(crops).contrast / np.maximum(usual, 1e-6)
        return np.clip((begun - share) / (begun - gone), 0, 1)

    def veil(self, crop: np.ndarray) -> np.ndarray:
        """What no new pixel of a crop uint8 (S, S, 3) may be darker than, levels float32 (3,); 0 without a
        veil."""
        own, (least, most) = Light.of(crop[None]).darkest[0], VEILED
        return own * np.float32(
            np.clip((float((own - self._of_all[0]).mean()) - least) / (most - least), 0, 1)
        )

    @staticmethod
    def _usual(light: Light, which: np.ndarray) -> tuple[np.ndarray, float]:
        darkest = np.quantile(light.darkest[which], 1 - CLEAR, axis=0)
        return darkest.astype(np.float32), float(np.quantile(light.contrast[which], CLEAR))
