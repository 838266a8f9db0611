"""What is held before a face and goes its own way stays on top, wherever it goes."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from moving_head import FRAMES, LAYOUT, SIZE, Scene, moving_head

from mytalk_core.appearance.covers.cover_detector import CoverDetector, free_references
from mytalk_core.appearance.covers.grid import FaceGrid
from mytalk_core.appearance.covers.held_object import find_held_objects

COLOURS = [(70, 74, 80), (170, 40, 40), (30, 60, 160)]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return moving_head()


def swaying(scene: Scene, colour: tuple[int, int, int]) -> np.ndarray:
    """The frames with a microphone in a hand: it comes and goes by some 20 px, and tilts a little."""
    frames = scene.frames.copy()
    for number, frame in enumerate(frames):
        x, y = 250 + 14 * np.sin(number / 2), 336 + 8 * np.cos(number / 3)
        foot = int(x + 30 + 8 * np.sin(number / 4)), frame.shape[0]
        cv2.line(frame, (int(x), int(y)), foot, (30, 30, 32), 18)
        cv2.circle(frame, (int(x), int(y)), 26, colour, -1)
    return frames


def held(scene: Scene, frames: np.ndarray) -> list:
    references = scene.references(frames)
    faces = FaceGrid.of(references.crops, references, scene.similarity, LAYOUT)
    cover_detector = CoverDetector(scene.references(scene.frames), LAYOUT, scene.similarity)
    assert faces is not None
    return find_held_objects(faces, cover_detector.skin, None)


@pytest.mark.parametrize("colour", COLOURS)
def test_it_is_found_in_every_frame(scene, colour):
    frames = swaying(scene, colour)
    for number, (cover, changed) in enumerate(zip(scene.covers(frames), scene.changed(frames), strict=True)):
        near = scene.about_lips(number)
        assert cover.visible > 0 and cover.matte is not None
        assert (cover.matte[changed & near] > 0.99).mean() > 0.97
        about = cv2.dilate(changed.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
        assert cover.matte[near & ~about].mean() < 0.02, "what is free is made anew"


def test_references_are_lent_without_it(scene):
    frames = swaying(scene, COLOURS[1])
    references = scene.references(frames)
    cover_detector = CoverDetector(references, LAYOUT, scene.similarity)
    free, hidden = free_references(references, cover_detector, scene.similarity)
    assert hidden == 0
    changed, plain = scene.changed(frames), scene.references(scene.frames).crops
    for row, number in enumerate(free.frame_index):
        part = changed[number] & scene.about_lips(number)
        assert not free.free[row][part].any()
        assert np.abs(free.crops[row][part].astype(int) - plain[number][part]).mean() < 25


def test_what_moves_with_the_face_is_not_held(scene):
    """A dark beard, whose edge is as sharp as a microphone's."""
    frames = scene.frames.copy()
    for frame, landmarks in zip(frames, scene.landmarks, strict=True):
        cv2.circle(frame, landmarks[152].astype(int) - [0, 22], 26, COLOURS[0], -1)
    assert held(scene, swaying(scene, COLOURS[0]))
    assert not held(scene, frames) and not held(scene, scene.frames)


def test_what_swings_with_the_face_is_not_held(scene):
    """The end of a long beard, which goes farther than the landmarks about it."""
    chins = np.stack([landmarks[152] for landmarks in scene.landmarks]) - [0, 22]
    middle, frames = np.median(chins, axis=0), scene.frames.copy()
    for frame, chin in zip(frames, chins, strict=True):
        cv2.circle(frame, (middle + 1.4 * (chin - middle)).round().astype(int), 26, COLOURS[0], -1)
    assert not held(scene, frames)


def test_it_is_not_seen_where_it_has_gone(scene):
    (thing,) = held(scene, swaying(scene, COLOURS[2]))
    with_it, without = (scene.references(one).crops for one in (swaying(scene, COLOURS[2]), scene.frames))
    for number in range(0, FRAMES, 3):
        assert thing.on_crop(with_it[number], scene.similarity[number]).any()
        assert not thing.on_crop(without[number], scene.similarity[number]).any()


def test_it_is_told_from_letters_printed_on_it(scene):
    """The whole of it stays, with its letters."""
    frames = swaying(scene, COLOURS[2])
    for number, frame in enumerate(frames):
        at = int(250 + 14 * np.sin(number / 2)) - 12, int(336 + 8 * np.cos(number / 3)) + 6
        cv2.putText(frame, "TV", at, cv2.FONT_HERSHEY_SIMPLEX, 0.6, (250, 250, 250), 2)
    (thing,) = held(scene, frames)
    crops, changed = scene.references(frames).crops, scene.changed(frames)
    for number in range(0, FRAMES, 3):
        found = thing.on_crop(crops[number], scene.similarity[number])
        face = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(face, [scene.canonical[number][LAYOUT.oval].astype(np.int32)], 1)
        inner = cv2.erode((changed[number] & (face > 0)).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        assert found[inner].mean() > 0.97
