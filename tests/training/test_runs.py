"""Whole runs of every program: killed and resumed, on two processes, on two clips only."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys

import pytest
import torch
from program_runs import PROGRAMS, flags_of, launcher, newest_checkpoint, read_losses, write_inputs
from repository import ROOT


@pytest.fixture(scope="module")
def launch():
    with launcher() as started:
        yield started


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module", params=PROGRAMS)
def finished(request, inputs, launch, tmp_path_factory):
    """A program, its flags, and the folder of a run of it that nothing disturbed."""
    flags, out = flags_of(request.param, inputs), tmp_path_factory.mktemp("finished")
    assert launch.run(request.param, [*flags, "-o", str(out)]) == [0]
    return request.param, flags, out


def assert_same(one, other, path="checkpoint"):
    """Nested dicts, sequences, tensors and values, equal to the bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), path
        for i, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{path}[{i}]")
    elif isinstance(one, torch.Tensor):
        assert torch.equal(one, other), path
    else:
        assert one == other, path


def assert_close(one: dict[str, float], other: dict[str, float]):
    """Logged losses, equal but for the rounding of sums in another order."""
    one.pop("kind"), other.pop("kind")
    assert other == pytest.approx(one, rel=1e-4, abs=1e-6)


def test_a_killed_run_goes_on_as_if_nothing_had_been(finished, launch, tmp_path):
    program, flags, out = finished
    flags = [*flags, "-o", str(tmp_path)]
    step = random.randrange(7)
    assert launch.run(program, flags, kill_at=step) == [-signal.SIGKILL], f"killed in step {step}"
    assert launch.run(program, flags) == [0]
    assert_same(newest_checkpoint(tmp_path), newest_checkpoint(out), f"killed in step {step}")
    assert read_losses(tmp_path) == read_losses(out)
    weights = next(out.rglob("model.safetensors")).relative_to(out)
    assert (tmp_path / weights).read_bytes() == (out / weights).read_bytes()


def test_workers_draw_ahead_and_change_nothing(finished, launch, tmp_path):
    program, flags, out = finished
    assert launch.run(program, [*flags, "--workers", "2", "-o", str(tmp_path)]) == [0]
    assert read_losses(tmp_path) == read_losses(out)


def test_two_processes_are_as_one(finished, launch, tmp_path):
    """Each with half of the batch: sums of gradients are rounded otherwise, and no more than that."""
    program, flags, out = finished
    assert launch.run(program, [*flags, "--accumulate", "1", "-o", str(tmp_path)], processes=2) == [0, 0]
    pairs = list(zip(read_losses(out), read_losses(tmp_path), strict=True))
    assert len(pairs) == 7
    for one, other in pairs:
        assert_close(one, other)


def test_teachers_teach_a_pupil(inputs, launch, tmp_path):
    """Two, each of half of the people, and one that learns from both and from the truth."""
    runs = [tmp_path / "first", tmp_path / "second"]
    flags, space = flags_of("motion.train", inputs), str(runs[0] / "model" / "space")
    for part, run in enumerate(runs):
        own = ["--fold", str(part), "2", *(["--space", space] if part else [])]
        assert launch.run("motion.train", [*flags, "--process", "regression", *own, "-o", str(run)]) == [0]
    people = [set(json.loads((run / "people.json").read_text())) for run in runs]
    assert not people[0] & people[1] and len(people[0] | people[1]) == 9
    taught = [*flags, "--space", space, "--teachers", *map(str, runs)]
    losses = {}
    for truth in ("0", "1"):
        pupil = tmp_path / truth
        assert launch.run("motion.train", [*taught, "--truth", truth, "-o", str(pupil)]) == [0]
        losses[truth] = [row["x0"] for row in read_losses(pupil)]
    # What teachers say is smooth, these clips are noise.
    assert sum(losses["0"]) < 0.7 * sum(losses["1"])


def test_torchrun_on_the_cpu_starts_them_all(inputs, launch, tmp_path):
    flags = [*flags_of("motion.train_identity", inputs), "--accumulate", "1"]
    alone, both = tmp_path / "alone", tmp_path / "both"
    assert launch.run("motion.train_identity", [*flags, "-o", str(alone)]) == [0]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    program = ["-m", "mytalk_training.motion.train_identity", *flags, "-o", str(both)]
    ended = subprocess.run([*command, *program], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("2 processes, cpu") == 1
    for one, other in zip(read_losses(alone), read_losses(both), strict=True):
        assert_close(one, other)


def test_accelerate_launch_on_the_cpu_which_starts_one_of_two_says_what_does(inputs, tmp_path):
    command = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    flags = [*flags_of("motion.train_identity", inputs), "-o", str(tmp_path / "out")]
    program = ["-m", "mytalk_training.motion.train_identity", *flags]
    ended = subprocess.run([*command, *program], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert ended.returncode != 0
    assert "torchrun --nproc_per_node N" in ended.stderr
    assert not (tmp_path / "out").exists()


def test_halves_of_a_batch_and_shards_of_the_weights_train_the_same(inputs, launch, tmp_path):
    """Without dropout, which goes with the micro-batch, a whole batch is as two processes with half each."""
    flags = [*flags_of("motion.train", inputs), "--accumulate", "1", "--mixed-precision", "no"]
    # Overfitting drops nothing; it ends with 1 where it does not reach its loss.
    flags += ["--overfit", "2", "--overfit-loss", "0"]
    whole, halves, sharded = (tmp_path / name for name in ("whole", "halves", "sharded"))
    assert launch.run("motion.train", [*flags, "-o", str(whole)]) == [1]
    assert launch.run("motion.train", [*flags, "-o", str(halves)], 2) == [1, 1]
    assert launch.run("motion.train", [*flags, "--steps", "5", "--fsdp", "-o", str(sharded)], 2) == [1, 1]
    assert launch.run("motion.train", [*flags, "--fsdp", "-o", str(sharded)], 2) == [1, 1]
    for out in (halves, sharded):
        for one, other in zip(read_losses(whole), read_losses(out), strict=True):
            assert_close(one, other)
        expected, found = (newest_checkpoint(run)["networks"]["denoiser"] for run in (whole, out))
        for part in ("module", "average"):
            torch.testing.assert_close(found[part], expected[part], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("program", "flags"),
    [
        ("motion.train", ["--width", "32", "--lr", "1e-2", "--overfit-loss", "1.0"]),
        ("motion.train_identity", ["--lr", "1e-2", "--overfit-loss", "0.1"]),
        ("expert.train", ["--lr", "3e-3", "--overfit-loss", "0.5"]),
        ("refiner.train", ["--lr", "1e-2", "--steps", "100", "--overfit-loss", "0.6"]),
        ("generator.train", ["--lr", "3e-3", "--steps", "60", "--overfit-loss", "0.2"]),
        ("covers.train", ["--lr", "5e-3", "--steps", "60", "--overfit-loss", "0.5"]),
    ],
)
def test_two_clips_are_learned_by_heart(program, flags, inputs, launch, tmp_path):
    small = ["--steps", "300", "--save-every", "300", "--accumulate", "1", "--log-every", "20"]
    run = [*flags_of(program, inputs), *small, *flags, "--overfit", "2", "-o", str(tmp_path)]
    assert launch.run(program, run) == [0], read_losses(tmp_path)[-1]
