"""Colour match: a smooth correction that makes a rendering meet the frame on the ring around the mask.

A membrane in spirit (Perez et al., Poisson image editing, 2003), but fitted from coarse to fine by normalised
blurring: differences on the ring are spread into the mask, far from the ring their mean remains. A hand, a
strand of hair or a beard on the ring differs from the rest of the ring and is trusted less.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

CELL = 4  # units a sample of the coarse grid on which the correction lives
SIGMAS = (10.0, 5.0, 2.5)  # cells
TRUST = (0.02, 0.02, 0.05)  # how much ring weight makes a finer scale believed
LIMIT = 48.0  # the largest correction, levels
TOLERANCE = 4.0  # levels of difference from the ring's own median that are ordinary


def ring_corrections(
    frame: np.ndarray, renderings: list[np.ndarray], rings: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """What to add to each of R renderings so that it meets the frame on its ring.

    Args:
        frame, renderings: float32 (gh // 4, gw // 4, 3), 0..255, see `cells`; read only where `on_ring`.
        rings: float32 (gh, gw) weights 0..1 on the unit grid of the same window.

    Returns:
        float32 (R, gh // 4, gw // 4, 3) levels, smooth, and each ring's root mean square difference that no
        such correction removes (R,): how badly the rendering fits the frame. Zeros where a ring is empty.
    """
    # Planes first, (3, R, ...): NumPy repeats a number over long rows many times as fast as over colours.
    difference = np.ascontiguousarray(np.moveaxis(frame - np.stack(renderings), -1, 0))
    weight = np.stack([_weight(ring) for ring in rings])
    weight[weight.sum((1, 2)) < 1e-3] = 0
    for row, counts in enumerate(weight > 0):
        if counts.any():
            levels = difference[:, row]
            spread = np.abs(levels - median(levels[:, counts])[:, None, None]).mean(0)
            weight[row] /= 1 + (spread / (TOLERANCE + 1.5 * median(spread[counts]))) ** 2
    total = np.maximum(weight.sum((1, 2)), 1e-6)
    correction = ((difference * weight).sum((2, 3)) / total)[..., None, None]
    for sigma, trust in zip(SIGMAS, TRUST, strict=True):
        near = _blurred(weight, sigma) + np.float32(trust)
        correction = correction + _blurred((difference - correction) * weight, sigma) / near
    correction = correction.clip(-LIMIT, LIMIT)
    left = ((difference - correction) ** 2).mean(0)
    misfit = np.sqrt((left * weight).sum((1, 2)) / total)
    return np.ascontiguousarray(np.moveaxis(correction, 0, -1)), misfit


def cells(picture: np.ndarray, side: int = CELL) -> np.ndarray:
    """The means of a picture (gh, gw, ...) on the unit grid over cells of `side` units, by default those of
    the coarse grid: float32."""
    size = (picture.shape[1] // side, picture.shape[0] // side)
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def on_ring(ring: np.ndarray) -> np.ndarray:
    """The cells bool (gh // 4, gw // 4) that count of a ring (gh, gw): a cell that touches the mask would
    bring masked pixels in."""
    return cells((ring == 0).astype(np.float32)) == 0


def _weight(ring: np.ndarray) -> np.ndarray:
    """How much each cell of a ring (gh, gw) counts."""
    return cells(ring) * on_ring(ring)


def median(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The median of float values over an axis of few: five times as fast as `np.median`."""
    ordered, count = np.sort(values, axis=axis), values.shape[axis]
    return (ordered.take((count - 1) // 2, axis) + ordered.take(count // 2, axis)) / 2


def _blurred(planes: np.ndarray, sigma: float) -> np.ndarray:
    """Planes (..., h, w), 0 beyond their edges, blurred: of few cells by two products of matrices."""
    height, width = planes.shape[-2:]
    return _blurring(height, sigma) @ planes @ _blurring(width, sigma).T


@lru_cache(maxsize=256)
def _blurring(length: int, sigma: float) -> np.ndarray:
    """What blurring does along an axis of that length: float32 (length, length)."""
    size = round(8 * sigma + 1) | 1
    return cv2.GaussianBlur(
        np.eye(length, dtype=np.float32), (1, size), sigmaX=sigma, borderType=cv2.BORDER_CONSTANT
    )
