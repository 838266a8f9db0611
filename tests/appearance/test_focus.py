"""Lips in a frame out of focus, or in one that a movement has blurred, are as blurred as the face."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mytalk_core.appearance.focus import LEAST, UsualFocus, softened
from mytalk_core.appearance.references.references import read_references
from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.appearance.warp_renderer import WarpRenderer
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.remux import copy_untagged
from mytalk_core.pipeline import stages

EXAMPLE = Path(__file__).parents[2] / "examples" / "ai_woman.mp4"
LAYOUT = LandmarkLayout.load("mesh478")
SIZE = 384
FRAMES = np.arange(1, 15, 3)
ALL = np.array([0]), np.ones(1)


def blurred(crop, x, y):
    """By so many units along both axes."""
    return cv2.GaussianBlur(crop, (0, 0), sigmaX=max(x, 0.01) * SIZE / 256, sigmaY=max(y, 0.01) * SIZE / 256)


@pytest.fixture(scope="module")
def face(tmp_path_factory):
    """References, and other frames' crops (B, S, S, 3) and landmarks (B, N, 2)."""
    path = tmp_path_factory.mktemp("focus") / "clip.mp4"
    copy_untagged(EXAMPLE, path, 0.6)
    clip = FileClip.open(path)
    track = stages.track(load_face_reader("cpu"), clip).choose("largest")
    references = read_references(clip, track, np.arange(0, 15, 3), SIZE, LAYOUT)
    crops = [cut_crop(p.rgb, track.similarity[p.index], SIZE) for p in clip.pictures(FRAMES)]
    return references, np.stack(crops), track.canonical[FRAMES].astype(np.float32)


@pytest.fixture(scope="module")
def focus(face):
    return UsualFocus(face[0], LAYOUT)


def test_sharp_frames_miss_nothing(face, focus):
    _, crops, landmarks = face
    for crop, points in zip(crops, landmarks, strict=True):
        assert not focus.missing(crop, points, None, *ALL).any()


@pytest.mark.parametrize("units", [2.0, 3.0])
def test_blur_is_told(face, focus, units):
    _, crops, landmarks = face
    found = [
        focus.missing(blurred(crop, units, units), points, None, *ALL)
        for crop, points in zip(crops, landmarks, strict=True)
    ]
    told = np.sqrt(np.add(found, LEAST**2))
    assert np.median(told) == pytest.approx(units, rel=0.1) and told.min() > 0.6 * units
    assert told.max() < 1.2 * units


@pytest.mark.parametrize("axis", [0, 1])
def test_a_movement_blurs_along_its_axis(face, focus, axis):
    _, crops, landmarks = face
    units = (2.5, 0.0) if axis == 0 else (0.0, 2.5)
    found = np.array(
        [
            focus.missing(blurred(crop, *units), points, None, *ALL)
            for crop, points in zip(crops, landmarks, strict=True)
        ]
    )
    told = np.sqrt(found[:, axis] + LEAST**2)
    assert np.median(told) == pytest.approx(2.5, rel=0.1) and told.min() > 0.9
    assert (found[:, 1 - axis] < 0.5 * found[:, axis]).all()


def test_what_hides_a_part_is_no_blur(face, focus):
    _, crops, landmarks = face
    crop, points = crops[0].copy(), landmarks[0]
    rows, columns = slice(0, int(points[LAYOUT.eyes[0], 1].max() * SIZE / 256) + 9), slice(0, SIZE)
    crop[rows, columns] = blurred(crop, 4, 4)[rows, columns]
    assert not focus.missing(crop, points, None, *ALL).any()


def test_a_face_of_which_nothing_is_known_is_not_blurred(face, focus):
    _, crops, landmarks = face
    flat, unseen = np.full_like(crops[0], 128), np.zeros((256, 256), bool)
    assert not focus.missing(flat, landmarks[0], None, *ALL).any()
    assert not focus.missing(blurred(crops[0], 3, 3), landmarks[0], unseen, *ALL).any()
    assert not focus.missing(blurred(crops[0], 3, 3), landmarks[0] + 300, None, *ALL).any()


def test_references_as_blurred_as_the_frame_stay_as_they_are(face):
    references, crops, landmarks = face
    soft = np.stack([blurred(crop, 2, 2) for crop in references.crops])
    mixed = type(references)(**vars(references) | {"crops": np.concatenate([references.crops[:3], soft[3:]])})
    focus, crop = UsualFocus(mixed, LAYOUT), blurred(crops[4], 2, 2)
    sharp, same = (focus.missing(crop, landmarks[4], None, np.array([row]), np.ones(1)) for row in (0, 4))
    assert sharp.max() > 2 and same.max() < 0.2


def test_lips_are_drawn_as_blurred_as_the_frame(face):
    references, crops, landmarks = face
    targets = np.roll(landmarks, 2, axis=0)
    renderer = WarpRenderer(references, targets, LAYOUT)
    rows, soft = np.arange(len(crops)), np.stack([blurred(crop, 2.5, 2.5) for crop in crops])
    sharp, drawn = (renderer.render(given, landmarks, targets, rows) for given in (crops, soft))
    wanted = np.stack([blurred(crop, 2.5, 2.5) for crop in sharp.crops]).astype(int)
    new = np.minimum(sharp.alpha, drawn.alpha) == 1
    unlike = [np.abs(made - wanted)[new].mean() for made in (sharp.crops, drawn.crops)]
    assert unlike[1] < 0.5 * unlike[0]


def test_nothing_is_done_without_blur():
    picture = np.random.default_rng(0).random((8, 9, 3), np.float32)
    assert softened(picture, np.zeros(2), 256) is picture
