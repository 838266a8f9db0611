"""Curves over time without what is quick in them."""

from __future__ import annotations

import numpy as np


def smoothed(curve: np.ndarray, deviation: float) -> np.ndarray:
    """The mean of a curve (F,...) about every moment, by a normal distribution of so many of its steps; its
    ends are taken to go on."""
    reach = int(np.ceil(3 * deviation))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    padded = np.pad(curve, [(reach, reach), *[(0, 0)] * (curve.ndim - 1)], "edge")
    mean = np.zeros_like(curve)
    for start, weight in enumerate(weights / weights.sum()):
        mean += float(weight) * padded[start : start + len(curve)]
    return mean
