"""The refiner and the renderer around it, on a drawn face."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from mytalk_core.appearance.network_renderer import NetworkRenderer, Refined
from mytalk_core.appearance.networks.refinement import (
    ADDED,
    NUDGED,
    Refinement,
    crisp,
    drawn,
    enlarged,
    mix,
)
from mytalk_core.appearance.networks.refiner import MouthRefiner, RefinerConfig, RefinerInputs
from mytalk_core.appearance.networks.refiner_inputs import view_window
from mytalk_core.appearance.references.plan import ReferenceChoice
from mytalk_core.appearance.references.references import References
from mytalk_core.appearance.renderers import load_renderer
from mytalk_core.appearance.square.mask import INNER, mouth_mask
from mytalk_core.appearance.square.warp import pixel_grid
from mytalk_core.appearance.warp_renderer import WarpRenderer, WarpSettings
from mytalk_core.errors import WeightsError
from mytalk_core.face.layout import LandmarkLayout

TINY = RefinerConfig(width=8, widths=(16, 16))


@pytest.fixture(scope="module")
def layout():
    return LandmarkLayout.load("mesh478")


def references(layout, size=256, count=4):
    """Faces of noise that differ a little in shape and colour."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 200, (16, 16, 3), np.uint8)
    crop = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    crops = np.stack([np.clip(crop.astype(int) + 6 * k, 0, 255).astype(np.uint8) for k in range(count)])
    shapes = layout.template[None, :, :2] + rng.normal(0, 0.4, (count, len(layout.template), 2))
    ones, zeros = np.ones(count, np.float32), np.zeros(count, np.int64)
    return References(crops, shapes.astype(np.float32), np.arange(count), ones, zeros)


def inputs(count=3, height=24, width=40, seed=0):
    """Random inputs of two frames."""
    torch.manual_seed(seed)
    weights = torch.rand(2, count) + 0.1
    return RefinerInputs(
        frame=torch.rand(2, 3, height, width),
        mask=torch.rand(2, 1, height, width),
        contours=torch.rand(2, 3, height, width),
        references=torch.rand(2, count, 3, height, width),
        stretch=torch.randn(2, count, 1, height, width),
        weights=weights / weights.sum(1, keepdim=True),
        lips=torch.randint(0, 3, (2, 1, height, width), dtype=torch.uint8),
    )


def stirred(config=TINY):
    """A refiner whose last layers, zero at the start, do something."""
    torch.manual_seed(1)
    refiner = MouthRefiner(config)
    for parameter in refiner.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return refiner.eval()


def test_untrained_it_is_the_plain_mixture_of_the_references(layout):
    pool, target = references(layout), layout.template[:, :2].astype(np.float32)
    mask = mouth_mask(target, target, layout)
    crop = pool.crops[1]
    settings = WarpSettings(detail=1.0)
    network = NetworkRenderer(MouthRefiner(TINY).eval(), pool, target[None], layout, settings=settings)
    plain = WarpRenderer(
        pool, target[None], layout, choice=ReferenceChoice(TINY.references), settings=settings
    )
    difference = network.lips(crop, target, 0, mask) - plain.lips(crop, target, 0, mask)
    assert np.abs(difference[4:-4, 4:-4]).max() < 0.5


@pytest.mark.parametrize("patch", [2, 4])
def test_a_trained_one_changes_the_mouth_only_at_any_size(layout, patch):
    target = layout.template[:, :2].astype(np.float32)
    for size in (256, 352):
        pool = references(layout, size)
        renderer = NetworkRenderer(stirred(replace(TINY, patch=patch)), pool, target[None], layout)
        rendering = renderer.render(pool.crops[:1], target[None], target[None], np.array([0]))
        changed = (rendering.crops[0] != pool.crops[0]).any(-1)
        assert rendering.crops.shape == (1, size, size, 3)
        assert changed[rendering.alpha[0] > 0.5].mean() > 0.9
        assert not changed[rendering.alpha[0] == 0].any()


def test_maps_follow_the_references_whatever_their_order():
    refiner, given = stirred(), inputs()
    order = [2, 0, 1]
    turned = replace(
        given,
        references=given.references[:, order],
        stretch=given.stretch[:, order],
        weights=given.weights[:, order],
    )
    with torch.no_grad():
        one, other = refiner(given), refiner(turned)
    torch.testing.assert_close(one.coarse[:, order], other.coarse)
    torch.testing.assert_close(one.fine[:, order], other.fine)
    torch.testing.assert_close(one.flow[:, order], other.flow)
    assert one.coarse.shape == (2, 3, 24, 40) and one.flow.shape == (2, 3, 2, 24, 40)
    torch.testing.assert_close(one.fine.sum(1), torch.ones(2, 24, 40))


def test_a_reference_without_weight_lends_nothing():
    refiner, given = stirred(), inputs()
    faded = replace(given, weights=torch.tensor([[0.5, 0.5, 0.0]] * 2))
    with torch.no_grad():
        maps = refiner(faded)
    assert maps.coarse[:, 2].max() < 1e-3 and maps.coarse[:, 0].max() > 0.1


def test_mixing_nudges_each_reference_by_whole_pixels_and_adds_the_residual():
    pictures = torch.rand(1, 2, 3, 20, 20)
    half, zero = torch.full((1, 2, 20, 20), 0.5), torch.zeros(1, 2, 2, 20, 20)
    none = torch.zeros(1, 3, 20, 20)
    flow = zero.clone()
    flow[:, 1] += torch.tensor([2.0, -1.0])[:, None, None]
    still = mix(pictures, Refinement(half, half, zero, none + 0.25), split_px=1.0)
    torch.testing.assert_close(still, pictures.mean(1) + 0.25)
    moved = mix(pictures, Refinement(half, half, flow, none), split_px=1.0)
    expected = (pictures[:, 0, :, 4:16, 4:16] + pictures[:, 1, :, 3:15, 6:18]) / 2
    torch.testing.assert_close(moved[:, :, 4:16, 4:16], expected, atol=1e-5, rtol=0)


def test_a_flow_moves_where_pixels_come_from():
    """In use the picture is read once, at the place that mesh and flow together say, and the flow moves it by
    so many units of the reference, however much the mesh squeezes that."""
    flow = torch.zeros(1, 2, 2, 40, 30)
    flow[0, 1] += torch.tensor([2.0, -1.0])[:, None, None]
    shares = torch.full((1, 2, 40, 30), 0.5)
    maps = Refinement(shares, shares, flow, torch.zeros(1, 3, 40, 30))
    refined = Refined(maps, split_px=1.0, scale=1.5)
    coordinates = 2 * pixel_grid((0, 0, 40, 30)) + 5
    np.testing.assert_allclose(refined.moved(coordinates, 0), coordinates, atol=1e-4)
    np.testing.assert_allclose(refined.moved(coordinates, 1), coordinates + (3, -1.5), atol=1e-4)


def test_a_frame_is_what_its_maps_take_of_the_references_and_add():
    """Black and white: what the picture shows is the share of white."""
    shares = torch.zeros(1, 2, 40, 30)
    shares[:, 1] = 1
    rest = torch.zeros(1, 2, 2, 40, 30), torch.full((1, 3, 40, 30), -0.2)
    refined = Refined(Refinement(shares, shares, *rest), split_px=1.0, scale=1.0)
    mixed = refined.mixed([np.full((40, 30, 3), level, np.float32) for level in (0, 200)])
    np.testing.assert_allclose(mixed, 200 - 0.2 * 127.5, atol=1e-3)


def test_one_of_an_older_version_is_read_unless_it_mends_the_lips_alone(tmp_path):
    old = stirred()
    path = old.save_pretrained(tmp_path) / "config.json"
    description = json.loads(path.read_text()) | {"format_version": 5}
    config = description["config"] | {"preferred": True}
    path.write_text(json.dumps(description | {"config": config | {"reach": 8.0}}))
    with pytest.raises(WeightsError, match="mends the lips alone"):
        MouthRefiner.from_pretrained(tmp_path)
    path.write_text(json.dumps(description | {"config": config | {"reach": 0.0}}))
    with torch.no_grad():
        torch.testing.assert_close(
            MouthRefiner.from_pretrained(tmp_path)(inputs()).residual, old(inputs()).residual
        )


def test_a_frame_is_seen_as_far_as_the_mask_goes_and_a_little_beyond(layout):
    target = layout.template[:, :2].astype(np.float32)
    mask = mouth_mask(target, target, layout)
    seen = view_window(mask)
    assert seen.shared(mask.core) == mask.core and seen.shared(mask.window) == seen != mask.core


def test_enlarged_maps_keep_their_sums():
    maps = torch.rand(1, 3, 8, 10).softmax(1)
    rest = torch.zeros(1, 3, 2, 8, 10), torch.zeros(1, 3, 8, 10)
    large = enlarged(Refinement(maps, maps, *rest), (17, 23))
    assert large.flow.shape == (1, 3, 2, 17, 23)
    assert large.coarse.shape == (1, 3, 17, 23) and large.residual.shape == (1, 3, 17, 23)
    torch.testing.assert_close(large.coarse.sum(1), torch.ones(1, 17, 23))


def test_the_gradient_reaches_every_parameter():
    torch.manual_seed(0)
    refiner, given = MouthRefiner(TINY), inputs()
    for layer in (refiner.shares, refiner.mend):
        torch.nn.init.normal_(layer.weight, std=0.1)
    mix(given.references, refiner(given), split_px=1.0).square().mean().backward()
    silent = [name for name, p in refiner.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # Residual blocks start as the identity: what lies before their last, zero, layer learns from step two on.
    assert all(".convs.0." in name or ".norms." in name for name in silent), silent


def test_crisp_leans_on_the_largest_share_in_fine_structure_and_between_the_lips():
    shares = torch.tensor([0.5, 0.3, 0.2])[None, :, None, None].expand(1, 3, 4, 4)
    rest = torch.zeros(1, 3, 2, 4, 4), torch.zeros(1, 3, 4, 4)
    maps = Refinement(shares, shares, *rest)
    sharper = crisp(maps, 8.0)
    torch.testing.assert_close(sharper.coarse, shares)
    torch.testing.assert_close(sharper.fine.sum(1), torch.ones(1, 4, 4))
    assert sharper.fine[0, 0].min() > 0.97
    torch.testing.assert_close(crisp(maps, 1.0).fine, shares)
    lips = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    lips[..., 1:3, 1:3] = INNER
    clear = crisp(maps, 8.0, lips).coarse[0, 0]
    assert clear[1:3, 1:3].min() > 0.6 and clear[0, 0] == 0.5, "half of one mouth's teeth are grey"


def test_little_is_added_and_moved_between_the_lips_and_what_is_needed_elsewhere():
    lips = torch.zeros(1, 1, 24, 40, dtype=torch.uint8)
    lips[:, :, 8:16, 10:30] = INNER
    shares = torch.tensor([0.25, 0.75])[None, :, None, None].expand(1, 2, 24, 40)
    flow = torch.tensor([-5.0, -1.0])[None, :, None, None, None].expand(1, 2, 2, 24, 40)
    added = torch.full((1, 3, 24, 40), 0.3)
    made = drawn(Refinement(shares, shares, flow, added), 1.0, lips)
    between = made.residual[..., 8:16, 10:30], made.flow[..., 8:16, 10:30]
    assert 127.5 * between[0].max() <= ADDED, "a dark mouth is grey"
    # References still meet each other, and are moved no farther than that.
    torch.testing.assert_close(between[1][:, 1] - between[1][:, 0], torch.full((1, 2, 8, 20), 4.0))
    assert (0.25 * between[1][:, 0] + 0.75 * between[1][:, 1]).abs().max() <= NUDGED, "teeth are ragged"
    for given, found in ((flow, made.flow), (added, made.residual)):
        torch.testing.assert_close(found[..., :6, :], given[..., :6, :])
        # No step where the lips begin, which would tear their edge.
        assert 0 < (found[..., 7, 20] - given[..., 7, 20]).abs().max() < (given - found).abs().max()


def test_the_heaviest_references_are_kept_and_their_weights_still_sum_to_one():
    given = replace(inputs(), weights=torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.1, 0.3]]))
    two = given.heaviest(2)
    torch.testing.assert_close(two.weights, torch.tensor([[0.625, 0.375], [2 / 3, 1 / 3]]))
    torch.testing.assert_close(
        two.references, torch.stack([given.references[0, [1, 2]], given.references[1, [0, 2]]])
    )
    torch.testing.assert_close(two.stretch, torch.stack([given.stretch[0, [1, 2]], given.stretch[1, [0, 2]]]))
    assert given.heaviest(3) is given


@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_frame_is_given_as_many_references_as_the_network_takes(layout, count):
    pool, target = references(layout, count=8), layout.template[:, :2].astype(np.float32)
    network = MouthRefiner(replace(TINY, references=count)).eval()
    renderer = NetworkRenderer(network, pool, target[None], layout)
    assert len(renderer.chosen(0)[0]) == count


def test_auto_is_the_network_where_the_model_brings_one(tmp_path):
    MouthRefiner(TINY).save_pretrained(tmp_path / "whole" / "refiner")
    (tmp_path / "none").mkdir()
    assert load_renderer("auto", tmp_path / "whole").name == "network"
    assert load_renderer("auto", tmp_path / "none").name == "warp"
    assert load_renderer("auto", "mini").name == "network"
