"""Blend several warped references into one picture without losing its grain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

SPLIT = 1.0  # units: coarser structure is averaged over the references, finer comes mostly from the best


class Mixing(Protocol):
    """How the references of one frame become one picture."""

    def moved(self, coordinates: np.ndarray, rank: int) -> np.ndarray:
        """Where the pixels come from in the reference of that rank: float32 (h, w, 2), given where the mesh
        says so."""
        ...

    def mixed(self, pictures: list[np.ndarray]) -> np.ndarray:
        """The references' pictures, R of float32 (h, w, 3) levels, as one."""
        ...


@dataclass(frozen=True)
class Blend:
    """The same weights (R,) everywhere, see `blend`; references stay where the mesh moved them."""

    weights: np.ndarray
    detail: float
    sigma: float

    def moved(self, coordinates: np.ndarray, rank: int) -> np.ndarray:
        """See `Mixing.moved`."""
        return coordinates

    def mixed(self, pictures: list[np.ndarray]) -> np.ndarray:
        """See `Mixing.mixed`."""
        return blend(pictures, self.weights, self.detail, self.sigma)


def blend(pictures: list[np.ndarray], weights: np.ndarray, detail: float, sigma: float) -> np.ndarray:
    """Weighted mean of pictures, whose fine structure leans on the heaviest one.

    Plain averaging lowers the error but smears teeth and skin; taking all from one keeps it crisp but
    follows every error of it. Above `sigma` the weights are used as given, below it they are raised to the
    power `detail`.

    Args:
        pictures: R arrays float32 (h, w, 3).
        weights: float (R,), sum 1.
        detail: 1 for a plain mean; larger for crisper.
        sigma: pixels; where coarse ends and fine begins.

    Returns:
        float32 (h, w, 3).
    """
    if len(pictures) == 1:
        return pictures[0]
    mean = _weighted(pictures, weights)
    if detail == 1:
        return mean
    raised = weights**detail
    crisp = _weighted(pictures, raised / raised.sum())
    return crisp + _soft(mean - crisp, sigma)


def _weighted(pictures: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    total = pictures[0] * np.float32(weights[0])
    for picture, weight in zip(pictures[1:], weights[1:], strict=True):
        total += picture * np.float32(weight)
    return total


def _soft(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma)
