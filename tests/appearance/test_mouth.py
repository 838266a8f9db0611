"""Between the lips: teeth are neither stretched with the opening nor squeezed into a white line."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from drawn_face import SIZE, picture, shape

from mytalk_core.appearance.mouth import (
    GAP,
    STRETCH,
    Parting,
    dark_interior,
    height_apart,
    hide_edges,
    parting,
    seal,
    upper_teeth,
)
from mytalk_core.appearance.network_renderer import Refined
from mytalk_core.appearance.networks.refinement import Refinement
from mytalk_core.appearance.networks.refiner_inputs import unit_view
from mytalk_core.appearance.references.matching import MatchedReferences
from mytalk_core.appearance.references.mouths import ReferenceMouths
from mytalk_core.appearance.references.references import References
from mytalk_core.appearance.square.mask import mouth_mask
from mytalk_core.appearance.square.raster import triangulate
from mytalk_core.appearance.square.warp import ReferenceWarps, sample
from mytalk_core.appearance.square.window import Window
from mytalk_core.appearance.warp_renderer import WarpRenderer
from mytalk_core.face.layout import LandmarkLayout


@pytest.fixture(scope="module")
def layout():
    return LandmarkLayout.load("mesh478")


def toothed(layout, points, share):
    """A drawn face with white teeth over the upper share of its opening."""
    drawn = picture(layout, points)
    inner = points[layout.lips_inner]
    inside = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillPoly(inside, [np.rint((inner - 0.5) * 16).astype(np.int32)], 1, shift=4)
    low, high = inner[:, 1].min(), inner[:, 1].max()
    inside[int(np.ceil(low + share * (high - low))) :] = 0
    drawn[inside > 0] = 235
    return drawn


class Nudging(WarpRenderer):
    """One that reads its reference somewhat lower than the mesh says, as a network may have it."""

    def mixing(self, crop, target, mask, matched, warps):
        top, left, bottom, right = mask.core.pixels(self.references.size)
        maps = torch.ones(1, 1, bottom - top, right - left)
        flow = torch.stack([0 * maps, 0.4 * maps], dim=2)
        return Refined(Refinement(maps, maps, flow, torch.zeros(1, 3, *maps.shape[2:])), self.split_px, 1.0)


def render(layout, pool, source, target, renderer_class=WarpRenderer):
    """What a pool of (crop, landmarks) makes of a frame with a closed mouth."""
    crops, landmarks = np.stack([crop for crop, _ in pool]), np.stack([points for _, points in pool])
    count = len(pool)
    references = References(
        crops,
        landmarks.astype(np.float32),
        np.arange(count),
        np.ones(count, np.float32),
        np.zeros(count, np.int64),
    )
    renderer = renderer_class(references, target[None], layout)
    crop = picture(layout, source)[None]
    return renderer.render(crop, source[None], target[None], np.array([0])).crops[0]


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("opening", [16.0, 24.0])
def test_teeth_keep_their_height_however_far_the_mouth_opens(layout, opening, share):
    source, little = shape(layout).astype(np.float32), shape(layout, 5)
    target = shape(layout, opening).astype(np.float32)
    given = toothed(layout, little, share)
    result = render(layout, [(given, little)], source, target)

    def teeth(drawn):
        return int((drawn[:, 128].min(-1) > 150).sum())

    assert 0.8 * teeth(given) <= teeth(result) <= (STRETCH + 0.25) * teeth(given)
    # No ghosts: what is not a tooth between the lips is dark.
    bottom = int(target[layout.lips_inner, 1].max())
    assert result[bottom - 3, 128].min() < 90


@pytest.mark.parametrize(("widest", "opening"), [(16.0, 2.0), (24.0, 5.0)])
def test_the_lower_lip_rises_over_teeth_and_does_not_squeeze_them(layout, widest, opening):
    source, wide = shape(layout).astype(np.float32), shape(layout, widest)
    given = toothed(layout, wide, 0.3)
    result = render(layout, [(given, wide)], source, shape(layout, opening).astype(np.float32))

    def teeth(drawn):
        return int((drawn[:, 128].min(-1) > 150).sum())

    assert 0.9 * teeth(given) <= teeth(result) <= teeth(given)


def test_a_mouth_without_upper_teeth_shuts_as_the_mesh_does(layout):
    points = shape(layout, 16)
    inner = points[layout.lips_inner]
    tongue = picture(layout, points)
    tongue[int(inner[:, 1].mean()) : int(inner[:, 1].max()), 118:138] = (120, 70, 70)
    assert not upper_teeth(tongue, points, layout)[0]
    assert parting(5, 16, lambda: (False, 0.5)) == Parting() != parting(5, 16, lambda: (True, 0.5))


def test_nearly_closed_lips_show_no_line_of_teeth(layout):
    source, wide = shape(layout).astype(np.float32), shape(layout, 14)
    half = len(layout.lips_inner) // 2
    # Lips meet as a whole: their inner edge alone would stretch them.
    apart = np.ptp(source[layout.lips_inner[[half // 2, half + half // 2]], 1])
    target = shape(layout, -apart).astype(np.float32)
    target[layout.lips_inner[1:half], 1] = target[layout.lips_inner[:half:-1], 1] + 0.4
    result = render(layout, [(toothed(layout, wide, 1.0), wide)], source, target)
    seam = int(target[layout.lips_inner[:half:-1], 1].min())
    assert result[seam : seam + 2, 118:138].min(-1).max() < 150


@pytest.mark.parametrize("renderer_class", [WarpRenderer, Nudging])
@pytest.mark.parametrize("ajar", [0.0, 1.2])
@pytest.mark.parametrize("opening", [10.0, 16.0])
def test_the_seam_has_no_edge_of_teeth_that_reach_over_the_landmarks(layout, opening, ajar, renderer_class):
    wide, closed = shape(layout, opening), shape(layout).astype(np.float32)
    half = len(layout.lips_inner) // 2
    upper, lower = layout.lips_inner[:half:-1], layout.lips_inner[1:half]
    closed[lower, 1] = closed[upper, 1] + ajar
    given = toothed(layout, wide, 0.5)
    top = int(wide[upper, 1].min())
    given[top - 2 : top + 1, 116:140] = 235  # found landmarks are never exact
    result = render(layout, [(given, wide)], closed, closed, renderer_class)
    seam = int(closed[upper, 1].mean())
    # From lip to lip nothing is whiter than the lips.
    assert result[seam - 3 : seam + 4, 114:142].min(-1).max() < 90


def test_the_refiner_is_shown_teeth_as_they_will_be_drawn(layout):
    """As the mesh has it, a mouth that nearly shuts over teeth has a white line."""
    wide, closed = shape(layout, 14).astype(np.float32), shape(layout).astype(np.float32)
    half = len(layout.lips_inner) // 2
    upper, lower = layout.lips_inner[:half:-1], layout.lips_inner[1:half]
    closed[lower, 1] = closed[upper, 1] + 0.4
    crop, ones = toothed(layout, wide, 0.5), np.ones(1, np.float32)
    pool = References(crop[None], wide[None], np.arange(1), ones, np.zeros(1, np.int64))
    mask = mouth_mask(closed, closed, layout)
    warps = ReferenceWarps(triangulate(layout), closed, mask.window, pool.landmarks)
    matched = MatchedReferences(np.arange(1), ones, [None], [None])
    view = unit_view(
        picture(layout, closed), closed, mask, pool, matched, warps, ReferenceMouths(pool, layout)
    )
    (mesh,) = warps.pixels(view.window, mask.mouth, SIZE)
    middle = slice(118 - view.window.left, 138 - view.window.left)
    whitest = [shown[:, middle].min(-1).max() for shown in (sample(crop, mesh), view.references[0])]
    assert whitest[0] > 200 > 140 > whitest[1]


@pytest.mark.parametrize("curve", [0.0, 5.0])
@pytest.mark.parametrize("size", [SIZE, 2 * SIZE])
def test_lips_that_meet_over_an_open_mouth_have_a_seam_as_filmed_ones(layout, curve, size):
    closed, half = shape(layout).astype(np.float32), len(layout.lips_inner) // 2
    upper, lower = layout.lips_inner[:half:-1], layout.lips_inner[1:half]
    closed[lower] = closed[upper]
    closed[:, 1] += curve * np.square((closed[:, 0] - 128) / 30)  # a smile's
    whole = Window(0, 0, SIZE, SIZE)
    lips = np.full((size, size, 3), (170, 60, 70), np.float32)
    result = dark_interior(lips, closed, layout, whole, size, 1.0).mean(-1) / 100
    scale = size // SIZE
    column, seam = (scale * closed[upper[4]]).astype(int)
    profile = result[seam - 8 * scale : seam + 8 * scale, column]
    # Neither a bar nor a line that is hardly there: filmed ones are 0.46 to 0.74 as bright as the lips, and
    # half way back to them one unit from their middle.
    assert 0.5 < profile.min() < 0.75
    assert 1.5 < (profile < 0.83).sum() / scale < 3.5


def test_a_seam_is_drawn_once_and_in_the_colour_of_the_lips(layout):
    closed, half = shape(layout).astype(np.float32), len(layout.lips_inner) // 2
    upper, lower = layout.lips_inner[:half:-1], layout.lips_inner[1:half]
    closed[lower] = closed[upper]
    column, seam = closed[upper[4]].astype(int)
    whole, lip = Window(0, 0, SIZE, SIZE), np.array((170, 60, 70), np.float32)
    lips = np.full((SIZE, SIZE, 3), lip)
    there = np.array(lips)
    there[seam - 1 : seam + 2] *= 0.66
    result = dark_interior(there, closed, layout, whole, SIZE, 1.0)[seam - 8 : seam + 8, column]
    assert 0.6 < (result.mean(-1) / lip.mean()).min() < 0.7
    teeth = np.array(lips)
    teeth[seam - 1 : seam + 2] = 100
    result = dark_interior(teeth, closed, layout, whole, SIZE, 1.0)[seam, column]
    assert result[0] > 2 * result[1:].max()


def test_lips_that_were_closed_stay_as_they_were(layout):
    points = shape(layout).astype(np.float32)
    half = len(layout.lips_inner) // 2
    points[layout.lips_inner[1:half], 1] = points[layout.lips_inner[:half:-1], 1] + 0.2
    grid = np.dstack(np.meshgrid(np.arange(SIZE), np.arange(SIZE))).astype(np.float32)
    whole = Window(0, 0, SIZE, SIZE)
    np.testing.assert_allclose(hide_edges(grid, points, layout, whole, SIZE, 0.0), grid, atol=1e-3)
    moved = np.abs(hide_edges(grid, points, layout, whole, SIZE, 1.0) - grid).max(-1)
    seam = int(points[layout.lips_inner[half:], 1].mean())
    assert moved[seam - 1 : seam + 2, 118:138].min() > 1 and moved[: seam - 12].max() < 1e-3


def test_lips_keep_their_height_however_thin_where_a_mouth_shuts(layout):
    points, half = shape(layout).astype(np.float32), len(layout.lips_outer) // 2
    points[layout.lips_inner, 1] = 151
    points[layout.lips_outer[half + 1 :], 1], points[layout.lips_outer[1:half], 1] = 148, 155
    grid = np.dstack(np.meshgrid(np.arange(SIZE), np.arange(SIZE))).astype(np.float32)
    hiding = hide_edges(grid, points, layout, Window(0, 0, SIZE, SIZE), SIZE, 1.0)
    # From the seam, units down.
    rows, read = grid[:, 128, 1] + 0.5 - 151, hiding[:, 128, 1] + 0.5 - 151
    lips = (rows > -3) & (rows < 4)
    assert read[lips].min() > -3 and read[lips].max() < 4, "skin is drawn for lips"
    assert np.abs(read).min() > 1.4, "teeth show"
    np.testing.assert_allclose(read[~lips], rows[~lips], atol=1e-3)


def test_where_teeth_end_and_how_far_they_are_stretched(layout):
    points = shape(layout, 16)
    shown, gap = upper_teeth(toothed(layout, points, 0.55), points, layout)
    assert shown and gap > 0.5
    assert upper_teeth(picture(layout, points), points, layout)[1] == GAP[1]
    assert height_apart(16, 15) == 1 < height_apart(16, 5) == 16 / 5 / STRETCH
    assert height_apart(1, 0) == height_apart(0, 1) == height_apart(14, 20) == 1
    assert 1 > height_apart(11, 20) > 11 / 20 and height_apart(8, 20) == 0.4
    assert seal(np.array([0.3, 0.3, 4.0]), np.array([9.0, 0.5, 9.0])).tolist() == [1, 0, 0]


def test_lips_beyond_a_picture_darken_nothing_in_it(layout):
    corner, lips = Window(0, 0, 32, 32), layout.template[:, :2].astype(np.float32)
    seen = np.full((32, 32, 3), 90, np.float32)
    for away in ([0, 0], [0, 300], [-300, 0]):
        assert np.array_equal(dark_interior(seen, lips + np.float32(away), layout, corner, 256, 1.0), seen)
