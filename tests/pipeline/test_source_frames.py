"""Frames about each other tell together what covers a face and how much grain there is, within a shot."""

from __future__ import annotations

import numpy as np
import pytest

from mytalk_core.appearance.covers.cover import FREE, Cover
from mytalk_core.media.picture import Picture
from mytalk_core.pipeline.source_frames import GRAIN_FRAMES, Face, SourceFrame, in_agreement

EMPTY = np.zeros((0, 2), np.float32)


def source_frame(number: int, shot: int, cover: Cover, grain: float, seed: int | None = None) -> SourceFrame:
    picture = Picture.from_rgb(number, np.zeros((2, 2, 3), np.uint8))
    rng = np.random.default_rng(number if seed is None else seed)
    crop = rng.normal(128, 9, (256, 256, 1)).repeat(3, 2).astype(np.uint8)
    return SourceFrame(picture, (Face(crop, shot, cover, EMPTY, EMPTY, None, 1.0, grain),))


def faces(source_frames: list[SourceFrame]) -> list[Face]:
    agreed = list(in_agreement(source_frames))
    assert [one.picture.index for one in agreed] == [one.picture.index for one in source_frames]
    return [face for one in agreed for face in one.faces if isinstance(face, Face)]


def test_grain_that_comes_and_goes_with_compression_does_not_flicker():
    single = [float(number % 5 == 0) for number in range(40)]
    steady = np.array(
        [face.grain for face in faces([source_frame(n, 0, FREE, one) for n, one in enumerate(single)])]
    )
    assert np.abs(np.diff(steady[GRAIN_FRAMES:])).max() < 0.1 and 0.1 < steady[GRAIN_FRAMES:].mean() < 0.3


@pytest.mark.parametrize("grain", [0.0, 1.0])
def test_film_has_all_of_its_grain_from_the_first_frame_on_and_a_clean_shot_none(grain):
    shots = [source_frame(n, n // 6, FREE, grain if n < 6 else 1 - grain) for n in range(12)]
    expected = [grain] * 6 + [1 - grain] * 6
    assert [face.grain for face in faces(shots)] == pytest.approx(expected, abs=0.05)


def test_what_goes_along_with_the_face_is_no_grain():
    assert {face.grain for face in faces([source_frame(n, 0, FREE, 1.0, seed=0) for n in range(6)])} == {0.0}
    # Each of them twice, as in a video whose rate was raised.
    twice = faces([source_frame(n, 0, FREE, 1.0, seed=n // 2) for n in range(12)])
    assert [face.grain for face in twice[2:]] == pytest.approx([1.0] * 10, abs=0.05)


def test_a_cut_ends_what_frames_tell_of_each_other():
    hidden = Cover(hidden=1.0)
    seen = [hidden] * 3 + [FREE] * 3 + [hidden] * 3
    within = faces([source_frame(n, 0, cover, 0.0) for n, cover in enumerate(seen)])
    across = faces([source_frame(n, n // 3, cover, 0.0) for n, cover in enumerate(seen)])
    assert [face.cover.visible for face in within] == [0.0] * 9
    assert [face.cover.visible for face in across] == [0.0] * 3 + [1.0] * 3 + [0.0] * 3


def test_nothing_is_held_where_nothing_covers_a_face():
    read = []

    def reading():
        for number in range(9):
            read.append(number)
            yield source_frame(number, 0, Cover(hidden=1.0) if number >= 4 else FREE, 0.0)

    held = [len(read) - 1 - one.picture.index for one in in_agreement(reading())]
    assert held[:4] == [0, 0, 0, 0] and max(held) > 0
