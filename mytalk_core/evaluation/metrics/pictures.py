"""How near one picture is to another, pixel by pixel: PSNR and SSIM."""

from __future__ import annotations

import cv2
import numpy as np

# Equal pictures have no finite PSNR; this stands for them, so that means stay numbers.
PSNR_CEILING_DB = 100.0
WINDOW_PX, SIGMA_PX = 11, 1.5
STABILITY = ((0.01 * 255) ** 2, (0.03 * 255) ** 2)


def psnr(truth: np.ndarray, guess: np.ndarray, inside: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB, at most 100, of all channels together.

    truth, guess: uint8 (H,W,3); inside: bool (H,W), the pixels that count, all where None.
    """
    difference = cv2.absdiff(truth, guess)
    if inside is not None:
        difference = difference[inside]
    if not difference.size:
        return PSNR_CEILING_DB
    squared = cv2.norm(difference, cv2.NORM_L2SQR) / difference.size
    return min(10 * np.log10(255**2 / squared), PSNR_CEILING_DB) if squared else PSNR_CEILING_DB


def luminance(rgb: np.ndarray) -> np.ndarray:
    """uint8 (H,W,3) -> uint8 (H,W), Rec. 601."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def ssim_map(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Structural similarity around every pixel: uint8 (H,W) luminances -> float32 (H,W), 1 where equal.

    Gaussian window of 11 pixels, sigma 1.5, K = (0.01, 0.03), variances of the population (Wang et al. 2004,
    eq. 13 to 16).
    """
    # About zero, squares keep more of float32's digits.
    x, y = (picture.astype(np.float32) - 128 for picture in (truth, guess))
    mean_x, mean_y = _blurred(x), _blurred(y)
    variance = _blurred(x * x) + _blurred(y * y) - mean_x**2 - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 128, mean_y + 128
    c1, c2 = STABILITY
    alike = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return alike / ((mean_x**2 + mean_y**2 + c1) * (variance + c2))


def ssim(truth: np.ndarray, guess: np.ndarray, inside: np.ndarray | None = None) -> float:
    """Mean structural similarity on luminance, up to 1.

    truth, guess: uint8 (H,W,3); inside: bool (H,W), the pixels that count; where None all whose window lies
    in the picture.
    """
    values = ssim_map(luminance(truth), luminance(guess))
    if inside is not None:
        return min(float(values[inside].mean()), 1.0) if inside.any() else 1.0
    edge = WINDOW_PX // 2
    whole = min(values.shape) > 2 * edge
    mean = (values[edge:-edge, edge:-edge] if whole else values).mean(dtype=np.float64)
    return min(float(mean), 1.0)


def _blurred(values: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(values, (WINDOW_PX, WINDOW_PX), SIGMA_PX, borderType=cv2.BORDER_REFLECT)
