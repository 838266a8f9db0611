"""Colour match: a smooth correction that makes a rendering meet the frame on the ring around the mask.

A membrane in spirit (Perez et al., Poisson image editing, 2003), but fitted from coarse to fine by normalised
blurring: differences on the ring are spread into the mask, far from the ring their mean remains. A hand, a
strand of hair or a beard on the ring differs from the rest of the ring and is trusted less.
"""

from __future__ import annotations

import cv2
import numpy as np

CELL = 4  # units a sample of the coarse grid on which the correction lives
SIGMAS = (10.0, 5.0, 2.5)  # cells
TRUST = (0.02, 0.02, 0.05)  # how much ring weight makes a finer scale believed
TOLERANCE = 4.0  # levels of difference from the ring's own median that are ordinary


def ring_correction(
    frame: np.ndarray, rendering: np.ndarray, ring: np.ndarray, limit: float = 48.0
) -> tuple[np.ndarray, float]:
    """What to add to a rendering so that it meets the frame on the ring.

    Args:
        frame, rendering: (h, w, 3) pixels, 0..255; read only where `ring` is above zero.
        ring: float32 (gh, gw) weights 0..1 on the unit grid of the same window.
        limit: largest correction, levels.

    Returns:
        float32 (gh // 4, gw // 4, 3) levels, smooth, and the ring's root mean square difference that no
        smooth correction removes: how badly the rendering fits the frame. Zeros where the ring is empty.
    """
    size = (ring.shape[1] // CELL, ring.shape[0] // CELL)
    weight = cv2.resize(ring, size, interpolation=cv2.INTER_AREA)
    # A cell that touches the mask would bring masked pixels in: it has no weight.
    weight[cv2.resize((ring == 0).astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0] = 0
    if weight.sum() < 1e-3:
        return np.zeros((*size[::-1], 3), np.float32), 0.0
    difference = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    difference -= cv2.resize(rendering, size, interpolation=cv2.INTER_AREA)
    on_ring = weight > 0
    centre = np.median(difference[on_ring], axis=0)
    spread = np.abs(difference - centre).mean(-1)
    scale = TOLERANCE + 1.5 * np.median(spread[on_ring])
    weight = weight / (1 + (spread / scale) ** 2)
    correction = np.broadcast_to(
        (difference * weight[..., None]).sum((0, 1)) / weight.sum(), difference.shape
    ).astype(np.float32)
    for sigma, trust in zip(SIGMAS, TRUST, strict=True):
        packed = np.dstack([(difference - correction) * weight[..., None], weight])
        packed = cv2.GaussianBlur(packed, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        correction = correction + packed[..., :3] / (packed[..., 3:] + trust)
    left = ((difference - correction) ** 2).mean(-1)
    misfit = float(np.sqrt((left * weight).sum() / weight.sum()))
    return np.clip(correction, -limit, limit), misfit
