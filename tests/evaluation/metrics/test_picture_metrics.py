"""PSNR, SSIM, flicker and regions: against known values, scikit-image, and what must get worse."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from mytalk_core.evaluation.metrics.flicker import flicker, unrest
from mytalk_core.evaluation.metrics.pictures import PSNR_CEILING_DB, luminance, psnr, ssim, ssim_map
from mytalk_core.evaluation.metrics.regions import change, find_regions, outside_in_frame
from mytalk_core.face.layout import LandmarkLayout

LAYOUT = LandmarkLayout.load("mesh478")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (96, 120, 3)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2.5) // 2 + 60


def blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(picture, (0, 0), sigma)


def noisy(picture: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, deviation, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def test_psnr_by_hand():
    truth = np.full((4, 5, 3), 100, np.uint8)
    guess = truth.copy()
    guess[0, 0] = 110  # 3 of 60 values are 10 off: mean square 5
    assert psnr(truth, guess) == pytest.approx(10 * np.log10(255**2 / 5))
    only = np.zeros((4, 5), bool)
    only[0, 0] = True
    assert psnr(truth, guess, only) == pytest.approx(10 * np.log10(255**2 / 100))
    assert psnr(truth, guess, ~only) == PSNR_CEILING_DB


def test_psnr_and_ssim_are_those_of_scikit_image(picture):
    for guess in (noisy(picture, 12), blurred(picture, 1.5), 255 - picture):
        theirs = peak_signal_noise_ratio(picture, guess, data_range=255)
        assert psnr(picture, guess) == pytest.approx(theirs, abs=1e-9)
        mean, values = structural_similarity(
            luminance(picture),
            luminance(guess),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            full=True,
        )
        assert ssim(picture, guess) == pytest.approx(mean, abs=2e-5)
        np.testing.assert_allclose(ssim_map(luminance(picture), luminance(guess)), values, atol=2e-4)


def test_equal_pictures_are_ideal(picture):
    assert psnr(picture, picture) == PSNR_CEILING_DB
    assert ssim(picture, picture) == pytest.approx(1, abs=1e-6)
    assert change(picture, picture, np.ones(picture.shape[:2], bool)) == 0


@pytest.mark.parametrize("harm", [blurred, noisy])
def test_more_harm_is_worse(picture, harm):
    guesses = [harm(picture, amount) for amount in (0.7, 2, 5)]
    for measure in (psnr, ssim):
        values = [measure(picture, guess) for guess in guesses]
        assert values == sorted(values, reverse=True)
        assert values[0] > values[-1]


def test_flicker_is_zero_for_steady_change_and_grows_with_noise(picture):
    brighter = [np.clip(picture.astype(int) + 4 * step, 0, 255).astype(np.uint8) for step in range(3)]
    assert unrest(*brighter).mean() < 0.5
    still = [float(unrest(*[picture] * 3).mean())]
    levels = []
    for deviation in (2, 6, 15):
        frames = [
            noisy(picture, deviation) if i == 1 else blurred(noisy(picture, deviation), 1) for i in range(3)
        ]
        levels.append(flicker([float(unrest(*frames).mean())], still))
    assert levels == sorted(levels)
    assert levels[0] > 0
    assert flicker(still, still) == 0
    assert flicker([], []) is None


def test_regions_hold_mouth_and_leave_forehead():
    canonical = LAYOUT.template[:, :2]
    regions = find_regions(canonical, canonical, LAYOUT)
    lips = canonical[LAYOUT.lips].mean(0).astype(int)
    assert regions.mouth[lips[1], lips[0]]
    assert regions.editable[regions.mouth].all()
    assert not regions.editable[:64].any()
    lower = canonical.copy()
    lower[LAYOUT.lower, 1] += 14  # a jaw that opens may change more
    wider = find_regions(canonical, lower, LAYOUT)
    assert wider.editable.sum() > regions.editable.sum()
    np.testing.assert_array_equal(wider.mouth, regions.mouth)


def test_outside_of_the_frame_is_what_the_crop_does_not_edit():
    editable = np.zeros((256, 256), bool)
    editable[128:192, 64:128] = True
    twice = np.array([[0.5, 0, 10.0], [0, 0.5, 20.0]])  # frame px -> canonical
    outside = outside_in_frame(editable, twice, 480, 640)
    assert not outside[(160 - 20) * 2, (96 - 10) * 2]
    assert outside[(120 - 20) * 2, (96 - 10) * 2]
    assert (~outside).sum() == pytest.approx(4 * editable.sum(), rel=0.02)
    truth = np.zeros((480, 640, 3), np.uint8)
    guess = truth.copy()
    guess[~outside] = 255
    assert change(truth, guess, outside) == 0
    guess[0, 0] = 255
    assert change(truth, guess, outside) > 0
