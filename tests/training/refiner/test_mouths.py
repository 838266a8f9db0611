"""What the refiner is trained on: made from a prepared dataset, packed, read back, varied."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mytalk_training.dataset import prepare
from mytalk_training.dataset.shards import INDEX_NAME, ShardDataset
from mytalk_training.loop.order import DATA, SampleRandom
from mytalk_training.refiner import prepare as prepare_mouths
from mytalk_training.refiner.data import (
    GRID,
    PEOPLE,
    MouthDataset,
    Variation,
    augment,
    held_out,
)
from mytalk_training.refiner.lending import APART_S, CLOSED, REGIMES, clip_views, left_of
from mytalk_training.refiner.mixing_refiner import MixingRefiner
from mytalk_training.refiner.train import build, parse, unsteadiness
from mytalk_training.refiner.windows import mouth_corners, windows

from mytalk_core.appearance.networks.refiner import MouthRefiner, RefinerConfig
from mytalk_core.appearance.references.references import References, mouth_opening
from mytalk_core.face.layout import LandmarkLayout


@pytest.fixture(scope="module")
def dataset(clips, tmp_path_factory):
    """Two people's prepared samples, with crops."""
    out = tmp_path_factory.mktemp("dataset")
    prepare.main([str(clips.folder), "-o", str(out), "--tracks", str(clips.tracks), "--min-seconds", "1"])
    return out


@pytest.fixture(scope="module")
def mouths(dataset, tmp_path_factory):
    out = tmp_path_factory.mktemp("mouths")
    prepare_mouths.main([str(dataset), "-o", str(out), "--smallest-face-px", "20", "--most", "6"])
    return out


def test_clips_of_one_name_from_two_datasets_are_both_there(dataset, tmp_path):
    """As `0001.mp4` is in every other download."""
    index, out = (dataset / INDEX_NAME).read_text(), tmp_path / "mouths"
    rows = [json.loads(line) for line in index.splitlines()][:2]
    for row, person in zip(rows, "pq", strict=True):
        folder = tmp_path / person
        shutil.copytree(dataset, folder)
        (folder / INDEX_NAME).write_text(json.dumps(row | {"key": "0001", "identity": person}) + "\n")
    for person in "pqp":
        arguments = ["-o", str(out), "--smallest-face-px", "20", "--most", "2"]
        prepare_mouths.main([str(tmp_path / person), *arguments])
    people = json.loads((out / PEOPLE).read_text())
    assert people["0001"] == "p" and sorted(people.values()) == ["p", "q"]
    assert {path.stem for path in out.glob("*.safetensors")} == set(people)


def test_views_are_lent_by_other_moments_only(dataset):
    data = ShardDataset.open(dataset)
    row = data.samples[0]
    views = list(clip_views(data, row, 5, np.random.default_rng(0)))
    assert views
    for view in (mouth.view for mouth in views):
        assert view.references.shape == (len(view.weights), *view.frame.shape)
        assert view.weights.sum() == pytest.approx(1.0)
        assert all((picture != view.frame).any() for picture in view.references)
    times = data.tensors(row, "track.safetensors")["times_s"]
    assert times[-1] - times[0] > APART_S


def test_packed_samples_hide_the_mouth_and_keep_the_truth(mouths):
    known, held = held_out(mouths, share=0)
    samples = MouthDataset(known + held).read([0, 1])
    inputs = samples.inputs
    assert samples.truth.shape == (2, 3, *GRID) and inputs.references.shape == (2, 8, 3, *GRID)
    hidden = (inputs.mask > 0).expand_as(samples.truth)
    assert (inputs.frame[hidden] == 0).all() and (inputs.frame[~hidden] == samples.truth[~hidden]).all()
    assert samples.truth.abs().max() <= 1 and hidden.float().mean() > 0.1
    torch.testing.assert_close(inputs.weights.sum(1), torch.ones(2))


@pytest.fixture(scope="module")
def larger(clips, mouths, tmp_path_factory):
    """The mouths, and beside them one person's again with two pixels a unit."""
    dataset, out = tmp_path_factory.mktemp("larger dataset"), tmp_path_factory.mktemp("larger")
    arguments = ["--tracks", str(clips.tracks), "--min-seconds", "1", "--crop-px", "512", "--limit", "1"]
    prepare.main([str(clips.folder), "-o", str(dataset), *arguments])
    prepare_mouths.main([str(dataset), "-o", str(out), "--smallest-face-px", "20", "--most", "6"])
    for path in mouths.glob("*.safetensors"):
        if not (out / path.name).exists():
            shutil.copy(path, out)
    shutil.copy(mouths / PEOPLE, out)
    return out


def test_pictures_of_two_pixels_a_unit_are_the_same_pictures(mouths, larger):
    coarse, fine = (MouthDataset(held_out(folder, share=0)[0]) for folder in (mouths, larger))
    number = int(np.flatnonzero(fine.scales == 2)[0])
    one, two = coarse.read([number]), fine.read([number])
    height, width = GRID
    assert one.scale == 1 and two.scale == 2
    assert two.truth.shape == (1, 3, 2 * height, 2 * width)
    assert two.references.shape == (1, 8, 3, 2 * height, 2 * width)
    assert two.inner.shape == two.made.shape == (1, 1, 2 * height, 2 * width)
    for name in ("mask", "contours", "stretch", "lips"):
        assert torch.equal(getattr(two.inputs, name), getattr(one.inputs, name))
    # Cut out of the video at twice the size, then averaged: what a crop of one pixel a unit shows.
    assert (two.inputs.frame - one.inputs.frame).abs().mean() < 0.03
    assert (two.inputs.references[:, 0] - one.inputs.references[:, 0]).abs().mean() < 0.05


def test_a_batch_is_of_one_scale_and_every_scale_has_its_turn(larger):
    data, seen = MouthDataset(held_out(larger, share=0)[0]), []
    assert set(data.scales) == {1, 2}
    for seed in range(40):
        samples = data.draw(list(range(4)), seed=seed).to("cpu")
        assert data.draw(list(range(4, 8)), seed=seed).to("cpu").scale == samples.scale
        assert samples.truth.shape[-1] == samples.scale * samples.inputs.mask.shape[-1]
        assert unsteadiness(samples.truth, samples) > 0
        seen.append(samples.scale)
    assert set(seen) == {1, 2}
    batches = list(data.batches(np.arange(len(data)), 5))
    assert sorted(sum(batches, [])) == list(range(len(data))) and max(map(len, batches)) <= 5
    assert all(len(set(data.scales[rows])) == 1 for rows in batches)


def test_what_is_mended_is_drawn_on_the_pictures_own_pixels(larger):
    data = MouthDataset(held_out(larger, share=0)[0])
    samples = data.read(np.flatnonzero(data.scales == 2)[:2].tolist())
    refiner = MouthRefiner(RefinerConfig(references=8, width=8, widths=(8, 8)))
    pictures = MixingRefiner(refiner)(samples)
    # A refiner that has learned nothing mixes by the weights and adds nothing: so do its enlarged maps.
    torch.testing.assert_close(pictures, samples.mixture, atol=2e-3, rtol=0)
    nudge = torch.nn.init.constant_(refiner.shares.bias, 0.0)
    with torch.no_grad():
        nudge[2 * refiner.config.patch**2 :] = 10.0  # as far as it may, to the right and down
    moved, by = MixingRefiner(refiner)(samples), 2 * round(refiner.config.flow)
    torch.testing.assert_close(moved[..., :-by, :-by], samples.mixture[..., by:, by:], atol=2e-3, rtol=0)


def pool_of(openings, layout):
    """Grey references whose lower inner lips hang so many units below the upper ones."""
    shapes = np.repeat(layout.template[None, :, :2], len(openings), 0).astype(np.float32)
    half = len(layout.lips_inner) // 2
    upper = shapes[:, layout.lips_inner[:half:-1], 1]
    shapes[:, layout.lips_inner[1:half], 1] = upper + np.asarray(openings, np.float32)[:, None]
    count = len(openings)
    crops = np.full((count, 256, 256, 3), 128, np.uint8)
    return References(crops, shapes, np.arange(count), np.ones(count, np.float32), np.zeros(count, int))


def test_a_regime_leaves_what_its_name_says():
    layout, rng = LandmarkLayout.load("mesh478"), np.random.default_rng(0)
    pool = pool_of([0, 1, 3, 4, 8, 12], layout)

    def left(regime, target=5):
        kept = left_of(pool, pool.landmarks[target], layout, regime, rng)
        return None if kept is None else mouth_opening(kept.landmarks, layout)

    assert len(left("full")) == 6 and len(left("single")) == 1
    assert (left("closed") < CLOSED).all() and len(left("closed")) == 2
    assert left("unopened").max() < 6 and len(left("unopened")) == 4
    # Who hardly opens the mouth lacks nothing.
    assert left("unopened", target=1) is None
    assert all(left(regime) is None or len(left(regime)) <= 6 for regime in REGIMES)


def test_who_is_held_out_depends_on_the_names_only(tmp_path):
    names = {f"clip{number}": f"person {number}" for number in range(60)}
    (tmp_path / PEOPLE).write_text(json.dumps(dict(list(names.items())[:20])))
    _, few = held_out(tmp_path)
    (tmp_path / PEOPLE).write_text(json.dumps(names))
    known, held = held_out(tmp_path)
    assert 0 < len(few) < len(held) < len(known) and set(few) <= set(held)


def test_somebody_must_be_left_to_learn_from(tmp_path):
    (tmp_path / PEOPLE).write_text(json.dumps({"a": "person 1", "b": "person 2"}))
    with pytest.raises(ValueError, match="person 1, person 2: by their names these are kept from training"):
        held_out(tmp_path, share=1)


def test_a_sample_depends_on_its_number_only(mouths):
    data = MouthDataset(held_out(mouths, share=0)[0])
    one, other = data.draw([3, 4], seed=1).to("cpu"), data.draw([4], seed=1).to("cpu")
    torch.testing.assert_close(one.truth[1:], other.truth)
    torch.testing.assert_close(one.inputs.references[1:], other.inputs.references)
    assert not torch.equal(data.draw([4], seed=2).to("cpu").truth, other.truth)


def test_a_step_that_is_split_reads_the_same_samples(larger):
    data = MouthDataset(held_out(larger, share=0)[0])
    for seed, first in enumerate((60, 96, 120, 192)):
        whole, half = (
            data.draw(list(range(start, first + 12)), seed, step=12).to("cpu") for start in (first, first + 6)
        )
        assert torch.equal(whole.truth[6:], half.truth)


def test_pairs_are_not_split_where_they_are_compared(mouths):
    argv = [str(mouths), "-o", "RUN", "--steady-weight", "1", "--batch", "12", "--accumulate", "4"]
    run = SimpleNamespace(accelerator=SimpleNamespace(num_processes=1))
    with pytest.raises(ValueError, match="a multiple of 2 x processes x --accumulate = 8; got 12"):
        build(run, parse(argv))


def test_two_samples_are_a_frame_and_the_next_varied_alike(mouths):
    data = MouthDataset(held_out(mouths, share=0)[0])
    assert len(data) % 2 == 0
    batch = data.draw(list(range(8)), seed=1)
    for values in vars(batch.variation).values():
        assert torch.equal(values[::2], values[1::2])
    samples = batch.to("cpu")
    # Windows follow the mouth, which moves by little.
    assert (samples.corner[::2] - samples.corner[1::2]).abs().max() <= 16
    assert not torch.equal(samples.truth[::2], samples.truth[1::2])


def test_what_moves_with_the_window_is_steady_and_what_flickers_is_not(mouths):
    samples = MouthDataset(held_out(mouths, share=0)[0]).read([0, 1])
    samples = replace(samples, corner=torch.tensor([[90, 50], [92, 49]]))
    error = torch.rand(1, 3, *GRID)
    moved = torch.cat([error, error.roll((-2, 1), dims=(2, 3))])
    assert unsteadiness(moved, samples) == 0
    assert unsteadiness(torch.cat([error, -error]), samples) > 0.1


def test_windows_are_cut_about_the_lips_and_inside_the_picture():
    lips = torch.zeros(3, 1, *GRID, dtype=torch.uint8)
    lips[0, :, 60:71, 70:91] = 1
    lips[1, :, :4, :4] = 1
    corners = mouth_corners(lips)
    assert corners.tolist() == [[34, 32], [0, 0], [(GRID[0] - 64) // 2, (GRID[1] - 96) // 2]]
    maps = torch.arange(GRID[0] * GRID[1], dtype=torch.float32).view(1, 1, *GRID).repeat(3, 2, 1, 1)
    cut = windows(maps, corners)
    assert cut.shape == (3, 2, 64, 96)
    assert torch.equal(cut[0, 1], maps[0, 1, 34:98, 32:128])


def test_flips_and_colours_go_over_all_pictures_alike(mouths):
    data = MouthDataset(held_out(mouths, share=0)[0])
    plain = data.read([0])
    same = plain.references.clone()
    same[:] = plain.truth[:, None]
    same = replace(plain, references=same)
    for number in range(6):
        varied = augment(same, Variation.of(SampleRandom(0, DATA, [number]), 8))
        torch.testing.assert_close(varied.references[:, 0], varied.truth)


def test_prepared_mouths_are_left_alone_and_a_dataset_without_crops_is_refused(
    dataset, mouths, clips, tmp_path
):
    people = json.loads((mouths / "people.json").read_text())
    before = {path.name: path.stat().st_mtime_ns for path in mouths.glob("*.safetensors")}
    assert {f"{key}.safetensors" for key in people} == set(before) and len(before) >= 2
    prepare_mouths.main([str(dataset), "-o", str(mouths), "--smallest-face-px", "20", "--most", "6"])
    assert before == {path.name: path.stat().st_mtime_ns for path in mouths.glob("*.safetensors")}
    bare = tmp_path / "bare"
    prepare.main(
        [
            str(clips.folder),
            "-o",
            str(bare),
            "--tracks",
            str(clips.tracks),
            "--min-seconds",
            "1",
            "--no-crops",
        ]
    )
    with pytest.raises(ValueError, match="without --no-crops"):
        prepare_mouths.main([str(bare), "-o", str(tmp_path / "none"), "--smallest-face-px", "20"])
