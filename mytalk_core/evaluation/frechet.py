"""The Fréchet distance of two sets of features: FID on pictures (Heusel et al. 2017), FVD on videos."""

from __future__ import annotations

import numpy as np


class Moments:
    """Mean and covariance of features (D,) that come one batch at a time; nothing else is kept."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: np.ndarray | None = None
        self._outer: np.ndarray | None = None

    def add(self, features: np.ndarray) -> None:
        """Count features (n,D) in."""
        rows = features.astype(np.float64)
        if self._sum is None:
            self._sum = np.zeros(rows.shape[1])
            self._outer = np.zeros((rows.shape[1], rows.shape[1]))
        self.count += len(rows)
        self._sum += rows.sum(0)
        self._outer += rows.T @ rows

    @property
    def mean(self) -> np.ndarray:
        """(D,)."""
        return self._sum / self.count

    @property
    def covariance(self) -> np.ndarray:
        """(D,D), divided by n - 1."""
        return (self._outer - self.count * np.outer(self.mean, self.mean)) / (self.count - 1)


def frechet_distance(one: Moments, other: Moments) -> float | None:
    """|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), 0 for equal sets; None for fewer than two features.

    The root's trace is that of the symmetric (R C2 R)^(1/2) with R = C1^(1/2): real for any rank.
    """
    if min(one.count, other.count) < 2:
        return None
    first, second = one.covariance, other.covariance
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    shared = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    mean = np.square(one.mean - other.mean).sum()
    return float(max(mean + np.trace(first) + np.trace(second) - 2 * shared, 0.0))
