"""A face that never showed speech opens modestly, and its lips stay as thick as they are."""

from __future__ import annotations

import numpy as np
import pytest
from test_manner import speaking
from test_rest import LAYOUT, track

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.audio import Speech
from mytalk_core.motion.bounds import (
    MODEST_OPENING,
    THICKNESS_TOLERANCE,
    MotionBounds,
    lip_pairs,
    lip_places,
    modest,
)
from mytalk_core.motion.generate import MotionModel, MotionOptions, generate_motion
from mytalk_core.motion.person import find_rest, interocular, opening_ratio

FRAMES = 100


@pytest.fixture(scope="module")
def model() -> MotionModel:
    return MotionModel.from_pretrained("mini")


def thickness(points: np.ndarray, layout: LandmarkLayout = LAYOUT) -> np.ndarray:
    """Of the lower and the upper lip (...,2), in the middle, over the inter-ocular distance."""
    pairs = [([14, 87, 317], [17, 84, 314]), ([13, 82, 312], [0, 37, 267])]
    lips = [np.linalg.norm(points[..., i, :] - points[..., o, :], axis=-1).mean(-1) for i, o in pairs]
    return np.stack(lips, -1) / interocular(points)[..., None]


@pytest.mark.parametrize("opening", [0.0, 0.1])
def test_a_still_opens_modestly_and_its_lips_keep_their_thickness(model, examples, opening):
    face = track([opening] * FRAMES)
    mono = Speech.open(examples / "speech_en.wav").mono_16k
    canonical = face.canonical[np.arange(FRAMES)]
    shown = {}
    for manner in ("own", "model"):
        motion = generate_motion(model, mono, face, FRAMES, MotionOptions(steps=3, manner=manner))
        shown[manner] = motion.onto(canonical, face.times_s)
    person = model.person_of(face)
    widths = interocular(person.rest) / person.mouth_width
    widest = {manner: (opening_ratio(points) * widths).max() for manner, points in shown.items()}
    assert 0.6 * MODEST_OPENING < widest["own"] < 1.03 * MODEST_OPENING < widest["model"]
    ratio = thickness(shown["own"]) / thickness(canonical)
    most = 1 + THICKNESS_TOLERANCE + 0.02
    assert 1 / most < ratio.min() and ratio.max() < most
    # Syllables that open little are as large as ever.
    small, usual = (opening_ratio(shown[manner]) * widths for manner in ("own", "model"))
    assert np.allclose(small[usual < 0.1], usual[usual < 0.1], atol=0.01)


def test_who_shows_their_own_speech_is_bounded_by_nothing(model):
    face = track(speaking(0.2))
    assert MotionBounds.of(face, model.person_of(face)) is None


def test_a_moment_of_lively_speech_shows_what_the_face_can_do(model):
    face = track(speaking(0.5, 30))
    bounds = MotionBounds.of(face, model.person_of(face))
    assert bounds is not None and bounds.opening > 1.3 * MODEST_OPENING
    still = track([0.4] * 30)
    assert MotionBounds.of(still, model.person_of(still)).opening == MODEST_OPENING


def test_more_expression_allows_more_and_less_of_it_no_less(model):
    face = track([0.05] * 10)
    person = model.person_of(face)
    bounds = MotionBounds.of(face, person)
    closed = np.zeros_like(person.rest)
    wide = ((track([0.8]).landmarks[0] - person.rest) / person.mouth_width)[None]
    calm, usual, lively = (
        opening_ratio(person.rest + bounds.bound(wide, closed, person, scale)[0] * person.mouth_width)
        for scale in (0.5, 1.0, 1.5)
    )
    assert calm == usual and lively > 1.2 * usual


def test_lips_are_as_thick_as_with_what_the_face_is_to_express(model):
    face = track([0.05] * 10)
    person = model.person_of(face)
    _, share = lip_places(LAYOUT)
    emotion = np.zeros_like(person.rest)
    below = person.rest[LAYOUT.lips, 1] > person.rest[[13, 14], 1].mean()
    emotion[LAYOUT.lips, 1] = 0.05 * share * np.where(below, 1, -1)
    plain, thick = (MotionBounds.of(face, person, shown).lips for shown in (None, emotion))
    assert (thick > plain).all()


def test_only_wide_openings_become_smaller_and_none_overtakes_another():
    opening = np.linspace(0, 2, 400)
    bounded = modest(opening, MODEST_OPENING)
    assert np.array_equal(bounded[opening < 0.15], opening[opening < 0.15])
    assert (np.diff(bounded) >= 0).all() and bounded.max() <= MODEST_OPENING
    assert np.diff(bounded).max() <= np.diff(opening).max() + 1e-9


def test_thin_and_thick_lips_are_mended_from_edge_to_edge_and_keep_the_opening(model):
    face = track([0.05] * 10)
    person = model.person_of(face)
    bounds = MotionBounds.of(face, person)
    inner, outer = lip_pairs(LAYOUT)
    pair, share = lip_places(LAYOUT)
    for factor in (0.5, 1.6):
        moved = find_rest(face).rest.copy()
        across = moved[outer] - moved[inner]
        moved[LAYOUT.lips] += (factor - 1) * share[:, None] * across[pair]
        displacement = ((moved - person.rest) / person.mouth_width)[None]
        closed = np.zeros_like(person.rest)
        mended = bounds.bound(displacement, closed, person, 1.0)[0] * person.mouth_width + person.rest
        ratio = thickness(mended) / thickness(find_rest(face).rest)
        edge = 1 + THICKNESS_TOLERANCE if factor > 1 else 1 / (1 + THICKNESS_TOLERANCE)
        assert ratio == pytest.approx(edge, abs=0.01)
        assert opening_ratio(mended) == pytest.approx(opening_ratio(moved), abs=1e-5)
        # What lies between the edges of a lip goes with them: in the middle, from the seam outwards.
        for row in ([14, 15, 16, 17], [13, 12, 11, 0]):
            assert (np.diff(np.abs(mended[row, 1] - mended[row[0], 1])) > 0).all()


@pytest.mark.parametrize("name", ["mesh478", "dense669"])
def test_every_point_of_the_lips_has_its_place_between_the_edges(name):
    layout = LandmarkLayout.load(name)
    pair, share = lip_places(layout)
    inner, outer = lip_pairs(layout)
    place = dict(zip(layout.lips.tolist(), zip(pair, share, strict=True), strict=True))
    for number, (a, b) in enumerate(zip(inner.tolist(), outer.tolist(), strict=True)):
        assert place[a][1] == 0 and place[b] == (number, pytest.approx(1))
    for corner in (61, 291, 78, 308):
        assert place[corner][1] == 0
    assert 0.1 < place[12][1] < place[11][1] < 0.95
    assert 0.1 < place[15][1] < place[16][1] < 0.95
