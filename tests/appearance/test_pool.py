"""Which frames may lend lips."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_face import shape

from mytalk_core.appearance.references.plan import shape_distance
from mytalk_core.appearance.references.pool import choose_pool, pool_count
from mytalk_core.errors import NoFaceError
from mytalk_core.face.layout import LandmarkLayout


@pytest.fixture(scope="module")
def layout():
    return LandmarkLayout.load("mesh478")


@pytest.fixture(scope="module")
def speaking(layout):
    """400 mouths that open and shut, and two beyond them."""
    openings = 10 + 10 * np.sin(np.arange(400) / 7)
    openings[[33, 250]] = 0, 30
    return np.stack([shape(layout, o) for o in openings]).astype(np.float32)


def test_a_pool_covers_the_mouths_that_there_are_and_skips_absent_frames(layout, speaking):
    present = np.arange(400) % 5 != 4
    present[[33, 250]] = True
    chosen = choose_pool(present, speaking, layout, 32)
    assert len(chosen) == 32 and (np.diff(chosen) > 0).all() and present[chosen].all()
    assert 250 in chosen
    assert shape_distance(speaking[present], speaking[chosen], layout, 0.6).min(1).max() < 0.3
    with pytest.raises(NoFaceError, match="400"):
        choose_pool(np.zeros(400, bool), speaking, layout)
    assert pool_count(256) == 96 and pool_count(768) * 768 * 768 * 3 <= 96 << 20


def test_a_pool_comes_nearest_to_what_is_wanted(layout, speaking):
    wanted = np.stack([shape(layout, o) for o in np.linspace(17, 20, 30)]).astype(np.float32)
    everywhere = np.ones(400, bool)
    fitting, plain = (choose_pool(everywhere, speaking, layout, 12, given) for given in (wanted, None))
    away = [
        shape_distance(wanted, speaking[chosen], layout, 0.6).min(1).mean() for chosen in (fitting, plain)
    ]
    assert away[0] < 0.5 * away[1]
    # Once each is served by its nearest, the next nearest follow.
    few = choose_pool(everywhere, speaking, layout, 12, wanted[:2])
    ranks = shape_distance(wanted[:2], speaking, layout, 0.6).min(0).argsort().argsort()
    assert ranks[few].max() < 24


def test_a_pool_is_of_the_shots_that_it_is_wanted_in(layout, speaking):
    twice, everywhere = np.concatenate([speaking, speaking]), np.ones(800, bool)
    shots = np.repeat([3, 7], 400), np.full(30, 7)
    chosen = choose_pool(everywhere, twice, layout, 12, speaking[:30], shots)
    assert (chosen >= 400).all()
