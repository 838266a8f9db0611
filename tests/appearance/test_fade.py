"""New lips fade with the frame; the midst of a fade stays and lends nothing; behind a veil of light a new
mouth is no darker than the face about it."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_face import SIZE, drawn, picture, shape

from mytalk_core.appearance.fade import Light, UsualLight
from mytalk_core.appearance.references.plan import ReferenceChoice, expected_brightness, plan_references
from mytalk_core.appearance.references.references import References
from mytalk_core.face.layout import LandmarkLayout

OPENINGS = (0.0, 6.0, 12.0, 18.0, 9.0, 3.0, 15.0, 2.0)
SHOTS = np.zeros(len(OPENINGS), np.int64)


@pytest.fixture(scope="module")
def layout():
    return LandmarkLayout.load("mesh478")


@pytest.fixture(scope="module")
def clear(layout):
    faces = [picture(layout, shape(layout, opening)) for opening in OPENINGS]
    for face in faces:
        for eye in layout.eyes:
            left, top = shape(layout)[eye].min(0).astype(int)
            face[top : top + 8, left : left + 20] = (35, 30, 28)
    return faces


def blended(face, colour, share):
    return np.rint(face + share * (float(colour) - face)).astype(np.uint8)


def inside(layout, edit):
    rows = shape(layout, 12.0)[layout.lips_inner, 1]
    return edit.pasted.rgb[int(rows.min()) + 2 : int(rows.max()) - 2, 122:134].astype(float)


def test_nothing_new_is_darker_than_the_face_behind_a_veil(layout, clear):
    frames = [blended(clear[0], 255, 0.4), *clear[1:]]
    shapes = [shape(layout, opening) for opening in OPENINGS]
    veiled, *others = drawn(layout, frames, shapes, [shape(layout, 12.0)] * len(shapes))
    assert veiled.is_edited
    assert inside(layout, veiled).min() >= frames[0][60:160, 48:208].min() - 6
    assert all(inside(layout, other).mean() < 60 for other in others)


@pytest.mark.parametrize("colour", [255, 0])
def test_new_lips_fade_with_the_frame(layout, clear, colour):
    frames = [blended(clear[0], colour, 0.35), blended(clear[0], colour, 0.2), *clear]
    shapes = [shape(layout, 0.0)] * 2 + [shape(layout, opening) for opening in OPENINGS]
    darker, lighter, whole, *_ = drawn(layout, frames, shapes, [shape(layout, 12.0)] * len(shapes))
    for edit, share in ((darker, 0.35), (lighter, 0.2)):
        assert edit.is_edited
        difference = edit.pasted.rgb - blended(whole.pasted.rgb, colour, share).astype(float)
        assert np.abs(difference).mean() < 1
        assert np.abs(difference).max() < 16


@pytest.mark.parametrize("colour", [255, 0])
def test_the_midst_of_a_fade_stays_and_lends_nothing(layout, clear, colour):
    # Only frames that have faded show the mouth that is wanted.
    frames = [blended(clear[0], colour, 0.8), blended(clear[0], colour, 0.7), *clear[1:]]
    shapes = [shape(layout, 0.0), *(shape(layout, opening) for opening in OPENINGS)]
    edits = drawn(layout, frames, shapes, [shape(layout, 0.0)] * len(shapes))
    assert not edits[0].is_edited
    assert not edits[1].is_edited
    chin = np.s_[188:200, 118:138]
    for edit, face in zip(edits[2:], clear[1:], strict=True):
        assert edit.is_edited
        assert np.abs(edit.pasted.rgb[chin].astype(float) - face[chin]).mean() < 12


def test_a_veil_is_told_by_how_dark_eyes_and_nose_are(clear):
    crops = np.stack(clear)
    light = UsualLight(Light.of(crops), SHOTS)

    def veil(crop):
        return light.veil(Light.of(crop[None]).darkest[0])

    assert not veil(crops[3]).any()
    assert not veil(blended(crops[3], 0, 0.7)).any()
    np.testing.assert_allclose(veil(blended(crops[3], 255, 0.6)), (167, 165, 164), atol=3)
    np.testing.assert_array_equal(veil(np.full((SIZE, SIZE, 3), 255, np.uint8)), 255)


@pytest.mark.parametrize("colour", [255, 0])
def test_a_fade_is_told_beside_what_lends(clear, colour):
    light = UsualLight(Light.of(np.stack(clear)), SHOTS)
    beside = np.array([0, 2]), np.array([0.5, 0.5])

    def fade_of(crop):
        return light.fade(Light.of(crop[None]), *beside)

    for share in (0.3, 0.6, 0.9):
        fade = fade_of(blended(clear[3], colour, share))
        assert fade.left == pytest.approx(1 - share, abs=0.05)
        assert fade.colour == colour
    # A brighter lamp, a duller picture, a little of a fade and nothing at all.
    for other in (clear[3] + np.uint8(30), blended(clear[3], clear[3].mean(), 0.3)):
        assert fade_of(other).left > 0.95
    assert fade_of(blended(clear[3], colour, 0.05)).is_none
    assert fade_of(np.full_like(clear[3], colour)).is_none


def test_frames_in_a_fade_lend_nothing_and_dark_ones_do(clear):
    light = UsualLight(Light.of(np.stack(clear)), SHOTS)

    def fading(shots, *faded):
        crops = np.stack([blended(clear[0], colour, share) for colour, share in faded])
        return light.fading(Light.of(crops), np.array(shots)).tolist()

    assert fading([0] * 3, (255, 0.05), (255, 0.2), (255, 0.5)) == [False, True, True]
    assert fading([0] * 4, (0, 0.05), (0, 0.2), (0, 0.5), (0, 0.8)) == [False, True, True, True]
    assert fading([0] * 3, (0, 0.2), (0, 0.5), (0, 0.6)) == [False] * 3
    assert fading([0, 0, 1, 1], (0, 0.2), (0, 0.5), (0, 0.8), (0, 0.5)) == [False, False, True, True]


def test_contrast_is_that_of_the_shot(clear):
    crops = np.stack(clear)
    dark = np.stack([blended(face, 0, 0.75) for face in clear])
    light = UsualLight(Light.of(np.concatenate([crops, dark])), np.r_[SHOTS, SHOTS + 1])
    np.testing.assert_array_equal(light.faded(Light.of(dark), SHOTS + 1), 0)
    np.testing.assert_array_equal(light.faded(Light.of(dark), SHOTS), 1)
    np.testing.assert_array_equal(light.faded(Light.of(crops), SHOTS), 0)


def test_lips_are_borrowed_from_the_same_light(layout, clear):
    lit = np.repeat([1.0, 0.4], 4)
    crops = np.stack([blended(face, 0, 1 - share) for face, share in zip(clear, lit, strict=True)])
    shapes = np.stack([shape(layout, opening) for opening in OPENINGS]).astype(np.float32)
    frames, shots = np.arange(len(crops)), np.zeros(len(crops), np.int64)
    references = References(crops, shapes, frames, np.ones(len(crops), np.float32), shots)
    light = expected_brightness(references, frames, shots)
    assert (light[:4] > 1.5 * light[4:]).all()
    assert np.isnan(expected_brightness(references, frames, shots + 1)).all()
    # Each is to make a mouth that only the frames in the other light have.
    swapped = np.roll(shapes, 4, axis=0)
    for known, lent in ((light, lit), (None, np.roll(lit, 4))):
        plan = plan_references(
            references, swapped, layout, ReferenceChoice(references=1, change=0.1), shots, known
        )
        np.testing.assert_array_equal(lit[plan.indices[np.r_[1:3, 5:7], 0]], lent[np.r_[1:3, 5:7]])
