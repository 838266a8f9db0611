"""Curves over time without what is quick in them."""

from __future__ import annotations

import numpy as np


def smoothed(curve: np.ndarray, deviation: float) -> np.ndarray:
    """The mean of a curve (F,) about every moment, by a normal distribution of so many of its steps; its ends
    are taken to go on."""
    reach = int(3 * deviation)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    return np.convolve(np.pad(curve, reach, "edge"), weights / weights.sum(), "valid")
