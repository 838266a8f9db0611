"""The paper's generator as a renderer, on a drawn face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from mytalk_core.appearance.generator_renderer import GeneratorRenderer
from mytalk_core.appearance.networks.generator import AppearanceConfig, AppearanceGenerator, Generated
from mytalk_core.appearance.networks.refiner import MouthRefiner, RefinerConfig
from mytalk_core.appearance.references.references import References
from mytalk_core.appearance.renderers import load_renderer
from mytalk_core.appearance.square.mask import mouth_mask
from mytalk_core.appearance.warp_renderer import WarpRenderer
from mytalk_core.face.layout import LandmarkLayout

SIZES = {
    "landmark_layout": "mesh478",
    "size": 64,
    "width": 8,
    "multipliers": (1, 2),
    "blocks": 1,
    "groups": 4,
    "fusion_width": 8,
}


@pytest.fixture(scope="module")
def layout():
    return LandmarkLayout.load("mesh478")


@pytest.fixture(scope="module")
def target(layout):
    return layout.template[:, :2].astype(np.float32)


def references(layout, size=256, count=6):
    """Crops of one grey each, brighter with the opening of the mouth."""
    shapes = np.repeat(layout.template[None, :, :2].astype(np.float32), count, 0)
    shapes[:, layout.lips_inner[1:10], 1] += 2.0 * np.arange(count)[:, None]
    crops = np.stack([np.full((size, size, 3), 40 + 30 * k, np.uint8) for k in range(count)])
    zeros = np.zeros(count, np.int64)
    return References(crops, shapes, np.arange(count), np.ones(count, np.float32), zeros)


def generator(**changes) -> AppearanceGenerator:
    torch.manual_seed(0)
    return AppearanceGenerator(AppearanceConfig(**SIZES | changes)).eval()


class Spy(AppearanceGenerator):
    """Draws one colour, and remembers what it was shown."""

    def forward(self, references, non_lip, landmark_image, *rest):
        self.seen = references
        frames = torch.tensor([0.5, -0.25, 0.0])[None, :, None, None].expand_as(non_lip)
        return Generated(frames, None, None)


@pytest.mark.parametrize("size", [256, 352])
def test_the_mouth_is_the_generators_and_nothing_else(layout, target, size):
    pool = references(layout, size)
    renderer = GeneratorRenderer(Spy(generator().config), pool, target[None], layout)
    crop = cv2.resize(np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8), (size, size))
    rendering = renderer.render(crop[None], target[None], target[None], np.array([0]))
    core = rendering.alpha[0] > 0.99
    assert core.sum() > 0.02 * size**2
    assert np.abs(rendering.crops[0][core] - np.array([191.25, 95.6, 127.5])).max() < 1
    assert np.array_equal(rendering.crops[0][rendering.alpha[0] == 0], crop[rendering.alpha[0] == 0])


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, [70, 130, 190]),
        ({"references": "masked-single"}, [130]),
        ({"references": "full-single"}, [130]),
    ],
)
def test_unaligned_references_are_spread_and_encoded_once(layout, target, changes, shown, monkeypatch):
    model, encoded = generator(**changes), []
    encode = model.encode_references
    monkeypatch.setattr(model, "encode_references", lambda given: encoded.append(given) or encode(given))
    targets = np.stack([target, target])
    renderer = GeneratorRenderer(model, references(layout), targets, layout)
    crops = np.full((2, 256, 256, 3), 90, np.uint8)
    renderer.render(crops, targets, targets, np.arange(2))
    assert len(encoded) == 1
    levels = [(picture[picture != 0].max() + 1) * 127.5 for picture in encoded[0][0]]
    assert levels == pytest.approx(shown, abs=0.5)


def test_aligned_references_are_those_nearest_to_the_frame(layout, target):
    pool = references(layout)
    spy = Spy(generator(reference_alignment="mesh").config)
    for nearest in (0, 5):
        wanted = pool.landmarks[nearest]
        renderer = GeneratorRenderer(spy, pool, wanted[None], layout)
        renderer.lips(pool.crops[0], wanted, 0, mouth_mask(wanted, wanted, layout))
        first = spy.seen[0, 0]
        assert (first[first != 0].median() + 1) * 127.5 == pytest.approx(40 + 30 * nearest, abs=0.5)


def test_fewer_references_than_it_reads_are_repeated(layout, target):
    for alignment in ("none", "mesh"):
        model = generator(reference_alignment=alignment)
        renderer = GeneratorRenderer(model, references(layout, count=1), target[None], layout)
        lips = renderer.lips(np.zeros((256, 256, 3), np.uint8), target, 0, mouth_mask(target, target, layout))
        assert np.isfinite(lips).all()


def test_landmarks_are_brought_into_its_layout_or_refused(layout, target):
    dense = generator(landmark_layout="dense669")
    renderer = GeneratorRenderer(dense, references(layout), target[None], layout)
    lips = renderer.lips(np.zeros((256, 256, 3), np.uint8), target, 0, mouth_mask(target, target, layout))
    assert lips.ndim == 3 and np.isfinite(lips).all()
    own = LandmarkLayout.load("dense669")
    shapes = own.from_source(target)
    with pytest.raises(ValueError, match="reads landmarks of mesh478, which cannot be made of dense669"):
        GeneratorRenderer(generator(), references(own), shapes[None], own)


def test_renderers_are_loaded_by_name(tmp_path, layout, target):
    generator().save_pretrained(tmp_path / "appearance")
    MouthRefiner(RefinerConfig(width=8, widths=(8, 8))).save_pretrained(tmp_path / "refiner")
    drawn = load_renderer("generator", tmp_path)
    assert (drawn.name, list(drawn.hashes)) == ("generator", ["appearance"])
    assert isinstance(drawn.make(references(layout), target[None], layout), GeneratorRenderer)
    # No generator is ever taken unasked.
    for name in ("auto", "network"):
        assert list(load_renderer(name, tmp_path).hashes) == ["refiner"]
    plain = load_renderer("warp", tmp_path)
    assert (plain.name, plain.hashes) == ("warp", {})
    assert type(plain.make(references(layout), target[None], layout)) is WarpRenderer
    with pytest.raises(ValueError, match="one of auto, generator, network, warp; got 'best'"):
        load_renderer("best", tmp_path)
    with pytest.raises(
        FileNotFoundError,
        match="generator needs a model with the part appearance, mini has none",
    ):
        load_renderer("generator", "mini")
