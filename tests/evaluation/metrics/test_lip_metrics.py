"""Landmark metrics: LMD, opening correlation, LipLeak, frame pairs."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.evaluation.metrics.frame_pairs import pair_frames
from mytalk_core.evaluation.metrics.lips import (
    closure_rate,
    intensities,
    intensity_correlation,
    landmark_distance,
    lip_leak,
    opening_correlation,
    opening_jitter,
    opening_kept,
    silence_closed,
    speech_level,
    temporal_misalignment,
    velocity_distance,
    vertex_error,
)
from mytalk_core.evaluation.networks.phones import find_recogniser
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.audio import Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.motion.person import interocular
from mytalk_core.speech.activity import speech_presence
from mytalk_core.speech.features import SAMPLES_PER_FRAME

LAYOUT = LandmarkLayout.load("mesh478")


def clip(frames: int, fps=25, size=(16, 12)) -> Clip:
    return ImageClip.from_frames(np.zeros((frames, *size, 3), np.uint8), fps)


def test_landmark_distance_by_hand():
    truth = np.tile(LAYOUT.template[None, :, :2], (2, 1, 1)).astype(np.float64)
    guess = truth.copy()
    guess[1, LAYOUT.lips] += (3.0, 4.0)
    expected = 5 / interocular(truth)[1] * 100
    np.testing.assert_allclose(landmark_distance(truth, guess, LAYOUT.lips), [0, expected])
    assert landmark_distance(truth, guess, np.arange(478))[1] < expected
    np.testing.assert_allclose(landmark_distance(3 * truth, 3 * guess, LAYOUT.lips), [0, expected])


def test_velocity_distance_by_hand():
    truth = LAYOUT.template[None, LAYOUT.lips, :2].astype(np.float64).repeat(3, axis=0)
    guess = truth.copy()
    guess[1:] += (3.0, 4.0)  # one jump, then as still as the truth
    np.testing.assert_allclose(velocity_distance(truth, guess, 50.0), [250, 0])
    np.testing.assert_allclose(velocity_distance(truth, guess + 7, np.array([25.0, 50.0])), [500, 0])


def test_opening_correlation():
    curve = np.sin(np.arange(50) / 3) + 1
    assert opening_correlation(curve, 2 * curve + 1) == pytest.approx(1)
    assert opening_correlation(curve, -curve) == pytest.approx(-1)
    late = [opening_correlation(curve[:-5], np.roll(curve, shift)[:-5]) for shift in (0, 1, 3)]
    assert late == sorted(late, reverse=True)
    gaps = curve.copy()
    gaps[::4] = np.nan
    assert opening_correlation(gaps, curve) == pytest.approx(1)
    assert opening_correlation(curve, np.ones(50)) is None


def spoken() -> np.ndarray:
    """Speech (S,) at 16 kHz that begins at once."""
    mono = Speech.open(EXAMPLES / "speech_en.wav").mono_16k
    return mono[np.flatnonzero(np.abs(mono) > 0.05)[0] :]


def silent(mono_16k: np.ndarray) -> np.ndarray:
    """In which of its frames nobody speaks (F,)."""
    return speech_presence(mono_16k, len(mono_16k) // SAMPLES_PER_FRAME) == 0


def test_lip_leak_counts_moving_frames_in_silence_only():
    moving = 0.1 + 0.08 * np.sin(np.arange(100) * 1.1)
    still = np.full(100, 0.02)
    silence = np.zeros(64_000, np.float32)
    speech = spoken()[:64_000]
    assert lip_leak(still, silent(silence)) == 0
    assert lip_leak(moving, silent(silence)) > 60
    assert lip_leak(moving, silent(speech)) is None
    half = np.where(np.arange(64_000) < 32_000, speech, 0)
    half_still = np.where(np.arange(100) < 50, moving, 0.02)
    assert lip_leak(half_still, silent(half)) == 0
    jitter = still + np.random.default_rng(1).normal(0, 0.002, 100)
    assert lip_leak(jitter, silent(silence)) == 0


def test_spread_kept_is_within_15_percent():
    curve = np.sin(np.arange(50) / 3) + 1
    assert [opening_kept(curve, scale * curve) for scale in (0.8, 0.9, 1.1, 1.2)] == [0, 100, 100, 0]
    assert opening_kept(np.ones(50), curve) is None


def test_jitter_is_the_third_difference_by_hand():
    times_s = np.arange(40) / 25
    assert opening_jitter(0.2 * times_s**3) == pytest.approx(6 * 0.2)
    assert opening_jitter(times_s**2) == pytest.approx(0, abs=1e-6)
    broken = np.where(np.arange(40) % 3 == 0, np.nan, times_s)
    assert opening_jitter(broken) is None


def test_closed_lips_count_from_120_ms_of_silence_on():
    speech = np.concatenate([spoken()[:32_000], np.zeros(32_000, np.float32)])
    # Speech breaks off at 2 s; from 120 ms behind that on lips must be closed.
    frames = np.arange(100)
    assert silence_closed(np.where(frames < 53, 0.2, 0.004), silent(speech)) == 100
    assert silence_closed(np.where(frames < 80, 0.2, 0.004), silent(speech)) < 60
    assert silence_closed(np.full(50, 0.2), silent(speech[:32_000])) is None


def test_speech_level_is_one_at_the_loudest():
    sound = np.concatenate([np.zeros(8000), np.full(8000, 0.3)]).astype(np.float32)
    level = speech_level(sound, 30)
    assert level.shape == (30,)
    assert level[5] == 0
    assert level[18] == pytest.approx(1)
    assert level[28] == 0


def test_frames_pair_by_number_where_there_are_as_many():
    pairs = pair_frames(clip(10, 25), clip(10, 30))
    np.testing.assert_array_equal(pairs.generated, np.arange(10))
    assert len(pairs.notes) == 1
    assert "by number" in pairs.notes[0]
    assert pair_frames(clip(10), clip(10)).notes == ()


def test_frames_pair_by_time_where_rates_differ():
    pairs = pair_frames(clip(50, 25), clip(60, Fraction(30)))
    np.testing.assert_allclose(pairs.generated / 30, pairs.reference / 25, atol=0.5 / 25)
    assert len(pairs) == 50
    assert "60 frames, the reference has 50" in pairs.notes[0]
    short = pair_frames(clip(50), clip(20))
    np.testing.assert_array_equal(short.reference, np.arange(20))


def test_other_sizes_are_said():
    assert "16x16" in pair_frames(clip(4, size=(8, 8)), clip(4, size=(16, 16))).notes[0]


def test_lve_is_the_furthest_point():
    truth = np.repeat(LAYOUT.template[None, :, :2], 2, 0)
    guess = truth.copy()
    guess[0, LAYOUT.lips[3]] += (3.0, 4.0)
    guess[1, LAYOUT.lips[:2]] += (0.0, 2.0)
    unit = interocular(truth)[0]
    np.testing.assert_allclose(vertex_error(truth, guess, LAYOUT.lips) * unit / 100, [5, 2], rtol=1e-5)


def test_mtm_tells_how_late_openings_are():
    curve = np.sin(np.arange(200) / 5) + 0.5 * np.sin(np.arange(200) / 2.3)
    assert temporal_misalignment(curve, curve) == 0
    assert temporal_misalignment(curve, 0.3 * curve) == 0
    late = np.interp(np.arange(200) - 3, np.arange(200), curve)
    assert temporal_misalignment(curve, late) == pytest.approx(120, abs=12)
    assert temporal_misalignment(curve, np.zeros(200)) is None
    assert temporal_misalignment(np.full(200, np.nan), curve) is None


def test_slcc_is_over_pieces_of_loud_and_quiet_speech():
    loudness = np.repeat([0.1, 0.4, 0.2, 0.3], 25)
    sound = (np.repeat(loudness, 640) * np.sign(np.sin(np.arange(64_000)))).astype(np.float32)
    with_it, against_it = intensities(loudness, sound), intensities(0.5 - loudness, sound)
    np.testing.assert_allclose(with_it[:, 1], [0, 0.3, 0.1, 0.2], atol=1e-9)
    assert intensity_correlation(with_it) == pytest.approx(1)
    assert intensity_correlation(against_it) == pytest.approx(-1)
    assert intensity_correlation(with_it[:2]) is None


def test_bilabials_close_the_lips_or_not():
    opening = np.full(50, 0.2)
    opening[10:12] = 0.01
    opening[40:] = np.nan
    times = np.array([[0.36, 0.44], [0.8, 0.9], [1.8, 1.9]])
    # The first closes, the second does not, the third is not seen.
    assert closure_rate(opening, times) == 50
    assert closure_rate(opening, np.zeros((0, 2))) is None


def test_p_b_and_m_are_heard():
    pytest.importorskip("pocketsphinx")
    # "Welcome to Echomimic. We hope ...": the m of "welcome" ends by 0.7 s.
    mono = Speech.open(EXAMPLES / "speech_en.wav").mono_16k
    times = find_recogniser().bilabial_times(mono)
    assert 4 <= len(times) <= 14
    assert (times[:, 0] < times[:, 1]).all() and times[-1, 1] <= len(mono) / 16_000
    assert not len(find_recogniser().bilabial_times(np.zeros(16_000, np.float32)))
