"""Blend several warped references into one picture without losing its grain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

SPLIT = 1.0  # units: coarser structure is averaged over the references, finer comes mostly from the best
# Power of coarse structure's weights between the lips, where half of teeth over half of a tongue are grey.
CLEAR = 2.0


class Mixing(Protocol):
    """How the references of one frame become one picture."""

    def moved(self, coordinates: np.ndarray, rank: int) -> np.ndarray:
        """Where the picture's pixels come from in the reference of that rank, of where the mesh says that
        they do: float32 (h, w, 2)."""
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
    inner: np.ndarray | None = None

    def moved(self, coordinates: np.ndarray, rank: int) -> np.ndarray:
        """See `Mixing.moved`."""
        return coordinates

    def mixed(self, pictures: list[np.ndarray]) -> np.ndarray:
        """See `Mixing.mixed`."""
        return blend(pictures, self.weights, self.detail, self.sigma, self.inner)


def blend(
    pictures: list[np.ndarray],
    weights: np.ndarray,
    detail: float,
    sigma: float,
    inner: np.ndarray | None = None,
) -> np.ndarray:
    """Weighted mean of pictures, whose fine structure leans on the heaviest one.

    Plain averaging lowers the error but smears teeth and skin; taking all from one keeps it crisp but
    follows every error of it. Above `sigma` the weights are used as given, or between the lips raised to the
    power CLEAR, below it they are raised to the power `detail`.

    Args:
        pictures: R arrays float32 (h, w, 3).
        weights: float (R,), sum 1.
        detail: 1 for a plain mean; larger for crisper.
        sigma: pixels; where coarse ends and fine begins.
        inner: float32 (h, w) 0..1, how far each pixel is between the lips; None for none.

    Returns:
        float32 (h, w, 3).
    """
    if len(pictures) == 1:
        return pictures[0]
    mean = weighted_mean(pictures, weights)
    if detail == 1:
        return mean
    if inner is not None and inner.any():
        left, top, width, height = cv2.boundingRect((inner > 0).astype(np.uint8))
        part = slice(top, top + height), slice(left, left + width)
        clear = weighted_mean([picture[part] for picture in pictures], fine_weights(weights, CLEAR))
        mean[part] += inner[part][..., None] * (clear - mean[part])
    return recombined(mean, weighted_mean(pictures, fine_weights(weights, detail)), sigma)


def fine_weights(weights: np.ndarray, detail: float) -> np.ndarray:
    """Weights (R,) of fine structure, sum 1, 0 where they were; see `blend`."""
    # Of the heaviest, which stays 1: a high power of all would be none.
    raised = (weights / weights.max()) ** detail * (weights > 0)
    return raised / raised.sum()


def recombined(coarse: np.ndarray, fine: np.ndarray, sigma: float) -> np.ndarray:
    """What is coarser than sigma pixels of one picture float32 (h, w, 3) and what is finer of another."""
    return fine + cv2.GaussianBlur(coarse - fine, (0, 0), sigma)


def weighted_mean(pictures: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """R pictures (h, w, 3) by weights (R,)."""
    total = pictures[0] * np.float32(weights[0])
    for picture, weight in zip(pictures[1:], weights[1:], strict=True):
        total += picture * np.float32(weight)
    return total
