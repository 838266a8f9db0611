"""Fades from and to white or black, and haze: how much of a face's contrast is left, and how dark it gets.

Eyes and nose tell it, beside what they are in most of a shot's frames. A frame in the midst of a fade stays
as it is and lends no lips, which would be pale or dark elsewhere. Where a fade has begun, lips are drawn for
the frame as it would be without, and then fade with it. Of haze, which is no fade, nothing new is darker than
the veil of light over the face, the inside of a mouth neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

# Where eyes and nose lie in the canonical square, shares of its side: top, bottom, left, right.
EYES = (0.3125, 0.625, 0.1875, 0.8125)
SAMPLES = 32  # rows and columns of that part that are asked
DARKEST = 0.05  # quantile of the samples
CLEAR = 0.7  # quantile of a shot's contrasts that is usual; of its darkest levels it is the rest
# Shares of the usual contrast: from the first down a fade begins, at the second it is all there is. Of 1,500
# frames of 60 clips without a fade none has less than 0.64.
FADED = (0.55, 0.35)
# Shares of a picture that a fade has left: from the first down it counts, from the second wholly. Of 1,700
# frames of 45 clips without a fade none seems to have less than 0.88.
BEGUN = (0.92, 0.82)
BLACK, WHITE = 0, 255
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


@dataclass(frozen=True)
class Fade:
    """How a picture has faded. left: how much of it is, above 0 and up to 1; colour: what the rest is now,
    BLACK or WHITE."""

    left: float = 1.0
    colour: int = BLACK

    @property
    def is_none(self) -> bool:
        """Whether nothing has faded."""
        return self.left == 1

    def before(self, levels: np.ndarray) -> np.ndarray:
        """Levels as they were before it: float, of the same shape."""
        return (levels - (1 - self.left) * self.colour) / self.left

    def undone(self, picture: np.ndarray) -> np.ndarray:
        """A picture uint8 (..., 3) as it was before; itself if nothing has faded."""
        if self.is_none:
            return picture
        levels = self.before(np.arange(WHITE + 1))
        return cv2.LUT(picture, np.rint(levels).clip(BLACK, WHITE).astype(np.uint8))

    def done(self, picture: np.ndarray) -> np.ndarray:
        """A picture float32 (..., 3), levels, as it is after; itself if nothing fades."""
        if self.is_none:
            return picture
        return np.float32(self.left) * picture + np.float32((1 - self.left) * self.colour)


class UsualLight:
    """A person's `Light` without a fade, shot by shot."""

    def __init__(self, light: Light, shots: np.ndarray) -> None:
        """light: of K pictures, at least 1; shots: int (K,), their numbers."""
        self._light = light
        self._of_shots = {int(shot): self._usual(shots == shot) for shot in np.unique(shots)}
        self._of_all = self._usual(np.ones(len(shots), bool))

    def faded(self, own: Light, shots: np.ndarray) -> np.ndarray:
        """How far pictures with this light, of these shots (K,), have faded: float32 (K,), 0..1."""
        begun, gone = FADED
        share = own.contrast / np.maximum(self._usual_of(shots).contrast, 1e-6)
        return np.clip((begun - share) / (begun - gone), 0, 1)

    def fading(self, own: Light, shots: np.ndarray) -> np.ndarray:
        """Which pictures with this light, of these shots (K,), in the order of their frames, have begun to
        fade: bool (K,). What is darker may just have less light: a fade to black goes on to its midst."""
        left, white = _left(own, self._usual_of(shots))
        begun, gone = left < BEGUN[0], self.faded(own, shots) == 1
        fading, dark = begun & white, begun & ~white
        changes = (np.diff(dark) != 0) | (np.diff(shots) != 0)
        for run in np.split(np.arange(len(dark)), np.flatnonzero(changes) + 1):
            fading[run] |= dark[run] & gone[run].any()
        return fading

    def fade(self, own: Light, chosen: np.ndarray, weights: np.ndarray) -> Fade:
        """How a picture with this light, of one, has faded beside some of these: positions (R,), weights of
        sum 1."""
        usual = Light(*(weights @ values[chosen] for values in vars(self._light).values()))
        left, white = (float(one[0]) for one in _left(own, usual))
        begun, whole = BEGUN
        counts = min(max((begun - left) / (begun - whole), 0.0), 1.0)
        # Nothing can be told of what has gone.
        return Fade(1 - counts * (1 - left), WHITE if white else BLACK) if left > 0 else Fade()

    def veil(self, darkest: np.ndarray) -> np.ndarray:
        """What no new pixel may be darker than, levels float32 (3,), beside levels (3,) that are darkest; 0
        without a veil."""
        least, most = VEILED
        above = float((darkest - self._of_all.darkest).mean())
        return np.float32(np.clip((above - least) / (most - least), 0, 1)) * darkest

    def _usual(self, which: np.ndarray) -> Light:
        """Of those of a mask (K,), as one."""
        light = self._light
        darkest = np.quantile(light.darkest[which], 1 - CLEAR, axis=0).astype(np.float32)
        contrast = np.asarray(np.quantile(light.contrast[which], CLEAR))
        clear = which & (light.contrast >= FADED[0] * contrast)
        return Light(darkest, np.asarray(np.median(light.brightness[clear])), contrast)

    def _usual_of(self, shots: np.ndarray) -> Light:
        """Of crops of these shots (K,)."""
        usual = [vars(self._of_shots.get(int(shot), self._of_all)) for shot in shots]
        return Light(*(np.array([one[name] for one in usual]) for name in vars(self._light)))


def _left(light: Light, usual: Light) -> tuple[np.ndarray, np.ndarray]:
    """How much of pictures a fade has left, 0..1, and whether it is one to white: arrays of as many.

    What is left of the contrast, of the brightness and, towards white, of the darkest levels agree in a fade;
    a lamp or a turned head changes one of them, so that the most that is left counts.
    """
    white = light.brightness > usual.brightness
    contrast = light.contrast / np.maximum(usual.contrast, 1e-6)
    black = light.brightness / np.maximum(usual.brightness, 1e-6)
    pairs = (light.brightness, usual.brightness), (light.darkest.mean(-1), usual.darkest.mean(-1))
    paler = np.maximum(*((WHITE - now) / np.maximum(WHITE - before, 1e-6) for now, before in pairs))
    return np.minimum(np.maximum(contrast, np.where(white, paler, black)), 1), white
