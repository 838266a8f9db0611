"""The Fréchet distance: against scipy's matrix root, closed forms and ideal values."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from mytalk_core.evaluation.metrics.frechet import Moments, frechet_distance


def moments(features: np.ndarray, batch: int = 7) -> Moments:
    collected = Moments()
    for start in range(0, len(features), batch):
        collected.add(features[start : start + batch])
    return collected


def by_scipy(one: np.ndarray, other: np.ndarray) -> float:
    c1, c2 = (np.cov(features, rowvar=False) for features in (one, other))
    root = scipy.linalg.sqrtm(c1 @ c2)
    mean = np.square(one.mean(0) - other.mean(0)).sum()
    return float(mean + np.trace(c1) + np.trace(c2) - 2 * np.trace(root).real)


@pytest.fixture
def sets() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    mix = generator.normal(size=(12, 12))
    return generator.normal(size=(200, 12)) @ mix, generator.normal(0.3, 1.2, size=(150, 12))


def test_a_second_implementation_agrees(sets):
    assert frechet_distance(*map(moments, sets)) == pytest.approx(by_scipy(*sets), rel=1e-6)


def test_moments_are_those_of_the_whole(sets):
    collected = moments(sets[0])
    np.testing.assert_allclose(collected.mean, sets[0].mean(0), atol=1e-12)
    np.testing.assert_allclose(collected.covariance, np.cov(sets[0], rowvar=False), atol=1e-10)


def test_equal_sets_are_at_zero_and_a_shift_is_its_square(sets):
    one = moments(sets[0])
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)
    shifted = moments(sets[0] + 0.5)
    assert frechet_distance(one, shifted) == pytest.approx(12 * 0.25, rel=1e-6)


def test_fewer_features_than_dimensions():
    few = np.random.default_rng(1).normal(size=(5, 40))
    assert frechet_distance(moments(few), moments(few)) == pytest.approx(0, abs=1e-5)
    others = np.random.default_rng(2).normal(size=(6, 40))
    distance = frechet_distance(moments(few), moments(others))
    assert distance == pytest.approx(frechet_distance(moments(others), moments(few)), rel=1e-6)
    assert distance > 1
    assert frechet_distance(moments(few), moments(few[:1])) is None


def test_noise_moves_a_set_away(sets):
    noise = np.random.default_rng(3).normal(size=sets[0].shape)
    distances = [frechet_distance(moments(sets[0]), moments(sets[0] + a * noise)) for a in (0.3, 1, 3)]
    assert distances == sorted(distances)
