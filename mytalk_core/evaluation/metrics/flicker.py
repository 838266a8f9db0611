"""Temporal flicker: does the picture jump from frame to frame more, or less, than the real video does?"""

from __future__ import annotations

import numpy as np

from .pictures import luminance


def unrest(before: np.ndarray, now: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far a picture leaves the mean of its neighbours in time: uint8 (H,W,3) each -> levels (H,W).

    Steady movement cancels to first order; what comes and goes within a frame does not.
    """
    x, y, z = (luminance(picture).astype(np.float32) for picture in (before, now, after))
    return np.abs(y - (x + z) / 2)


def flicker(unrest_levels: list[float], reference_levels: list[float]) -> float | None:
    """How far the mean unrest of a clip is from the real video's, in levels; None without frames.

    More unrest is flicker, less is a picture smoothed over time; both are wrong, 0 is ideal. The means of
    whole clips are compared, so the lips need not speak the same words.
    """
    if not unrest_levels:
        return None
    return float(abs(np.mean(unrest_levels) - np.mean(reference_levels)))
