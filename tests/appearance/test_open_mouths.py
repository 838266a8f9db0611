"""A source that never opens its mouth gets the inside of another's, in its own light and colours."""

import numpy as np
import pytest
from drawn_face import drawn, picture
from drawn_face import shape as drawn_shape

from mytalk_core.appearance.references.open_mouths import MADE, SQUARE, with_open_mouths
from mytalk_core.appearance.references.references import References, mouth_opening
from mytalk_core.appearance.square.mask import INNER, LIPS, lip_map, mouth_mask
from mytalk_core.appearance.warp_renderer import WarpRenderer
from mytalk_core.face.layout import LandmarkLayout

WIDE = (0.0, 4.0, 9.0, 15.0)
SHUT = -6.0  # of the template, whose mouth is ajar


def shape(layout, opening=0.0):
    """A face whose lips meet, the lower one moved down."""
    return drawn_shape(layout, SHUT + opening)


@pytest.fixture(scope="module")
def layout():
    return LandmarkLayout.load("mesh478")


def pool(layout, openings=(0.0, 1.0), change=lambda crop: crop):
    shapes = np.stack([shape(layout, opening) for opening in openings]).astype(np.float32)
    crops = np.stack([change(picture(layout, points)) for points in shapes])
    count = len(shapes)
    return References(crops, shapes, np.arange(count), np.ones(count, np.float32), np.zeros(count, np.int64))


def wanted(layout, openings=WIDE):
    return np.stack([shape(layout, opening) for opening in openings]).astype(np.float32)


def inside(crop, points, layout):
    return crop[lip_map(points, layout, SQUARE) == INNER].astype(float)


def test_every_mouth_that_was_never_shown_is_there(layout):
    own, targets = pool(layout), wanted(layout)
    lent = with_open_mouths(own, targets, layout)
    assert len(own) < len(lent) <= len(own) + MADE
    missed = mouth_opening(targets, layout)[1:]
    made = mouth_opening(lent.landmarks[len(own) :], layout)
    assert all(np.abs(made - opening).min() < 0.01 for opening in missed)
    for old, new in zip(vars(own).values(), vars(lent).values(), strict=True):
        assert (old is None and new is None) or np.array_equal(new[: len(own)], old)


@pytest.mark.parametrize("openings", [(0.0, 15.0), (7.0,)])
def test_own_teeth_are_kept(layout, openings):
    own = pool(layout, openings)
    assert with_open_mouths(own, wanted(layout, (*WIDE, 30.0)), layout) is own


def test_a_mouth_that_stays_shut_is_lent_nothing(layout):
    own = pool(layout)
    assert with_open_mouths(own, wanted(layout, (0.0, 0.5, 1.0)), layout) is own


def test_teeth_show_and_lips_and_skin_stay_the_persons(layout):
    own, target = pool(layout), wanted(layout, (12.0,))
    mask = mouth_mask(target[0], target[0], layout)
    pictures = []
    for references in (own, with_open_mouths(own, target, layout)):
        renderer = WarpRenderer(references, target, layout)
        rendered = renderer.render(own.crops[:1], own.landmarks[:1], target, np.array([0])).crops[0]
        pictures.append(rendered.astype(float))
    dark, lent = (inside(one, target[0], layout).mean(-1) for one in pictures)
    # Of the dark filling nothing is brighter than the lips; teeth are, and beside them it stays dark.
    assert np.percentile(dark, 95) < 100 < np.percentile(lent, 95) and np.percentile(lent, 5) < 90
    lips = lip_map(target[0], layout, mask.window)
    around = np.pad(lips, 8)[8:-8, 8:-8] == 0
    near = mask.window.cut(np.abs(pictures[1] - pictures[0]).max(-1))
    assert np.percentile(near[around], 99) < 12


def test_teeth_are_as_bright_as_the_skin_and_paler_than_the_lips(layout):
    own, target = pool(layout), wanted(layout, (12.0,))
    found = inside(with_open_mouths(own, target, layout).crops[-1], target[0], layout)
    teeth = found[found.mean(1) >= np.quantile(found.mean(1), 0.9)].mean(0)
    skin, lips = own.crops[0, 150, 80], own.crops[0][lip_map(own.landmarks[0], layout, SQUARE) == LIPS]
    assert teeth.mean() == pytest.approx(skin.mean(), rel=0.06)
    assert np.ptp(teeth) < np.ptp(np.median(lips, 0)) / 2


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_in_a_dark_picture_it_is_as_much_darker(layout, share):
    target = wanted(layout, (12.0,))
    bright, dim = (
        inside(
            with_open_mouths(pool(layout, change=change), target, layout).crops[-1], target[0], layout
        ).mean()
        for change in (lambda crop: crop, lambda crop: np.rint(crop * share).astype(np.uint8))
    )
    assert dim / bright == pytest.approx(share, rel=0.15)


def test_in_a_grey_picture_it_is_grey(layout):
    target = wanted(layout, (12.0,))
    grey = pool(layout, change=lambda crop: np.repeat(crop.mean(-1, keepdims=True), 3, -1).astype(np.uint8))
    found = inside(with_open_mouths(grey, target, layout).crops[-1], target[0], layout)
    assert np.ptp(found, axis=1).max() <= 4 and np.ptp(found) > 40


def test_what_was_beyond_the_edge_moves_along(layout):
    own, target = pool(layout), wanted(layout, (15.0,))
    seen = np.ones((2, 256, 256), bool)
    seen[:, 200:] = False
    lent = with_open_mouths(References(**vars(own) | {"seen": seen, "free": seen}), target, layout)
    chin = int(target[0][:, 1].max())
    assert lent.seen.shape == lent.free.shape == (3, 256, 256)
    assert lent.seen[2, :190].all() and not lent.seen[2, min(chin, 250) :].any()


def test_a_drawn_clip_has_them(layout):
    closed, opened = shape(layout), shape(layout, 12.0)
    edits = drawn(layout, [picture(layout, closed)] * 3, [closed] * 3, np.stack([closed, opened, opened]))
    middle = edits[2].pasted.rgb[lip_map(opened, layout, SQUARE) == INNER].mean(-1)
    assert np.percentile(middle, 95) > 100
