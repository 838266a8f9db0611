"""Mesh warp, masks, colour match, choice of references, renderer and composite on a drawn face."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from drawn_face import SIZE, picture, shape

from mytalk_core.appearance.blend import blend, fine_weights
from mytalk_core.appearance.colour import cells, ring_corrections
from mytalk_core.appearance.composite import make_patch
from mytalk_core.appearance.networks.refinement import fine_weights as fine_weights_together
from mytalk_core.appearance.references.plan import (
    ReferenceChoice,
    plan_references,
    reference_distance,
    steady_path,
)
from mytalk_core.appearance.references.references import References, mouth_opening, read_references, sharpness
from mytalk_core.appearance.square.crop import crop_size, cut_crop
from mytalk_core.appearance.square.mask import FEATHER, mouth_mask
from mytalk_core.appearance.square.raster import draw_triangles, signed_area, triangulate, uncrossed
from mytalk_core.appearance.square.warp import SMOOTH_UNITS, MeshWarp, ReferenceWarps, pixel_grid
from mytalk_core.appearance.warp_renderer import WarpRenderer, WarpSettings
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.picture import Picture


@pytest.fixture(scope="module")
def layout():
    return LandmarkLayout.load("mesh478")


def pool(layout, openings, shade=0, size=SIZE):
    shapes = np.stack([shape(layout, o) for o in openings]).astype(np.float32)
    crops = np.stack([picture(layout, s, size, shade) for s in shapes])
    ones = np.ones(len(openings), np.float32)
    return References(crops, shapes, np.arange(len(openings)), ones, np.zeros(len(openings), np.int64))


def track_of(shapes):
    """A face track whose frames are the canonical squares themselves."""
    count = len(shapes)
    similarity = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    return SimpleNamespace(canonical=shapes, similarity=similarity, shots=np.zeros(count, np.int32))


def test_triangulation_covers_the_square_without_folds(layout):
    mesh = triangulate(layout)
    vertices = mesh.vertices(layout.template[:, :2])
    assert mesh.triangles.max() == len(vertices) - 1
    assert (signed_area(vertices, mesh.triangles) >= -1e-2).all()
    covered = draw_triangles(vertices, mesh, (0, 0, SIZE, SIZE), SIZE)
    a, b, c = (vertices[mesh.triangles[covered]][..., i, :] for i in range(3))
    pixel = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1) + 0.5

    def side(p, q):
        return (q[..., 0] - p[..., 0]) * (pixel[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (
            pixel[..., 0] - p[..., 0]
        ) > -0.05 * np.hypot(*np.moveaxis(q - p, -1, 0))

    assert (side(a, b) & side(b, c) & side(c, a)).all()


def test_warp_moves_landmarks_onto_the_target(layout):
    mesh, source, target = triangulate(layout), shape(layout, 2), shape(layout, 14, wide=3)
    mapped = MeshWarp(mesh, target, SIZE, (0, 0, SIZE, SIZE)).coordinates(source)
    at = np.rint(target[layout.lips_outer] - 0.5).astype(int)
    read = mapped[at[:, 1], at[:, 0]] + 0.5 + (target[layout.lips_outer] - at - 0.5)
    assert np.abs(read - source[layout.lips_outer]).max() < 1.0


def test_warp_and_its_inverse_give_the_crop_back(layout):
    rng = np.random.default_rng(0)
    crop = cv2.resize(
        rng.integers(0, 255, (16, 16, 3), np.uint8), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
    )
    mesh, source, target = triangulate(layout), shape(layout, 4), shape(layout, 10)
    whole = (0, 0, SIZE, SIZE)
    there = MeshWarp(mesh, target, SIZE, whole).warp(crop, source)
    back = MeshWarp(mesh, source, SIZE, whole).warp(there, target)
    assert np.abs(there.astype(int) - crop).mean() > 1.5
    assert np.abs(back.astype(int) - crop)[8:-8, 8:-8].mean() < 1.0
    assert np.array_equal(MeshWarp(mesh, source, SIZE, whole).warp(crop, source), crop)


def test_pixel_by_pixel_no_more_of_a_frame_is_read_than_the_renderer_says(layout):
    references = pool(layout, [2, 6, 10], size=288)
    source, target = shape(layout, 4), shape(layout, 9)
    renderer = WarpRenderer(references, target[None], layout)
    frame = cv2.resize(picture(layout, source, SIZE, 0), (900, 900), interpolation=cv2.INTER_CUBIC)
    frame += np.random.default_rng(0).integers(0, 9, frame.shape, np.uint8)
    similarity = np.array([[SIZE / 900, 0.02, -2], [-0.02, SIZE / 900, 3]])
    sharp = renderer.reads(source, target)
    whole, cut = cut_crop(frame, similarity, 288), cut_crop(frame, similarity, 288, sharp=sharp)
    away = np.abs(whole.astype(int) - cut)
    # OpenCV counts pixels from where it starts, and rounds.
    assert sharp.cut(away).max() <= 1 and sharp.cut(away).mean() < 0.01 < away.mean() < 1
    drawn = [renderer.render(one[None], source[None], target[None], np.zeros(1, int)) for one in (whole, cut)]
    new = drawn[0].alpha > 0
    assert np.array_equal(drawn[0].alpha, drawn[1].alpha) and new.any()
    away = np.abs(drawn[0].crops[new].astype(int) - drawn[1].crops[new])
    assert away.max() <= 1 and away.mean() < 0.01


def test_a_part_of_a_window_is_drawn_as_in_the_whole(layout):
    mesh, vertices = triangulate(layout), triangulate(layout).vertices(shape(layout, 14, wide=3))
    whole, part = (320, 300, 660, 620), (430, 401, 533, 517)
    drawn = draw_triangles(vertices, mesh, whole, 768)
    assert np.array_equal(draw_triangles(vertices, mesh, part, 768), drawn[110:213, 101:217])


@pytest.mark.parametrize("size", [288, 768])
def test_references_are_warped_smoothly_but_about_the_mouth(layout, size):
    mesh, target = triangulate(layout), shape(layout, 14, wide=3)
    sources = np.stack([shape(layout, 2), shape(layout, 8, wide=-4)])
    mask = mouth_mask(sources[0], target, layout)
    warps, core = ReferenceWarps(mesh, target, mask.window, sources), mask.core
    box, exact = core.pixels(size), core.enlarge(mask.window.part(mask.mouth, core), size)[..., None]
    # The same by blurring every pixel's own map.
    width, grid = 2 * round(SMOOTH_UNITS * size / 256 / 2) + 1, pixel_grid(box)
    for source, found in zip(sources, warps.pixels(core, mask.mouth, size), strict=True):
        mapped = MeshWarp(mesh, target, size, box).coordinates(source)
        smooth = cv2.blur(cv2.blur(mapped - grid, (width, width)), (width, width)) + grid
        away_units = np.abs(found - smooth - exact * (mapped - smooth)) * 256 / size
        assert np.abs(mapped - smooth).max() > 1
        assert away_units.max() < 0.1 and away_units.mean() < 0.005


def test_warped_picture_matches_the_drawn_target(layout):
    references, target = pool(layout, [8]), shape(layout, 12)
    warp = MeshWarp(triangulate(layout), target, SIZE, (0, 0, SIZE, SIZE))
    warped = warp.warp(references.crops[0], references.landmarks[0])
    truth = picture(layout, target)
    inside = mouth_mask(target, target, layout).window.cut(np.arange(SIZE * SIZE).reshape(SIZE, SIZE))
    error = np.abs(warped.astype(int) - truth).reshape(-1, 3)[inside.ravel()]
    before = np.abs(references.crops[0].astype(int) - truth).reshape(-1, 3)[inside.ravel()]
    assert error.mean() < 0.35 * before.mean()


def test_closed_lips_are_uncrossed(layout):
    points = shape(layout)
    half = len(layout.lips_inner) // 2
    points[layout.lips_inner[1:half], 1] -= 12
    mended = uncrossed(points, layout)
    assert mouth_opening(points, layout) == 0
    lower, upper = layout.lips_inner[1:half], layout.lips_inner[:half:-1]
    assert (mended[lower, 1] >= mended[upper, 1]).all()


def test_mask_covers_both_mouths_and_ends_at_the_target_jaw(layout):
    source, target = shape(layout, 20), shape(layout, 0)
    mask = mouth_mask(source, target, layout)
    top, left, _, _ = mask.window.pixels(SIZE)
    seen = np.rint(target[layout.lips_outer] - (left, top) - 0.5).astype(int)
    assert (mask.lips[seen[:, 1], seen[:, 0]] > 0.99).all()
    lips = np.rint(source[layout.lips_outer] - (left, top) - 0.5).astype(int)
    assert (mask.lips[lips[:, 1], lips[:, 0]] > 0.99).all()
    chin = target[layout.jaw[len(layout.jaw) // 2]]
    assert mask.lips[int(chin[1] - top) + 6, int(chin[0] - left)] == 0
    assert mask.lips[[0, -1]].max() == mask.lips[:, [0, -1]].max() == 0
    assert np.abs(np.diff(mask.lips, axis=0)).max() < 0.6
    assert ((mask.ring > 0) & (mask.lips > 0)).sum() == 0 and mask.ring.max() == 1


def test_feather_is_the_width_of_the_fade_and_not_of_the_mouth(layout):
    points = shape(layout, 10)
    half, usual, double = (mouth_mask(points, points, layout, share * FEATHER) for share in (0.5, 1, 2))
    for mask in (half, double):
        solid = [m.window.part(m.lips, m.core) == 1 for m in (usual, mask)]
        assert solid[0].sum() == solid[1].sum()
    above = [np.flatnonzero(m.lips[:, m.lips.shape[1] // 2])[0] + m.window.top for m in (half, usual, double)]
    # Upwards from the lips the fade meets no jaw line: half and twice the width end there, to a unit.
    assert above[0] - above[1] == pytest.approx(FEATHER / 2, abs=1.5)
    assert above[1] - above[2] == pytest.approx(FEATHER, abs=1.5)
    for mask in (half, double):
        assert mask.lips[[0, -1]].max() == mask.lips[:, [0, -1]].max() == 0
        assert ((mask.ring > 0) & (mask.lips > 0)).sum() == 0 and mask.ring.max() == 1


def test_renderer_feathers_as_it_is_told(layout):
    points = shape(layout, 8).astype(np.float32)
    crop, references = picture(layout, points), pool(layout, [0, 8, 16])

    def edited(**settings: float) -> int:
        renderer = WarpRenderer(references, points[None], layout, settings=WarpSettings(**settings))
        return (renderer.render(crop[None], points[None], points[None], np.array([0])).alpha > 0).sum()

    assert edited(feather=FEATHER) == edited()
    assert edited(feather=FEATHER / 2) < 0.9 * edited() < 0.8 * edited(feather=2 * FEATHER)
    with pytest.raises(ValueError, match="more than 0"):
        WarpSettings(feather=0)


@pytest.mark.parametrize("name", ["split", "misfit"])
def test_what_is_divided_by_is_more_than_0(name):
    with pytest.raises(ValueError, match="more than 0"):
        WarpSettings(**{name: 0.0})


@pytest.mark.parametrize(
    ("detail", "shares"), [(0.0, [0.5, 0.5, 0]), (1.0, [0.7, 0.3, 0]), (2000.0, [1, 0, 0])]
)
def test_fine_structure_leans_on_the_heaviest_and_never_on_what_has_no_weight(detail, shares):
    weights = np.array([0.7, 0.3, 0.0])
    assert fine_weights(weights, detail) == pytest.approx(np.array(shares))
    together = fine_weights_together(torch.from_numpy(weights[None, :, None]), detail)
    assert together[0, :, 0].numpy() == pytest.approx(np.array(shares))
    # As large a power of weights that are all small.
    assert fine_weights(np.full(3, 1 / 3), detail) == pytest.approx(1 / 3)


def test_ring_corrections_remove_a_light_change_and_ignore_a_hand():
    y, x = np.mgrid[:120, :120].astype(np.float32)
    rendering = np.dstack([100 + 0.2 * x, 90 + 0.1 * y, 80 + 0 * x])
    light = np.dstack([12 + 0.1 * x, 8 + 0 * x, -0.1 * y])
    frame = rendering + light
    distance = np.hypot(x - 60, y - 60)
    ring = ((distance > 35) & (distance < 55)).astype(np.float32)
    frame[distance <= 35] = 0
    (correction,), misfit = ring_corrections(cells(frame.clip(0, 255)), [cells(rendering)], [ring])
    wide = cv2.resize(correction, (120, 120))
    assert np.abs(wide - light)[distance < 45].max() < 5 and misfit < 2
    frame[(x > 80) & (y > 80)] = 250
    # One that nothing can be compared on, beside it, changes nothing and is left as it is.
    rings = [ring, np.zeros_like(ring)]
    (handed, empty), misfits = ring_corrections(cells(frame.clip(0, 255)), [cells(rendering)] * 2, rings)
    assert np.abs(cv2.resize(handed, (120, 120)) - light)[distance < 30].max() < 9
    assert not empty.any() and misfits[1] == 0


def test_steady_path_follows_the_cheapest_but_not_every_flicker():
    distance = np.ones((20, 3))
    distance[:10, 0] = distance[10:, 1] = 0.2
    distance[5, 1] = 0.1
    assert steady_path(distance, 0.5).tolist() == [0] * 10 + [1] * 10
    assert steady_path(distance, 0.0)[5] == 1


def test_plan_picks_the_same_lips_and_fades_between_references(layout):
    references = pool(layout, [0, 5, 10, 15, 20])
    targets = np.stack([shape(layout, o) for o in [0.0] * 6 + [20.0] * 6])
    plan = plan_references(references, targets, layout, ReferenceChoice(references=1))
    assert plan.indices[0, 0] == 0 and plan.indices[-1, 0] == 4
    np.testing.assert_allclose(plan.weights.sum(1), 1, atol=1e-5)
    assert (plan.weights[5:7] > 0.1).sum(1).tolist() == [2, 2]
    cut = plan_references(
        references, targets, layout, ReferenceChoice(references=1), shots=np.repeat([0, 1], 6)
    )
    assert (cut.weights[5:7] > 0.1).sum(1).tolist() == [1, 1]


def test_lips_that_meet_are_lent_by_lips_that_meet(layout):
    shapes = [shape(layout, lower) for lower in (-6, -4, 0)]
    np.testing.assert_allclose(mouth_opening(np.stack(shapes), layout), (0.3, 1.7, 4.5), atol=0.05)
    references = pool(layout, (-6, -4, 0))
    head = np.setdiff1d(np.arange(layout.points), layout.lips)
    references.landmarks[0][head] += 1.5  # another pose
    targets = np.stack(shapes)
    distance = reference_distance(references, targets, layout, ReferenceChoice(), None)
    unpriced = reference_distance(references, targets, layout, ReferenceChoice(ajar=0.0), None)
    assert unpriced.argmin(1).tolist() == [1, 1, 2]
    assert distance.argmin(1).tolist() == [0, 1, 2]
    np.testing.assert_array_equal(distance[2], unpriced[2])


def test_plan_avoids_blurred_references(layout):
    references = pool(layout, [10, 10.2])
    blurred = References(
        references.crops, references.landmarks, references.frame_index, np.float32([0.1, 1]), references.shots
    )
    plan = plan_references(blurred, shape(layout, 10)[None], layout, ReferenceChoice(references=1))
    assert plan.indices[0, 0] == 1


def test_blend_keeps_detail_of_the_heaviest():
    rng = np.random.default_rng(1)
    one, other = (rng.normal(128, 20, (40, 40, 3)).astype(np.float32) for _ in range(2))
    weights = np.array([0.6, 0.4])
    mean, crisp = (blend([one, other], weights, detail, 2.0) for detail in (1, 8))
    assert crisp.std() > 1.2 * mean.std()
    assert abs(cv2.GaussianBlur(crisp - mean, (0, 0), 6)).mean() < 1


def test_between_the_lips_teeth_over_a_tongue_are_no_grey():
    teeth, tongue = np.full((40, 40, 3), 220, np.float32), np.full((40, 40, 3), 60, np.float32)
    inner = np.zeros((40, 40), np.float32)
    inner[12:28, 8:32] = 1
    picture = blend([teeth, tongue], np.array([0.7, 0.3]), 8, 1.0, inner)
    assert picture[20, 20, 0] > 190, "0.7 squared, of 0.7 and 0.3 squared"
    assert picture[4, 4, 0] == pytest.approx(0.7 * 220 + 0.3 * 60, abs=0.1)


def test_references_are_read_in_one_pass_and_cut_by_the_similarity(layout):
    shapes = np.stack([shape(layout, o) for o in (0, 10, 20)]).astype(np.float32)
    frames = [picture(layout, s) for s in shapes]
    frames[1] = cv2.GaussianBlur(frames[1], (0, 0), 4)
    asked = []

    def pictures(indices):
        asked.append(list(indices))
        return (Picture.from_rgb(i, frames[i]) for i in indices)

    track = track_of(shapes)
    references = read_references(SimpleNamespace(pictures=pictures), track, np.arange(3), 320, layout)
    assert asked == [[0, 1, 2]] and references.size == 320
    expected = cv2.resize(frames[2], (320, 320), interpolation=cv2.INTER_CUBIC)
    assert np.abs(references.crops[2].astype(int) - expected)[4:-4, 4:-4].max() <= 2
    assert references.sharpness.argmin() == 1
    assert sharpness(references.crops, references.landmarks, layout).shape == (3,)


def test_renderer_draws_the_target_and_leaves_the_rest(layout):
    openings = np.linspace(0, 20, 6)
    references = pool(layout, openings, shade=-12)  # a darker pool: the ring must bring the light back
    source, target = shape(layout, 0).astype(np.float32), shape(layout, 16).astype(np.float32)
    crop, truth = picture(layout, source), picture(layout, target)
    renderer = WarpRenderer(references, target[None], layout)
    rendering = renderer.render(crop[None], source[None], target[None], np.array([0]))
    alpha = rendering.alpha[0][..., None]
    result = crop + alpha * (rendering.crops[0].astype(np.float32) - crop)
    assert np.array_equal(result[alpha[..., 0] == 0], crop[alpha[..., 0] == 0])
    ring = np.rint(target[layout.lips_inner].mean(0)).astype(int)
    assert result[ring[1], ring[0]].max() < 60
    inside = alpha[..., 0] > 0.5
    assert np.abs(result - truth)[inside].mean() < 6 < np.abs(crop.astype(float) - truth)[inside].mean()
    # The lower chin of the target is skin where the source showed its background.
    chin = np.rint(target[layout.jaw[len(layout.jaw) // 2]]).astype(int)
    assert np.abs(result[chin[1] - 5, chin[0]] - truth[chin[1] - 5, chin[0]]).max() < 25


@pytest.mark.parametrize(("source", "target"), [(24, 0), (0, 24), (24, 8)])
def test_the_old_chin_never_stands_beside_the_new_one(layout, source, target):
    references = pool(layout, np.linspace(0, 24, 7))
    before, after = (shape(layout, opening).astype(np.float32) for opening in (source, target))
    crop, truth = picture(layout, before), picture(layout, after)
    renderer = WarpRenderer(references, after[None], layout)
    rendering = renderer.render(crop[None], before[None], after[None], np.array([0]))
    alpha = rendering.alpha[0][..., None]
    result = crop + alpha * (rendering.crops[0].astype(np.float32) - crop)
    lips = int(max(points[layout.lips_outer, 1].max() for points in (before, after)))
    wrong, moved = (np.abs(drawn - truth.astype(float)).max(-1)[lips:] > 60 for drawn in (result, crop))
    assert moved.sum() > 100 and wrong.sum() < 0.02 * moved.sum()


def test_renderer_reads_nothing_under_the_mask(layout):
    references = pool(layout, [0, 8, 16])
    points = shape(layout, 8).astype(np.float32)
    mask = mouth_mask(points, points, layout)
    crop = picture(layout, points)
    erased = crop.copy()
    mask.window.cut(erased)[mask.window.enlarge(mask.lips, SIZE) > 0] = 255
    renderer = WarpRenderer(references, points[None], layout)
    one, other = (renderer.lips(c, points, 0, mask) for c in (crop, erased))
    np.testing.assert_array_equal(one, other)


def test_a_closed_pool_gets_a_dark_interior_instead_of_stretched_lips(layout):
    references, target = pool(layout, [0]), shape(layout, 16).astype(np.float32)
    source = shape(layout, 0).astype(np.float32)
    crop = picture(layout, source)
    rendering = WarpRenderer(references, target[None], layout).render(
        crop[None], source[None], target[None], np.array([0])
    )
    middle = np.rint(target[layout.lips_inner].mean(0)).astype(int)
    assert rendering.crops[0, middle[1], middle[0]].mean() < 70


def test_patch_puts_a_crop_back_where_it_was_cut():
    rng = np.random.default_rng(2)
    frame = cv2.resize(rng.integers(0, 255, (30, 40, 3), np.uint8), (400, 300), interpolation=cv2.INTER_CUBIC)
    angle, scale = 0.2, 256 / 180
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    similarity = np.concatenate([linear, (128 - linear @ np.array([220.0, 140.0]))[:, None]], axis=1)
    size = crop_size(similarity[None])
    assert size == 256
    crop = cut_crop(frame, similarity, size)
    alpha = np.zeros((size, size), np.float32)
    alpha[100:180, 70:190] = 1
    alpha = cv2.GaussianBlur(alpha, (0, 0), 4)
    alpha[alpha < 0.01] = 0
    patch = make_patch(frame.shape, crop, similarity, alpha)
    under = frame[patch.top : patch.top + patch.rgb.shape[0], patch.left : patch.left + patch.rgb.shape[1]]
    assert np.abs(patch.rgb.astype(int) - under)[patch.alpha > 0].max() <= 4
    corner = similarity[:, :2] @ (patch.left + 0.5, patch.top + 0.5) + similarity[:, 2]
    assert (corner < (190, 180)).all()
    assert patch.alpha.max() > 0.99 and patch.alpha[0, 0] == 0
    assert make_patch(frame.shape, crop, similarity, np.zeros_like(alpha)) is None
    far = similarity.copy()
    far[:, 2] -= 5000
    assert make_patch(frame.shape, crop, far, alpha) is None


def test_a_very_large_face_is_averaged_before_it_is_cut():
    checker = (np.indices((1600, 1600)).sum(0) % 2 * 255).astype(np.uint8)
    frame = np.repeat(checker[..., None], 3, axis=2)
    crop = cut_crop(frame, np.array([[0.16, 0, 0], [0, 0.16, 0]]), 256)
    assert crop.std() < 12
