"""Hands are read from a .glb, bend with their gesture, and are seen whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from made_hand import write_hand
from mytalk_training.covers.hand_mesh import FINGERS, GESTURES, SIDE, HandMesh


@pytest.fixture(scope="module")
def hand(tmp_path_factory) -> HandMesh:
    path = tmp_path_factory.mktemp("hand") / "hand.glb"
    write_hand(path)
    return HandMesh.open(path)


def test_a_hand_is_seen_whole_with_its_forearm(hand):
    for seed in range(8):
        drawn = hand.drawn(np.random.default_rng(seed))
        own = (drawn.alpha > 0) & ~drawn.arm
        edge = np.concatenate([own[0], own[-1], own[:, 0], own[:, -1]])
        assert not edge.any() and own.sum() > 0.01 * SIDE**2
        assert np.median(drawn.shade[drawn.alpha > 0]) == pytest.approx(1, abs=0.05)
        assert not drawn.shade[cv2.dilate(drawn.alpha, np.ones((9, 9))) == 0].any()
    assert any(hand.drawn(np.random.default_rng(seed)).arm.any() for seed in range(8))


def test_the_same_numbers_draw_the_same_hand_and_others_another(hand):
    one, again, other = (hand.drawn(np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.shade, again.shade)
    assert (one.alpha != other.alpha).any()


def length(hand: HandMesh, finger: range, bend: float, monkeypatch) -> float:
    """From a finger's root to its tip, metres, of a hand bent so far."""
    for gesture in GESTURES:
        monkeypatch.setitem(GESTURES, gesture, (bend, 1 / len(GESTURES)))
    points, _ = hand._posed(np.random.default_rng(0))
    tip, root = (points[8 * joint : 8 * joint + 8].mean(0) for joint in (finger[-1], finger[1]))
    return float(np.linalg.norm(tip - root))


@pytest.mark.parametrize("finger", FINGERS[1:])
def test_a_fist_brings_the_tips_to_the_palm(hand, finger, monkeypatch):
    assert length(hand, finger, 1.0, monkeypatch) < 0.75 * length(hand, finger, 0.0, monkeypatch)


def test_what_is_no_hand_is_one_line(tmp_path):
    (tmp_path / "picture.glb").write_bytes(b"no mesh at all, but long enough for a header")
    with pytest.raises(ValueError, match=r"picture\.glb: a glTF binary \(\.glb\) was required"):
        HandMesh.open(tmp_path / "picture.glb")
    write_hand(tmp_path / "three.glb", joints=3)
    with pytest.raises(ValueError, match="25 joints was required, this has 3"):
        HandMesh.open(tmp_path / "three.glb")
