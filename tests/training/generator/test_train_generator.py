"""Training of the appearance generator: what it is shown, its two networks' steps, what a run leaves behind.

Whole runs (killed, on two processes, learned by heart) are in test_runs.py with those of the other programs.
"""

from __future__ import annotations

import copy
import dataclasses
import json

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from mytalk_training.dataset.shards import ShardDataset
from mytalk_training.generator.augment import draw_change
from mytalk_training.generator.data import APART_S, GeneratorBatch, GeneratorData, read_picture_clips
from mytalk_training.generator.losses import AppearanceLossWeights, LossNetwork, generator_loss
from mytalk_training.generator.train import SampledGenerator, build, configs, parse, save, step
from mytalk_training.generator.validation import validate
from mytalk_training.loop.loop import Run, train
from mytalk_training.loop.order import NOISE, Order, SampleRandom, load

from mytalk_core.appearance.networks.autoencoder import Posterior
from mytalk_core.appearance.networks.generator import AppearanceConfig, AppearanceGenerator, Generated
from mytalk_core.appearance.networks.perceptual import PerceptualConfig, PerceptualDistance
from mytalk_core.appearance.networks.picture_tensors import to_rgb
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.models.preset import Preset

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
SIZES = "--size 32 --width 8 --multipliers 1 2 --blocks 1 --groups 4 --fusion-width 8 --discriminator-width 4"
FLAGS = f"{SIZES} --mixed-precision no --batch 2 --steps 2 --log-every 1 --validate 3".split()


def open_data(dataset, seed: int = 0, window: int = 1, vary: bool = False, **changes) -> GeneratorData:
    config, shards = dataclasses.replace(TINY, **changes), ShardDataset.open(dataset)
    clips = read_picture_clips(shards, config.reference_count, window)
    return GeneratorData(shards, clips, config, seed, window, vary)


def assert_equal(one: GeneratorBatch, other: GeneratorBatch):
    for name, value in vars(one).items():
        assert torch.equal(value, getattr(other, name)), name


def test_references_are_of_other_moments(dataset, monkeypatch):
    data, read = open_data(dataset, window=2), []
    decode = data.shards.crop
    monkeypatch.setattr(data.shards, "crop", lambda row, frame: read.append(frame) or decode(row, frame))
    batch = data.draw(list(range(12)))
    assert batch.references.shape == (12, 2, 3, 3, 32, 32)
    assert batch.truth.shape == batch.non_lip.shape == batch.landmark_image.shape == (12, 2, 3, 32, 32)
    windows = np.array(read).reshape(12, 5)
    assert (windows[:, 1] == windows[:, 0] + 1).all()
    apart = np.abs(windows[:, :2, None] - windows[:, None, 2:]) / 25
    assert apart.min() > APART_S - 1e-3
    assert all(len(set(row)) == 5 for row in windows.tolist())
    assert len(set(windows[:, 0].tolist())) > 3


def test_a_window_depends_on_its_number_only(dataset):
    data = open_data(dataset, seed=3, vary=True)
    whole = data.draw([0, 1, 2, 3])
    order = Order(batch=2, accumulate=1, processes=1, process=0, start=0, stop=2)
    parts = [vars(batch) for _, batch in load(data.draw, order, workers=2)]
    assert_equal(
        whole, GeneratorBatch(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})
    )
    other = open_data(dataset, seed=4, vary=True).draw([0, 1, 2, 3])
    assert not torch.equal(whole.truth, other.truth)


@pytest.mark.parametrize("alignment", ["none", "mesh"])
def test_plain_windows_are_the_crops_themselves(dataset, alignment):
    data = open_data(dataset, reference_alignment=alignment)
    batch = data.draw([5])
    crops = [
        cv2.resize(data.shards.crop(clip.row, frame), (32, 32), interpolation=cv2.INTER_AREA)
        for clip in data.clips[:4]
        for frame in clip.frames
    ]
    truth = to_rgb(batch.truth[0, 0])
    assert any(np.array_equal(truth, crop) for crop in crops)
    old = batch.mask[0, 0] == 0
    assert torch.equal(batch.non_lip[0, 0][:, old], batch.truth[0, 0][:, old])
    assert (batch.non_lip[0, 0][:, ~old] == 0).all()
    # Warped references are the person's own lips on the frame's: near it, if not it.
    near = (batch.references[0, 0] - batch.truth[0, 0])[..., batch.mask[0, 0] > 0.9].abs().mean()
    assert 0.005 < near < 0.25


def test_a_made_layout_and_one_that_cannot_be_made(dataset):
    batch = open_data(dataset, landmark_layout="dense669").draw([0])
    assert batch.landmark_image.shape == (1, 1, 3, 32, 32)
    data = open_data(dataset)
    clip = data.clips[0]
    other = dataclasses.replace(clip, row=clip.row | {"layout": "unknown"})
    with pytest.raises(ValueError, match="clips are in layout unknown, from which mesh478 cannot be made"):
        GeneratorData(data.shards, [other], TINY, 0)


def test_a_run_looks_at_a_frame_at_least(capsys):
    with pytest.raises(SystemExit):
        parse(["DATASET", "-o", "RUN", "--validate", "0"])
    assert "--validate" in capsys.readouterr().err


def test_data_without_what_is_needed_is_refused(dataset):
    shards = ShardDataset.open(dataset)
    with pytest.raises(ValueError, match="no clip of .* has 2 neighbouring crops with 60 more at least"):
        read_picture_clips(shards, 60, 2)
    for row in shards.samples:
        row["members"] = {name: span for name, span in row["members"].items() if ".jpg" not in name}
    with pytest.raises(ValueError, match="holds no crops: run mytalk prepare without --no-crops"):
        read_picture_clips(shards, 3)


@pytest.mark.parametrize("seed", range(6))
def test_changes_move_pictures_and_landmarks_alike(seed):
    layout = LandmarkLayout.load("mesh478")
    points = layout.template[:, :2].copy()
    change = draw_change(torch.Generator().manual_seed(seed))
    moved = change.points(points, layout)
    for point in (33, 263, 61, 291):
        crop = np.zeros((256, 256, 3), np.uint8)
        centre = np.rint((points[point] - 0.5) * 16).astype(int)
        cv2.circle(crop, centre.tolist(), 6 * 16, (255, 255, 255), -1, shift=4)
        bright = change.picture(crop).sum(-1).astype(float)
        bright[bright < bright.max() / 2] = 0
        rows, columns = np.mgrid[:256, :256] + 0.5
        found = [(bright * axis).sum() / bright.sum() for axis in (columns, rows)]
        now = layout.mirror[point] if change.flip else point
        assert np.abs(moved[now] - found).max() < 0.7


def test_changes_are_of_every_kind():
    changes = [draw_change(torch.Generator().manual_seed(seed)) for seed in range(60)]
    assert 15 < sum(change.flip for change in changes) < 45
    for kind in ("small", "blur", "quality"):
        assert len({getattr(change, kind) for change in changes}) > 3, kind
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 256, 0).repeat(3, 2)
    assert all(change.picture(ramp).shape == (256, 256, 3) for change in changes)


@pytest.mark.parametrize(
    "flags",
    [
        ["--references", "masked-multi", "--temporal-weight", "1", "--mouth-weight", "1"],
        ["--references", "masked-single"],
        ["--references", "full-single"],
        ["--design", "single-encoder"],
        ["--alignment", "mesh"],
    ],
    ids=lambda flags: flags[1],
)
def test_both_networks_step_in_their_turn(flags, dataset, tmp_path):
    args = parse([str(dataset), "-o", str(tmp_path), *FLAGS, *flags, "--start-discriminator", "1"])
    run = Run.of(args)
    state, data = build(run, args)
    generator, judge = (state.networks[name].module for name in ("generator", "discriminator"))
    moved = []
    for number in range(2):
        before = [copy.deepcopy(module.state_dict()) for module in (generator, judge)]
        samples = [2 * number, 2 * number + 1]
        terms = step(state, data.draw(samples), SampleRandom(0, NOISE, samples), run.accelerator)
        pairs = zip((generator, judge), before, strict=True)
        moved.append([any(not torch.equal(v, old[k]) for k, v in m.state_dict().items()) for m, old in pairs])
        state.step += 1
        assert {"l1", "kl", "adversarial", "discriminator", "total"} <= set(terms)
        assert all(value.ndim == 0 and value.isfinite() for value in terms.values())
        assert bool(terms["discriminator"] > 0) == (number == 1)
    assert moved == [[True, False], [True, True]]
    assert all(p.requires_grad and p.grad is None for m in (generator, judge) for p in m.parameters())
    for term in ("temporal", "mouth"):
        assert (term in terms) == (f"--{term}-weight" in flags)


def made(frames: torch.Tensor) -> Generated:
    zero = Posterior(torch.zeros(len(frames), 3, 2, 2), torch.zeros(len(frames), 3, 2, 2))
    return Generated(frames, zero, zero)


def test_terms_look_where_they_should():
    truth, mask = torch.rand(4, 3, 8, 8), torch.zeros(4, 8, 8)
    mask[:, 4:] = 1
    networks, last = LossNetwork(torch.nn.Identity()), torch.ones(1)
    weights = AppearanceLossWeights(mouth=2.0, temporal=3.0)

    def terms(frames: torch.Tensor) -> dict[str, torch.Tensor]:
        return generator_loss(made(frames), truth, networks, weights, last, False, mask, window=2)

    above = truth.clone()
    above[:, :, :4] += 0.5
    found = terms(above)
    # A constant error above the mask: seen by L1 alone.
    assert [found[k].item() for k in ("l1", "mouth", "temporal")] == pytest.approx([0.25, 0, 0], abs=1e-6)
    inside = truth.clone()
    inside[1::2, :, 4:] += 0.5
    found = terms(inside)
    # In every second frame of a pair, inside the mask: half of the frames are wrong, all the pairs.
    expected = [0.125, 0.25, 0.25]
    assert [found[k].item() for k in ("l1", "mouth", "temporal")] == pytest.approx(expected, abs=1e-6)
    assert found["total"].item() == pytest.approx(0.125 + 2 * 0.25 + 3 * 0.25, abs=1e-5)


def test_equal_neighbours_stay_equal(dataset):
    """Their latents are drawn alike: the temporal term has nothing to hold against the noise itself."""
    batch = open_data(dataset).draw([0, 1])
    twice = GeneratorBatch(*(part.repeat_interleave(2, dim=1) for part in vars(batch).values()))
    model = SampledGenerator(AppearanceGenerator(TINY))
    generated = model(twice, torch.randn(2, 2, 3, 16, 16)).frames.unflatten(0, (2, 2))
    torch.testing.assert_close(generated[:, 0], generated[:, 1])
    again = model(twice, torch.randn(2, 2, 3, 16, 16)).frames.unflatten(0, (2, 2))
    assert (generated - again).abs().max() > 1e-3


def test_sizes_are_the_flags_or_the_presets(dataset):
    shards, paper = ShardDataset.open(dataset), Preset.load("paper")

    def chosen(*flags: str) -> tuple:
        return configs(parse([str(dataset), "-o", "out", *flags]), shards)

    config, discriminator = chosen("--preset", "paper")
    assert (config, discriminator) == (paper.appearance, paper.discriminator)
    config, _ = chosen("--preset", "paper", "--references", "masked-single", "--alignment", "mesh")
    assert config == dataclasses.replace(
        paper.appearance, references="masked-single", reference_alignment="mesh"
    )
    config, _ = chosen(*SIZES.split(), "--design", "single-encoder")
    assert config == dataclasses.replace(
        TINY, design="single-encoder", references="full-single", fusion_blocks=4
    )
    with pytest.raises(ValueError, match="preset mini has no appearance generator: give its sizes by flags"):
        chosen("--preset", "mini")


def test_figures_are_of_what_lies_in_the_mask(dataset):
    data = open_data(dataset)
    perceptual = PerceptualDistance(PerceptualConfig(stages=((4,), (6,))))

    class Knowing(AppearanceGenerator):
        """Gives frames away that are right outside the mask, and inside too when it knows them."""

        known = True

        def forward(self, references, non_lip, landmark_image):
            frames = torch.cat([data.draw([n]).truth[0] for n in range(len(non_lip))])
            return made(frames if self.known else non_lip)

    model = Knowing(TINY)
    figures, picture = validate(model, data, 3, perceptual, Accelerator())
    assert figures == {"psnr": 100.0, "ssim": 1.0, "lpips": 0.0}
    model.known = False
    figures, picture = validate(model, data, 3, perceptual, Accelerator())
    assert figures["psnr"] < 20
    assert figures["lpips"] > 0
    batch = data.draw([0, 1, 2])
    row = picture[:32].reshape(32, 7, 32, 3).swapaxes(0, 1)
    assert picture.shape == (3 * 32, 7 * 32, 3)
    assert np.array_equal(row[:3], to_rgb(batch.references[0, 0]))
    shown = [batch.non_lip, batch.landmark_image, batch.non_lip, batch.truth]
    assert np.array_equal(row[3:], to_rgb(torch.stack([part[0, 0] for part in shown])))


def test_a_run_leaves_a_model_and_pictures(dataset, tmp_path):
    args = parse([str(dataset), "-o", str(tmp_path), *FLAGS, "--start-discriminator", "0"])
    run = Run.of(args)
    state, data = build(run, args)
    assert {clip.identity for clip in state.held.clips} == {"person 8"}
    assert len({clip.identity for clip in data.clips}) == 8
    train(run, state, data.draw, step, save)
    model = AppearanceGenerator.from_pretrained(tmp_path / "model", "appearance")
    assert model.config == state.config
    assert cv2.imread(str(tmp_path / "samples" / "step_00000002.png")).shape == (3 * 32, 7 * 32, 3)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert set(rows[-1]) == {"step", "kind", "psnr", "ssim"}
