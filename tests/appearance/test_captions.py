"""Captions whose words change stay on top, letter by letter, and nothing of them is lent."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from moving_head import FRAMES, LAYOUT, SIZE, Scene, moving_head

from mytalk_core.appearance.covers.captions import find_captions
from mytalk_core.appearance.covers.cover_detector import CoverDetector, free_references

WORDS = ["what I saw", "was nothing", "but a river", "and a boat", "far away"]
# Writes words on a frame uint8 (H, W, 3) in place, whose left end lies at a place (x, y) px.
Writer = Callable[[np.ndarray, str, tuple[int, int]], None]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return moving_head()


def outlined(fill: tuple[int, int, int], line: tuple[int, int, int] | None) -> Writer:
    def write(frame: np.ndarray, words: str, at: tuple[int, int]) -> None:
        if line is not None:
            cv2.putText(frame, words, at, cv2.FONT_HERSHEY_SIMPLEX, 1.0, line, 8, cv2.LINE_AA)
        cv2.putText(frame, words, at, cv2.FONT_HERSHEY_SIMPLEX, 1.0, fill, 3, cv2.LINE_AA)

    return write


def on_a_plate(frame: np.ndarray, words: str, at: tuple[int, int]) -> None:
    (width, height), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 1.0, 3)
    left, bottom = at
    cv2.rectangle(
        frame, (left - 10, bottom - height - 10), (left + width + 10, bottom + 14), (20, 20, 26), -1
    )
    outlined((255, 255, 255), None)(frame, words, at)


def with_the_word_that_is_said(frame: np.ndarray, words: str, at: tuple[int, int]) -> None:
    outlined((255, 255, 255), (0, 0, 0))(frame, words, at)
    outlined((255, 220, 0), None)(frame, words.split()[0], at)


def captioned(scene: Scene, writer: Writer, on: range = range(FRAMES)) -> np.ndarray:
    """The scene's frames with another line every few of them, now on the chin and now on the lips."""
    frames = scene.frames.copy()
    for number in on:
        turn = number // 4
        writer(frames[number], WORDS[turn], (160 + 4 * turn, (345, 376)[turn % 2]))
    return frames


def near_mouth(scene: Scene, number: int) -> np.ndarray:
    points = scene.canonical[number][np.concatenate([LAYOUT.lips_outer, LAYOUT.jaw[8:-8]])]
    near = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(near, cv2.convexHull(points.astype(np.int32)), 1)
    return near > 0


@pytest.mark.parametrize(
    ("writer", "share"),
    [
        (outlined((255, 255, 255), (0, 0, 0)), 0.95),
        (outlined((250, 230, 40), None), 0.95),
        (outlined((255, 255, 255), None), 0.95),
        (with_the_word_that_is_said, 0.95),
        (on_a_plate, 0.99),
    ],
    ids=["outlined", "yellow", "white", "two colours", "plate"],
)
@pytest.mark.parametrize("on", [range(FRAMES), range(8, 16)], ids=["all", "some"])
def test_words_that_change_stay(scene, writer, share, on):
    frames = captioned(scene, writer, on)
    kept, spread = [], []
    for number, (cover, changed) in enumerate(zip(scene.covers(frames), scene.changed(frames), strict=True)):
        near = near_mouth(scene, number)
        if number not in on or not (changed & near).any():
            assert cover.matte is None or cover.matte[near].mean() < 0.01
            continue
        assert cover.matte is not None
        kept.append((cover.matte[changed & near] > 0.99).mean())
        about = cv2.dilate(changed.astype(np.uint8), np.ones((13, 13), np.uint8)) > 0
        spread.append(cover.matte[near & ~about].mean())
    # White letters before teeth are not always told.
    assert np.mean(kept) > share and np.median(kept) > 0.97
    assert np.mean(spread) < 0.02, "what is free is made anew"


@pytest.mark.parametrize(
    ("writer", "most"),
    [(outlined((255, 255, 255), (0, 0, 0)), 25), (on_a_plate, 40)],
    ids=["outlined", "plate"],
)
def test_no_letter_is_lent(scene, writer, most):
    frames = captioned(scene, writer)
    references = scene.references(frames)
    cover_detector = CoverDetector(references, LAYOUT, scene.similarity)
    free, _ = free_references(references, cover_detector, scene.similarity)
    plain, changed = scene.references(scene.frames).crops, scene.changed(frames)
    for row, number in enumerate(free.frame_index):
        part = changed[number] & near_mouth(scene, number)
        if not part.any():
            continue
        assert not free.free[row][part].any()
        assert np.abs(free.crops[row][part].astype(int) - plain[number][part]).mean() < most


@pytest.mark.parametrize("row", [345, 355])
def test_behind_letters_is_what_other_frames_show_there(scene, row):
    def words(frame: np.ndarray, landmarks: np.ndarray, width: float) -> None:
        for colour, thickness in ((0, 8), (255, 3)):
            place, font = (100, row), cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(frame, "and this is what I", place, font, 1.2, (colour,) * 3, thickness)

    frames = scene.painted(words)
    crops, plain = scene.references(frames).crops, scene.references(scene.frames).crops
    away = []
    for number, cover in enumerate(scene.covers(frames)):
        face = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(face, [scene.canonical[number][LAYOUT.oval].astype(np.int32)], 1)
        behind = (face > 0) & (cover.touched > 0) & ~scene.about_lips(number)
        away.append(np.abs(cover.mended(crops[number])[behind].astype(int) - plain[number][behind]).mean())
    assert np.mean(away) < 4, "levels"


@pytest.mark.parametrize("word", ["no", "is", "I"])
def test_a_short_word_is_told_where_there_are_captions(scene, word):
    frames = captioned(scene, outlined((255, 255, 255), None))
    frames[9] = scene.frames[9]
    outlined((255, 255, 255), None)(frames[9], word, (230, 342))
    cover, changed = scene.covers(frames)[9], scene.changed(frames)[9] & near_mouth(scene, 9)
    assert changed.any() and (cover.matte[changed] > 0.99).mean() > 0.9


def test_a_face_and_striped_cloth_show_no_captions(scene):
    def told(frames: np.ndarray) -> bool:
        references = scene.references(frames)
        return find_captions(references.crops, references, scene.similarity, LAYOUT) is not None

    striped = scene.frames.copy()
    for row in range(3):
        striped[:, 400 + row :: 12] = (235, 235, 240)
    assert not told(scene.frames) and not told(striped)
    assert told(captioned(scene, outlined((255, 255, 255), (0, 0, 0)), range(8, 16)))


def test_a_single_picture_tells_its_caption_and_lends_none_of_it(scene):
    frames = captioned(scene, outlined((255, 255, 255), (0, 0, 0)))[5:6]
    still = Scene(frames, *(part[5:6] for part in (scene.landmarks, scene.similarity, scene.canonical)))
    letters = scene.changed(captioned(scene, outlined((255, 255, 255), (0, 0, 0))))[5] & near_mouth(scene, 5)
    (cover,) = still.covers(frames)
    assert letters.sum() > 100 and (cover.matte[letters] > 0.99).mean() > 0.95
    (crop,), plain = still.references(frames).crops, scene.references(scene.frames).crops[5]
    assert np.abs(cover.mended(crop)[letters].astype(int) - plain[letters]).mean() < 25
