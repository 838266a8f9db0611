"""The Fréchet distance of two sets of features: FID on pictures (Heusel et al. 2017), FVD on videos."""

from __future__ import annotations

import numpy as np

# Features are summed in blocks of this many: one by one, the outer products would take longer than FID's
# network.
BLOCK_ROWS = 64


class Moments:
    """Mean and covariance of features (D,) that come one batch at a time; a block of them is held."""

    def __init__(self) -> None:
        self.count = 0
        self._rows: list[np.ndarray] = []
        self._sum: np.ndarray | None = None
        self._outer: np.ndarray | None = None

    def add(self, features: np.ndarray) -> None:
        """Count features (n,D) in."""
        self.count += len(features)
        self._rows += [row.astype(np.float64) for row in features]
        if len(self._rows) >= BLOCK_ROWS:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        rows = np.stack(self._rows)
        self._rows = []
        if self._sum is None:
            self._sum = np.zeros(rows.shape[1])
            self._outer = np.zeros((rows.shape[1], rows.shape[1]))
        self._sum += rows.sum(0)
        self._outer += rows.T @ rows

    @property
    def mean(self) -> np.ndarray:
        """(D,); ValueError before the first feature."""
        self._flush()
        if self._sum is None:
            raise ValueError("a mean needs at least one feature; none was added")
        return self._sum / self.count

    @property
    def covariance(self) -> np.ndarray:
        """(D,D), divided by n - 1."""
        mean = self.mean
        return (self._outer - self.count * np.outer(mean, mean)) / (self.count - 1)


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
