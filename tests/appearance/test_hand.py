"""A hand of the skin's own colour before mouth and chin, told from a face that is steep by itself."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from moving_head import LAYOUT, SIZE, Scene, moving_head

from mytalk_core.appearance.covers.cover import FREE
from mytalk_core.appearance.covers.hand import find_hand

SIDE = 120
SKIN = np.array([140.0, 110.0, 100.0])
HAND = SKIN + (20, 17, 16)
ARM, CREASE = np.s_[50:, 40:80], np.s_[50:100, 40:80]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return moving_head()


def fingers(frame: np.ndarray, landmarks: np.ndarray, up: float) -> None:
    """Three of the colour of the cheeks, before the neck and up to a place, px below the lips."""
    cheeks = landmarks[[50, 280]].astype(int)
    tone = cv2.blur(frame, (5, 5))[cheeks[:, 1], cheeks[:, 0]].astype(float).mean(0)
    lips = landmarks[LAYOUT.lips_outer]
    width, top = float(np.ptp(lips[:, 0])), lips[:, 1].max() + up
    thick = int(0.28 * width)
    for across, down in ((-0.34, 0.12), (0, 0), (0.34, 0.06)):
        at = np.array([lips[:, 0].mean() + across * width, top + thick / 2 + down * width])
        for share, light in ((1.0, 0.78), (0.72, 0.93), (0.4, 1.0)):
            end = at + (0.1 * width, 3 * width)
            colour = tuple(light * tone)
            cv2.line(frame, at.astype(int), end.astype(int), colour, int(share * thick), cv2.LINE_AA)


def test_a_hand_of_the_skins_own_colour_stays_before_the_chin(scene):
    on = range(6, 11)
    frames = scene.frames.copy()
    for number in on:
        fingers(frames[number], scene.landmarks[number], 10)
    found = scene.covers(frames)
    for number, (cover, changed) in enumerate(zip(found, scene.changed(frames), strict=True)):
        if number not in on:
            assert cover is FREE
            continue
        face = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(face, [scene.canonical[number][LAYOUT.oval].astype(np.int32)], 1)
        assert cover.matte is not None and cover.visible == 1
        assert (cover.matte[changed & (face > 0)] > 0.99).mean() > 0.9
        assert cover.matte[~changed & (face > 0)].sum() < 0.35 * (changed & (face > 0)).sum()


def test_lips_behind_a_hand_of_the_skins_own_colour_stay(scene):
    on = range(6, 11)
    frames = scene.frames.copy()
    for number in on:
        fingers(frames[number], scene.landmarks[number], -32)
    hidden = [number for number, cover in enumerate(scene.covers(frames)) if cover.visible == 0]
    # An outline that lies on lips' own for the most part does not tell.
    assert len(hidden) >= len(on) - 1 and set(hidden) <= set(on)


def test_before_lips_that_colour_finds_covered_no_hand_is_looked_for(scene, monkeypatch):
    def glove(frame, landmarks, width):
        lips = landmarks[LAYOUT.lips_outer]
        left, top = (lips.min(0) - 0.2 * width).astype(int)
        frame[top : top + int(2 * width), left : left + int(0.6 * width)] = 30, 160, 60

    monkeypatch.setattr("mytalk_core.appearance.covers.gauge.find_hand", lambda *given: given[5])
    on = range(4, 8)
    for number, cover in enumerate(scene.covers(scene.painted(glove, on))):
        assert (0.1 < cover.hidden < 0.8) if number in on else cover.visible == 0


def chin_with_curls(levels):
    """A lower face float32 (120, 120, 3), curls of so many levels all over it."""
    noise = np.random.default_rng(0).normal(0, 1, (SIDE, SIDE)).astype(np.float32)
    curls = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return (SKIN + (levels * curls / curls.std())[..., None]).astype(np.float32)


def found(seen, usual, bar, lends=False):
    """Where a hand is found before the chin, if a bar over the jaw line is a little unlike the usual face."""
    rows = np.repeat(np.arange(SIDE), SIDE).reshape(SIDE, SIDE)
    about, face, lips = (rows > 40) & (rows < 80), rows < 80, (rows > 44) & (rows < 47)
    different = np.zeros((SIDE, SIDE), np.float32)
    different[bar] = 0.6
    return find_hand(seen, usual, different, about, face, lips, SKIN[None], lends)


@pytest.mark.parametrize("levels", [0, 2, 5])
def test_a_smooth_bar_in_another_light_is_a_hand(levels):
    usual = chin_with_curls(levels)
    seen = usual.copy()
    seen[ARM] = HAND
    assert found(seen, usual, ARM)[55:75, 45:75].mean() > 0.9


def test_a_hand_in_two_pieces_is_one_in_a_picture_that_lends():
    usual = chin_with_curls(2)
    seen, bar = usual.copy(), np.zeros((SIDE, SIDE), bool)
    bar[ARM] = True
    bar[76:85] = False
    seen[bar] = HAND
    assert not found(seen, usual, bar).any()
    assert found(seen, usual, bar, lends=True)[55:72, 45:75].mean() > 0.9


@pytest.mark.parametrize("levels", [20, 30, 40])
def test_curls_that_lie_a_little_elsewhere_are_no_hand(levels):
    usual = chin_with_curls(levels)
    seen = 1.25 * np.roll(usual, 2, axis=1) - 0.25 * SKIN.astype(np.float32)
    assert not found(seen, usual, ARM).any()


def test_what_ends_with_the_face_is_no_hand():
    usual = chin_with_curls(2)
    seen = usual.copy()
    seen[CREASE] = HAND
    assert not found(seen, usual, CREASE).any()
