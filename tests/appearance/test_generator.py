"""The appearance model: the paper's sizes, every design trains every parameter, files, what it reads."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from mytalk_training.generator.losses import (
    AppearanceLossWeights,
    LossNetwork,
    discriminator_loss,
    generator_loss,
)

from mytalk_core.appearance.networks.autoencoder import Posterior
from mytalk_core.appearance.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from mytalk_core.appearance.networks.generator import REFERENCES, AppearanceConfig, AppearanceGenerator
from mytalk_core.appearance.networks.generator_inputs import generator_inputs
from mytalk_core.appearance.networks.perceptual import PerceptualConfig, PerceptualDistance
from mytalk_core.appearance.networks.picture_tensors import to_rgb, to_tensor
from mytalk_core.appearance.references.references import References
from mytalk_core.appearance.square.mask import mouth_mask
from mytalk_core.appearance.square.raster import triangulate
from mytalk_core.face.draw import landmark_image
from mytalk_core.face.layout import LandmarkLayout

TINY = AppearanceConfig(
    size=32,
    landmark_layout="mesh478",
    width=8,
    multipliers=(1, 2),
    blocks=1,
    groups=4,
    fusion_width=8,
    fusion_blocks=1,
)
VARIANTS = {
    **{name: {"references": name} for name in REFERENCES},
    "single-encoder": {"design": "single-encoder", "references": "full-single"},
}
PERCEPTUAL = PerceptualConfig(stages=((4,), (6, 6)))


def tiny(**changes) -> AppearanceGenerator:
    torch.manual_seed(0)
    return AppearanceGenerator(dataclasses.replace(TINY, **changes))


def pictures(config: AppearanceConfig, batch: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def uniform(*shape):
        return 2 * torch.rand(*shape, 3, config.size, config.size, generator=generator) - 1

    return {
        "references": uniform(batch, config.reference_count),
        "non_lip": uniform(batch),
        "landmark_image": uniform(batch),
    }


def count(*modules) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def dead(module) -> list[str]:
    """Parameters that no gradient reaches."""
    named = module.named_parameters()
    return [name for name, p in named if p.grad is None or p.grad.abs().max().item() < 1e-12]


def test_paper_sizes_are_table_9():
    with torch.device("meta"):
        model = AppearanceGenerator(AppearanceConfig())
        discriminator = PatchDiscriminator(DiscriminatorConfig())
        perceptual = PerceptualDistance(PerceptualConfig())
    for encoder in (model.lip_encoder, model.non_lip_encoder, model.landmark_encoder):
        assert count(encoder) == 237_999_878
    assert count(model.decoder) == 280_452_611
    assert count(model.fusion) == 4_794_630
    quants = (model.appearance_quant, model.landmark_quant, model.joint_quant, model.post_quant)
    assert [count(quant) for quant in quants] == [42, 42, 21, 12]
    assert count(model) == 3 * 237_999_878 + 280_452_611 + 4_794_630 + 42 + 42 + 21 + 12
    assert count(LossNetwork(discriminator, perceptual)) == 17_481_793


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_trains_every_parameter_and_samples(changes):
    model = tiny(**changes)
    networks = LossNetwork(
        PatchDiscriminator(DiscriminatorConfig(width=4, layers=1)), PerceptualDistance(PERCEPTUAL)
    )
    weights = AppearanceLossWeights(kl=1.0)
    optimizers = [torch.optim.Adam(m.parameters(), 1e-3) for m in (model, networks.discriminator)]
    inputs = pictures(model.config)
    truth = torch.tanh(inputs["non_lip"] + inputs["landmark_image"])
    totals = []
    for _ in range(2):
        generated = model(**inputs, sample=True, generator=torch.Generator().manual_seed(2))
        last = model.decoder.blocks[-1].weight
        terms = generator_loss(generated, truth, networks, weights, last)
        assert set(terms) == {"l1", "perceptual", "kl", "adversarial", "total"}
        optimizers[0].zero_grad()
        terms["total"].backward()
        optimizers[0].step()
        loss = discriminator_loss(networks.discriminator, truth, generated.frames)
        optimizers[1].zero_grad()
        loss.backward()
        optimizers[1].step()
        totals.append(terms["total"].item())
    assert dead(model) == []
    # The hinge's two halves cancel in the very last bias while all logits lie within the margin.
    assert set(dead(networks.discriminator)) <= {"layers.5.bias"}
    assert totals[1] < totals[0]
    with torch.no_grad():
        frames = model.eval()(**inputs).frames
    assert frames.shape == truth.shape
    assert frames.isfinite().all()


def test_adversarial_term_waits_for_the_generator_to_warm_up():
    model, networks = tiny(), LossNetwork(PatchDiscriminator(DiscriminatorConfig(width=4, layers=1)))
    generated = model(**pictures(model.config), sample=True)
    terms = generator_loss(
        generated,
        torch.zeros_like(generated.frames),
        networks,
        AppearanceLossWeights(),
        model.decoder.blocks[-1].weight,
        adversarial=False,
    )
    assert set(terms) == {"l1", "kl", "total"}


def test_recomputing_blocks_changes_no_gradient():
    gradients = []
    for enabled in (False, True):
        model = tiny()
        model.set_checkpointing(enabled)
        model(**pictures(model.config)).frames.square().mean().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, recomputed)


def test_cached_references_give_the_same_frames():
    model = tiny().eval()
    inputs = pictures(model.config)
    with torch.no_grad():
        whole = model(**inputs).frames
        inputs["references"] = model.encode_references(inputs["references"])
        torch.testing.assert_close(model(**inputs).frames, whole)


def test_single_encoder_does_not_look_at_the_current_frame():
    model = tiny(**VARIANTS["single-encoder"])
    inputs = pictures(model.config) | {"non_lip": None}
    assert model(**inputs).frames.shape == (2, 3, 32, 32)


def test_wrong_choices_are_refused():
    with pytest.raises(
        ValueError, match="references must be one of masked-multi, masked-single, full-single"
    ):
        tiny(references="many")
    with pytest.raises(ValueError, match="reads full-single references; got masked-multi"):
        tiny(design="single-encoder")
    with pytest.raises(ValueError, match="size must be a multiple of 32; got 40"):
        tiny(size=40)
    with pytest.raises(ValueError, match="multiple of the norm's groups; got 6 channels, 4 groups"):
        tiny(width=6)
    with pytest.raises(ValueError, match=r"masked-multi references must be \(B, 3, 3, H, W\)"):
        tiny().encode_references(torch.zeros(1, 2, 3, 32, 32))


@pytest.mark.parametrize(
    "build",
    [
        tiny,
        lambda: tiny(**VARIANTS["single-encoder"]),
        lambda: PatchDiscriminator(DiscriminatorConfig(width=4, layers=1)),
        lambda: PerceptualDistance(PERCEPTUAL),
    ],
    ids=["generator", "single-encoder", "discriminator", "perceptual"],
)
def test_files_hold_the_whole_model(build, tmp_path):
    model = build().eval()
    loaded = type(model).from_pretrained(model.save_pretrained(tmp_path))
    assert loaded.config == model.config
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_posterior_has_the_divergence_of_its_distributions():
    mean, log_variance = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    posterior = Posterior.from_moments(torch.cat((mean, log_variance), dim=1))
    ours = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    standard = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(ours, standard).flatten(1).sum(1)
    torch.testing.assert_close(posterior.kl(), expected)
    draws = [posterior.sample(torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*draws)
    assert not torch.equal(draws[0], posterior.mode)


def test_perceptual_distance_grows_with_the_difference():
    model = PerceptualDistance(PERCEPTUAL)
    picture = torch.rand(2, 3, 32, 32) * 2 - 1
    noise = torch.randn_like(picture)
    distances = [model(picture, picture + share * noise) for share in (0.0, 0.1, 0.5)]
    assert torch.equal(distances[0], torch.zeros(2))
    assert (distances[1] > 0).all()
    assert (distances[2] > distances[1]).all()


def test_pictures_survive_the_way_there_and_back():
    rgb = np.arange(192, dtype=np.uint8).reshape(1, 8, 8, 3)
    assert to_tensor(rgb).shape == (1, 3, 8, 8)
    assert np.array_equal(to_rgb(to_tensor(rgb)), rgb)
    assert to_rgb(torch.full((3, 2, 2), 1.7)).max() == 255


@pytest.fixture
def scene():
    """A layout, a closed and an open mouth, and references whose crops have a grey level each."""
    layout = LandmarkLayout.load("mesh478")
    closed = layout.template[:, :2].copy()
    wide = closed.copy()
    below = np.setdiff1d(layout.lower, np.flatnonzero(closed[:, 1] < closed[layout.lips_inner, 1].mean()))
    wide[below, 1] += 12
    crops = np.stack([np.full((64, 64, 3), level, np.uint8) for level in (250, 200, 150, 100)])
    landmarks = np.stack([closed, wide, closed, wide]).astype(np.float32)
    zeros = np.zeros(4, np.int64)
    return layout, closed, wide, References(crops, landmarks, zeros, np.ones(4, np.float32), zeros)


@pytest.mark.parametrize("alignment", ["none", "mesh"])
def test_masked_inputs_share_out_the_face(scene, alignment):
    layout, closed, wide, references = scene
    config = dataclasses.replace(TINY, size=64, reference_alignment=alignment)
    crop = np.full((64, 64, 3), 60, np.uint8)
    inputs = generator_inputs(
        config, crop, closed, wide, references, np.array([0, 1, 2]), triangulate(layout)
    )
    assert inputs.references.shape == (3, 3, 64, 64)
    new = inputs.mask > 0
    assert 0.02 < new.float().mean() < 0.6
    # Nothing of the frame is left where it is made anew, all of it elsewhere.
    assert (inputs.non_lip[:, new] == 0).all()
    assert torch.equal(inputs.non_lip[:, ~new], to_tensor(crop)[:, ~new])
    shown = [(picture != 0).any(0) for picture in inputs.references]
    if alignment == "mesh":
        assert all(torch.equal(region, new) for region in shown)
    else:
        own = mouth_mask(closed, closed, layout)
        square = np.zeros((256, 256), np.float32)
        own.window.cut(square)[:] = own.lips
        assert shown[0].sum() < shown[1].sum()
        assert abs(shown[0].float().mean() - (square > 0).mean()) < 0.02
    for level, picture, region in zip((250, 200, 150), inputs.references, shown, strict=True):
        assert np.abs(to_rgb(picture)[region.numpy()].astype(int) - level).max() <= 1


def test_full_reference_is_the_whole_picture(scene):
    layout, closed, wide, references = scene
    config = dataclasses.replace(TINY, references="full-single")
    crop = np.zeros((64, 64, 3), np.uint8)
    inputs = generator_inputs(config, crop, closed, wide, references, np.array([3]), triangulate(layout))
    assert np.array_equal(to_rgb(inputs.references)[0], np.full((32, 32, 3), 100, np.uint8))
    with pytest.raises(ValueError, match="full-single reads 1 references a frame; got 2"):
        generator_inputs(config, crop, closed, wide, references, np.array([3, 1]), triangulate(layout))


def test_landmark_image_follows_the_landmarks(scene):
    layout, closed, wide, _ = scene
    one, other = (landmark_image(points, layout, 128) for points in (closed, wide))
    assert one.shape == (128, 128, 3)
    assert one.dtype == np.uint8
    lips = one[..., 0].astype(int) > 200
    rows = np.flatnonzero(lips.any(1)) * 2
    assert rows[0] <= closed[layout.lips_outer, 1].min() + 4
    assert not np.array_equal(one, other)
    # The eyes did not move.
    top = int(closed[layout.eyes[0], 1].max() / 2)
    assert np.array_equal(one[:top], other[:top])
