"""A person's texture model: what it learns from, what it expects, and lips that are drawn towards it."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.appearance.mouth import between_lips
from mytalk_core.appearance.references.references import read_references
from mytalk_core.appearance.references.texture_model import FEWEST, STEP, Components, TextureModel
from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.appearance.square.mask import mouth_mask
from mytalk_core.appearance.square.raster import triangulate
from mytalk_core.appearance.square.warp import MeshWarp
from mytalk_core.appearance.warp_renderer import WarpRenderer, WarpSettings
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.remux import copy_untagged
from mytalk_core.pipeline import stages

LAYOUT = LandmarkLayout.load("mesh478")
MESH = triangulate(LAYOUT)
SIZE = 256
APART = 8  # frames between those that lend and those that are drawn


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """References, and the crops (B, S, S, 3) and landmarks (B, N, 2) of later frames."""
    path = tmp_path_factory.mktemp("texture") / "clip.mp4"
    copy_untagged(EXAMPLES / "ai_woman.mp4", path, 4.0)
    clip = FileClip.open(path)
    track = stages.track(load_face_reader("cpu"), clip).choose("largest")
    lending, drawn = np.arange(0, 60), np.arange(60 + APART, len(clip), 4)
    references = read_references(clip, track, lending, SIZE, LAYOUT)
    crops = [cut_crop(p.rgb, track.similarity[p.index], SIZE) for p in clip.pictures(drawn)]
    return references, np.stack(crops), track.canonical[drawn].astype(np.float32)


@pytest.fixture(scope="module")
def model(scene):
    return TextureModel.of(scene[0], MESH)


def asked(model, crop, source, target=None, most=1.0, inside=None):
    """What the model expects of a frame, and the mask it is of."""
    target = source if target is None else target
    mask = mouth_mask(target, target, LAYOUT)
    warp = MeshWarp(MESH, target, 256, mask.window.pixels(256))
    return model.expected(crop, source, target, mask, warp, inside, most), mask


def half(picture):
    height, width = picture.shape[:2]
    return cv2.resize(picture, (width // STEP, height // STEP), interpolation=cv2.INTER_AREA)


def test_components_have_the_variance_and_the_range_of_what_they_are_of():
    rows = np.random.default_rng(0).normal(size=(40, 12)) * np.arange(1, 13)
    for power in (0.5, 1.0):
        found = Components.of(rows, 5, power)
        values = found.values(rows)
        spread = values.std(0)
        assert values.shape == (40, 5) and np.isclose(np.square(spread).sum(), 1)
        raw = (rows - rows.mean(0)) @ (found.axes / np.linalg.norm(found.axes, axis=1, keepdims=True)).T
        share = raw.std(0) ** power / np.sqrt((raw.std(0) ** (2 * power)).sum())
        np.testing.assert_allclose(spread, share)
        assert np.array_equal(
            found.values(rows + 1000 * rows), np.clip(found.values(rows * 1001), *limits(values))
        )
    assert Components.of(np.ones((30, 4)), 3, 1.0).values(np.ones((2, 4))).shape == (2, 0)


def limits(values):
    return values.min(0), values.max(0)


def test_it_knows_how_mouths_look_that_it_never_saw(scene, model):
    _, crops, landmarks = scene
    for crop, points in zip(crops, landmarks, strict=True):
        expected, mask = asked(model, crop, points)
        truth, inside = half(mask.core.cut(crop).astype(np.float32)), expected.share > 0
        nothing = np.abs(truth[inside] - truth[inside].mean(0)).mean()
        assert np.abs(expected.picture - truth)[inside].mean() < min(0.3 * nothing, 5)


@pytest.mark.parametrize("size", [256, 352])
def test_lips_that_are_drawn_towards_it_come_nearer_to_the_truth(scene, size):
    references, crops, landmarks = scene
    larger = replace(
        references, crops=np.stack([cv2.resize(crop, (size, size)) for crop in references.crops])
    )
    renderers = [
        WarpRenderer(larger, landmarks, LAYOUT, settings=WarpSettings(texture_model=own))
        for own in (False, True)
    ]
    errors = []
    for index, (crop, points) in enumerate(zip(crops, landmarks, strict=True)):
        crop, mask = cv2.resize(crop, (size, size)), mouth_mask(points, points, LAYOUT)
        truth = mask.core.cut(crop).astype(np.float32)
        inside = mask.core.enlarge(mask.window.part(mask.lips, mask.core), size) > 0
        inside &= between_lips(points, LAYOUT, mask.core, size) == 0
        drawn = [
            one.lips(crop, points, index, mask, texture=one.expected(crop, points, points, mask))
            for one in renderers
        ]
        errors.append([np.square(lips - truth)[inside].mean() for lips in drawn])
    without, with_model = np.mean(errors, axis=0)
    assert with_model < 0.93 * without


def test_the_renderer_draws_towards_it(scene):
    references, crops, landmarks = scene
    renderer = WarpRenderer(references, landmarks, LAYOUT)
    frame = renderer.prepared(0, 0, crops[0], landmarks[0], landmarks[0], None)
    assert np.isclose(frame.texture.share.max(), WarpRenderer.TEXTURE)
    off = WarpRenderer(references, landmarks, LAYOUT, settings=WarpSettings(texture_model=False))
    one, other = (
        own.render(crops[:1], landmarks[:1], landmarks[:1], np.array([0])).crops[0] for own in (renderer, off)
    )
    assert (one != other).any()


def test_only_enough_frames_that_show_the_mouth_make_one(scene):
    references, _, _ = scene
    assert TextureModel.of(references.take(np.arange(FEWEST)), MESH) is not None
    assert TextureModel.of(references.take(np.arange(FEWEST - 1)), MESH) is None
    # Open mouths that are made have the numbers of the frames they are made of.
    made = references.take(np.arange(FEWEST) % 5)
    assert TextureModel.of(made, MESH) is None
    seen = np.ones((len(references), 256, 256), bool)
    seen[FEWEST - 1 :, 200:] = False
    assert TextureModel.of(replace(references, seen=seen), MESH) is None
    seen[FEWEST - 1] = True
    assert TextureModel.of(replace(references, seen=seen), MESH) is not None
    nothing = np.broadcast_to(seen[FEWEST - 1] & False, seen.shape)
    assert TextureModel.of(replace(references, seen=nothing), MESH) is None


def test_skin_that_some_have_not_seen_is_not_read(scene, model):
    references, crops, landmarks = scene
    seen = np.ones((len(references), 256, 256), bool)
    row, column = (int(place[0]) for place in np.nonzero(model.skin))
    top, left = model.window.top + 4 * row, model.window.left + 4 * column
    seen[0, top : top + 4, left : left + 4] = False
    less = TextureModel.of(replace(references, seen=seen), MESH)
    assert not less.skin[row, column] and 0 < less.skin.sum() < model.skin.sum()
    assert np.isfinite(asked(less, crops[0], landmarks[0])[0].picture).all()


def test_light_is_followed_beyond_what_the_references_had_and_a_hand_is_no_light(scene, model):
    _, crops, landmarks = scene
    dim = np.clip(crops[0], 40, 215)
    usual, mask = asked(model, dim, landmarks[0])
    brighter, _ = asked(model, dim + np.uint8(40), landmarks[0])
    inside = usual.share > 0
    assert 25 < (brighter.picture - usual.picture)[inside].mean() < 50
    hand = dim.copy()
    left = mask.window.left + 24
    hand[:, :left] = 0
    assert np.abs(asked(model, hand, landmarks[0])[0].picture - usual.picture)[inside].mean() < 12


def test_skin_beyond_the_frames_edge_is_not_read(scene, model):
    _, crops, landmarks = scene
    usual, mask = asked(model, crops[0], landmarks[0])
    inside, cut = np.ones((256, 256), bool), crops[0].copy()
    inside[:, : mask.window.left + 24] = False
    cut[~inside] = 0
    expected, _ = asked(model, cut, landmarks[0], inside=inside)
    other = crops[0].copy()
    other[~inside] = 255
    assert np.array_equal(asked(model, other, landmarks[0], inside=inside)[0].picture, expected.picture)
    assert np.abs(expected.picture - usual.picture)[usual.share > 0].mean() < 4
    nothing = asked(model, cut, landmarks[0], inside=np.zeros_like(inside))[0]
    assert np.isfinite(nothing.picture).all()


def test_teeth_stay(scene, model):
    _, crops, landmarks = scene
    expected, mask = asked(model, crops[0], landmarks[0], most=0.5)
    inner = half(between_lips(landmarks[0], LAYOUT, mask.core, 256))
    beside = (inner == 0) & (half(mask.window.part(mask.lips, mask.core)) > 0)
    assert inner.max() == 1 and beside.any()
    assert (expected.share[inner == 1] == 0).all() and (expected.share[beside] == 0.5).all()


def test_fine_structure_stays(scene, model):
    _, crops, landmarks = scene
    expected, mask = asked(model, crops[0], landmarks[0])
    lips = mask.core.cut(crops[0]).astype(np.float32)
    striped = lips + 20 * (np.arange(lips.shape[1]) % 2)[:, None]
    stripes = (expected.draw(striped) - expected.draw(lips))[20:-20, 20:-20, 0]
    assert np.abs(np.diff(stripes, axis=1)).min() > 18
