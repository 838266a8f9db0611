"""A hand, or hair, of the skin's own colour before mouth, chin and cheek, told by the network from a face."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np
import pytest
from moving_head import LAYOUT, SIZE, Scene, moving_head

from mytalk_core.appearance.covers.cover import FREE, Cover
from mytalk_core.appearance.covers.cover_detector import CoverDetector
from mytalk_core.appearance.covers.face_view import mouth_and_chin
from mytalk_core.face.alignment import UNITS


@pytest.fixture(scope="module")
def scene() -> Scene:
    return moving_head()


def found_on(scene: Scene, frames: np.ndarray, on: range) -> Iterator[tuple[int, Cover, np.ndarray]]:
    """What is found before those of the frames on which something is painted, a matte of each, and where it
    is; the others are free."""
    found = scene.covers(frames)
    for number, (cover, changed) in enumerate(zip(found, scene.changed(frames), strict=True)):
        if number in on:
            assert cover.matte is not None
            yield number, cover, changed
        else:
            assert cover is FREE


def tone_of(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The colour of the cheeks."""
    cheeks = landmarks[[50, 280]].astype(int)
    return cv2.blur(frame, (5, 5))[cheeks[:, 1], cheeks[:, 0]].astype(float).mean(0)


def fingers(frame: np.ndarray, landmarks: np.ndarray, up: float) -> None:
    """Three of the colour of the cheeks, before the neck and up to a place, px below the lips."""
    tone, lips = tone_of(frame, landmarks), landmarks[LAYOUT.lips_outer]
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
    for number, cover, changed in found_on(scene, frames, on):
        face = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(face, [scene.canonical[number][LAYOUT.oval].astype(np.int32)], 1)
        assert cover.visible == 1
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

    say(monkeypatch, 1.0)
    on, beside = range(4, 8), range(12, 15)
    frames = scene.painted(glove, on)
    for number in beside:
        fingers(frames[number], scene.landmarks[number], 10)
    covers = scene.covers(frames)
    assert all(0.1 < covers[number].hidden < 0.8 for number in on)
    assert all(covers[number].visible == 0 for number in beside)


def fist(frame: np.ndarray, landmarks: np.ndarray, side: float) -> None:
    """A fist of the colour of the cheeks on the end of an arm, from a side of the picture (-1 left, 1 right)
    to a corner of the mouth, before cheek and jaw."""
    tone = tone_of(frame, landmarks)
    lips = landmarks[LAYOUT.lips_outer]
    width, (x, y) = float(np.ptp(lips[:, 0])), lips.mean(0)
    middle = np.array([x + 1.05 * side * width, y + 0.1 * width])
    arm = (frame.shape[1] - 1 if side > 0 else 0, int(y + 1.6 * width))
    for share, light in ((1.0, 0.8), (0.8, 0.95), (0.5, 1.02)):
        thick = int(share * 0.7 * width)
        cv2.line(frame, middle.astype(int), arm, tuple(light * tone), thick, cv2.LINE_AA)
    for finger in range(4):
        at = middle + (-0.32 * side * width, (0.26 * finger - 0.42) * width)
        for share, light in ((1.0, 0.75), (0.8, 0.95), (0.5, 1.05)):
            axes = int(share * 0.3 * width), int(share * 0.15 * width)
            cv2.ellipse(frame, at.astype(int), axes, 0, 0, 360, tuple(light * tone), -1, cv2.LINE_AA)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_fist_that_comes_over_the_cheek_stays_before_it(scene, side):
    on = range(6, 11)
    frames = scene.frames.copy()
    for number in on:
        fist(frames[number], scene.landmarks[number], side)
    for number, cover, changed in found_on(scene, frames, on):
        near = mouth_and_chin(scene.canonical[number].astype(np.float32), LAYOUT)
        assert (cover.matte[changed & near] > 0.9).mean() > 0.85
        assert (cover.matte[~changed & near] > 0.5).mean() < 0.1


def hair(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    """Four strands from the temple over cheek and lips to the chin, little darker than the skin."""
    lips, tone = landmarks[LAYOUT.lips_outer], tone_of(frame, landmarks)
    end = np.array([lips[:, 0].mean() + 0.1 * width, lips[:, 1].max() + 0.3 * width])
    for number in range(4):
        apart = (0.14 * number - 0.2) * width
        way = np.linspace(0, 1, 24)[:, None]
        begin = landmarks[103] + (apart, 0)
        line = begin + (end + (1.6 * apart, 0) - begin) * way - (0.3 * width * np.sin(np.pi * way) * (1, 0))
        colour = tuple(tone * (0.66, 0.6, 0.5))
        cv2.polylines(frame, [line.astype(np.int32)], False, colour, 2 + number % 2, cv2.LINE_AA)


def test_hair_of_about_the_skins_own_colour_stays_before_cheek_and_lips(scene):
    on = range(6, 11)
    frames = scene.painted(hair, on)
    for number, cover, changed in found_on(scene, frames, on):
        near = mouth_and_chin(scene.canonical[number].astype(np.float32), LAYOUT)
        assert cover.visible == 1
        assert (cover.matte[changed & near] > 0.9).mean() > 0.6
        beside = cv2.dilate(changed.astype(np.uint8), np.ones((9, 9))) == 0
        assert (cover.matte[beside & near] > 0.5).mean() < 0.1


def curls(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
    """Of a beard, each time elsewhere."""
    lips = landmarks[LAYOUT.lips_outer]
    chin, noise = np.zeros(frame.shape[:2], np.float32), np.random.default_rng(int(lips[0, 0] * 100))
    at = (int(lips[:, 0].mean()), int(lips[:, 1].max() + 0.35 * width))
    cv2.ellipse(chin, at, (int(0.5 * width), int(0.3 * width)), 0, 0, 360, 1, -1)
    chin = cv2.GaussianBlur(chin, (0, 0), 0.05 * width)
    strands = cv2.GaussianBlur(noise.normal(0, 1, chin.shape).astype(np.float32), (0, 0), 1.5)
    darker = 1 - chin * np.clip(0.35 + 0.15 * strands / strands.std(), 0, 0.8)
    frame[:] = frame * darker[..., None]


def test_curls_of_a_beard_are_no_hand(scene):
    covers = scene.covers(scene.painted(curls))
    assert all(cover is FREE for cover in covers)


def say(monkeypatch, likely: float) -> None:
    """The network finds something before all of the face, so likely."""

    class Network:
        def likely(self, comparison):
            return np.full((UNITS, UNITS), likely, np.float32)

    monkeypatch.setattr("mytalk_core.appearance.covers.cover_detector.load_cover_network", Network)
    monkeypatch.setattr("mytalk_core.appearance.covers.cover_detector.LIKELIEST", 0.0)


def test_what_lends_is_doubted_sooner_than_a_frame(scene, monkeypatch):
    frames, on = scene.frames.copy(), range(6, 11)
    for number in on:
        fingers(frames[number], scene.landmarks[number], 10)
    references = scene.references(frames)
    cover_detector = CoverDetector(references, LAYOUT, scene.similarity)
    say(monkeypatch, 0.4)
    look = partial(cover_detector.cover, references.crops[8], references.landmarks[8], scene.similarity[8])
    assert look().visible == 1 and look(lends=True).visible == 0


def test_where_nothing_is_unlike_the_face_nobody_looks_closer(scene, monkeypatch):
    say(monkeypatch, 1.0)
    assert all(cover is FREE for cover in scene.covers(scene.frames))


@pytest.mark.parametrize(("squeezed", "told"), [(0.82, True), (0.6, False)])
def test_a_face_whose_landmarks_a_hand_has_dragged_is_looked_at_and_a_profile_is_not(
    scene, monkeypatch, squeezed, told
):
    say(monkeypatch, 1.0)
    references = scene.references(scene.frames)
    cover_detector = CoverDetector(references, LAYOUT, scene.similarity)
    middle = references.landmarks[8].mean(0)
    dragged = (references.landmarks[8] - middle) * np.float32([squeezed, 1]) + middle
    cover = cover_detector.cover(references.crops[8], dragged, scene.similarity[8])
    assert (cover.visible == 0) == told
