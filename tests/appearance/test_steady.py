"""Neighbouring frames agree on what stands before a mouth; what a picture shows beyond doubt stays."""

from __future__ import annotations

import numpy as np
import pytest

from mytalk_core.appearance.covers.cover import FREE, Cover
from mytalk_core.appearance.covers.steady import REACH, agreed, steadied

MATTE = np.ones((8, 8), np.float32)


@pytest.mark.parametrize(
    ("seen", "wanted"),
    [
        ("..x....", "......."),  # one frame by itself
        ("..xx...", "......."),
        ("..xxx..", "..xxx.."),
        ("xxx..xxx", "xxxxxxxx"),  # a mouth between fingers for two frames
        ("xxx....xxx", "xxxxxxxxxx"),
        ("xxx.....xxx", "xxx.....xxx"),
        ("xxxxx....", "xxxxx...."),  # no longer than it is there
        ("x.x.xxx.x.xx", "xxxxxxxxxxxx"),
    ],
)
def test_what_a_frame_or_two_show_alone_is_not_believed(seen, wanted):
    hidden = np.array([float(one == "x") for one in seen])
    steady = [steadied(hidden, at) for at in range(len(hidden))]
    assert "".join("x" if one >= 0.8 else "." for one in steady) == wanted


def test_a_hand_that_comes_hides_the_mouth_from_where_it_touches_it():
    hidden = np.array([0, 0, 0, 0.3, 0.3, 0.3, 1, 1, 1, 1.0])
    assert [steadied(hidden, at) == 1 for at in range(len(hidden))] == [False] * 3 + [True] * 7


def test_half_hidden_lips_stay_half_hidden():
    hidden = np.linspace(0.2, 0.7, 12)
    assert [steadied(np.full(9, 0.4), at) for at in range(9)] == [0.4] * 9
    assert np.abs(np.array([steadied(hidden, at) for at in range(12)]) - hidden).max() < 0.2


def test_frames_further_away_change_nothing():
    hidden = np.random.default_rng(3).random(40) > 0.5
    covers = [Cover(hidden=float(one)) for one in hidden]
    for at in range(len(covers)):
        near = covers[max(at - REACH, 0) : at + REACH + 1]
        assert agreed(covers, at).hidden == agreed(near, min(at, REACH)).hidden


def test_a_mouth_that_is_surely_not_shown_stays_for_a_single_frame():
    covers = [FREE] * 4 + [Cover(hidden=1.0, sure=True)] + [FREE] * 4
    assert [agreed(covers, at).visible for at in range(9)] == [1, 1, 1, 1, 0, 1, 1, 1, 1]


def test_a_matte_that_a_single_frame_finds_is_dropped_unless_it_is_sure():
    finger, letters = Cover(MATTE, hidden=0.5), Cover(MATTE, hidden=0.1, sure=True)
    alone = [FREE, FREE, FREE, finger, FREE, FREE, FREE]
    assert agreed(alone, 3).matte is None and agreed(alone, 3).visible == 1
    assert agreed([*alone[:3], letters, *alone[4:]], 3).matte is MATTE
    several = [FREE, finger, finger, finger, FREE]
    assert all(agreed(several, at).matte is MATTE for at in (1, 2, 3))


def test_a_fade_is_each_frames_own():
    covers = [Cover(faded=share) for share in (0.0, 1.0, 0.2, 0.9, 0.0)]
    assert [agreed(covers, at).faded for at in range(5)] == [0.0, 1.0, 0.2, 0.9, 0.0]
