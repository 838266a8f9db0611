"""The training loop by itself, with a network of a few weights: order, checkpoints, logs, and its alarms."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from types import SimpleNamespace

import mytalk_training.loop.checkpoints
import mytalk_training.loop.loop
import numpy as np
import pytest
import torch
from mytalk_training.loop.checkpoints import TrainingState, averaged, checkpoints, load_checkpoint
from mytalk_training.loop.loop import LoopOptions, Run, add_arguments, descend, learning_rate, train
from mytalk_training.loop.order import DATA, NOISE, Order, SampleRandom, load
from mytalk_training.loop.people import PEOPLE_NAME, VALIDATED, read_people
from torch import Tensor, nn

TINY = [
    "data",
    "--warmup",
    "1",
    "--steps",
    "6",
    "--batch",
    "4",
    "--log-every",
    "2",
    "--save-every",
    "2",
    "--lr",
    "0.05",
]


@dataclass(frozen=True)
class Numbers:
    values: Tensor

    def to(self, device):
        return Numbers(self.values.to(device))


def draw(samples: list[int]) -> Numbers:
    return Numbers(SampleRandom(0, DATA, samples).normal(3))


def step(state, batch, draws, accelerator):
    made = state.networks["net"].module(batch.values + 0.1 * draws.normal(3))
    total = (made - batch.values.flip(1)).square().mean()
    descend(state.networks["net"], total, accelerator)
    return {"total": total}


def save(run, state):
    model = averaged(state.networks["net"], nn.Linear(3, 3))
    return {"weight": model.weight.sum().item()}


def parse(out, *flags: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([*TINY, "--out", str(out), *flags])


def begin(out, *flags: str) -> tuple[Run, TrainingState]:
    run = Run.of(parse(out, *flags))
    return run, TrainingState(networks={"net": run.network(nn.Linear(3, 3))})


def read_log(out) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def test_a_step_reads_the_same_samples_however_they_are_split():
    def samples(accumulate: int, processes: int) -> list[list[int]]:
        orders = [iter(Order(12, accumulate, processes, rank, 3, 5)) for rank in range(processes)]
        micro = [next(order) for _ in range(2 * accumulate) for order in orders]
        return [sum((m.samples for m in micro if m.step == step), []) for step in (3, 4)]

    assert samples(1, 1) == [list(range(36, 48)), list(range(48, 60))]
    assert samples(3, 1) == samples(1, 3) == samples(2, 2) == samples(1, 1)
    # What the network itself draws goes with the micro-batch's number.
    alone, second = Order(12, 2, 1, 0, 0, 1), Order(12, 1, 2, 1, 0, 1)
    assert [*alone][1] == [*second][0]
    with pytest.raises(ValueError, match="--batch must be a multiple of .* 2 x 4; got 12"):
        Order(12, 4, 2, 0, 0, 1)


def test_random_numbers_go_with_the_sample():
    whole, part = SampleRandom(0, NOISE, [5, 6, 7]), SampleRandom(0, NOISE, [6])
    assert torch.equal(whole.normal(4)[1:2], part.normal(4))
    assert torch.equal(whole.uniform()[1:2], part.uniform())
    assert not torch.equal(SampleRandom(0, DATA, [6]).normal(4), SampleRandom(0, NOISE, [6]).normal(4))
    many = SampleRandom(1, NOISE, list(range(4000))).normal(2)
    assert abs(many.mean()) < 0.05 and abs(many.std() - 1) < 0.05
    assert np.abs(np.corrcoef(many[1:, 0], many[:-1, 0])[0, 1]) < 0.05


def test_workers_draw_the_same():
    order = Order(4, 1, 1, 0, 2, 5)
    drawn = [list(load(draw, order, workers)) for workers in (0, 2)]
    for (micro, batch), (other_micro, other_batch) in zip(*drawn, strict=True):
        assert micro == other_micro
        assert torch.equal(batch.values, other_batch.values)


def test_schedules(tmp_path):
    options = LoopOptions.of(parse(tmp_path, "--warmup", "100", "--steps", "1000"))
    assert learning_rate(0, options) == 0.01
    assert learning_rate(99, options) == 1.0
    # The paper's: half the peak at four times the warm-up.
    assert learning_rate(399, options) == pytest.approx(0.5)
    options = replace(options, schedule="cosine")
    assert learning_rate(550, options) == pytest.approx(0.5)
    assert learning_rate(1000, options) == pytest.approx(0.0)
    assert learning_rate(999, replace(options, schedule="constant")) == 1.0


def test_a_run_learns_logs_and_keeps_its_last_checkpoints(tmp_path):
    run, state = begin(tmp_path, "--steps", "20", "--keep", "2", "--save-every", "5", "--ema", "0.9")
    train(run, state, draw, step, save)
    assert [path.name for path in checkpoints(tmp_path / "checkpoints")] == [
        "step_00000015.pt",
        "step_00000020.pt",
    ]
    rows = read_log(tmp_path)
    losses = [row["total"] for row in rows if row["kind"] == "train"]
    assert len(losses) == 10
    assert losses[-1] < 0.5 * losses[0]
    assert all(
        0 <= row["waiting"] <= 1 and row["samples_per_s"] > 0 for row in rows if row["kind"] == "train"
    )
    assert sum("weight" in row for row in rows) == 4
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_overfitting_stops_when_the_loss_is_reached(tmp_path, capsys):
    run, state = begin(
        tmp_path, "--steps", "99", "--save-every", "99", "--overfit", "2", "--overfit-loss", "0.5"
    )
    train(run, state, draw, step, save)
    assert state.step < 99
    assert (
        f"overfit on 2 clips: the mean total is below 0.5 after {state.step} steps" in capsys.readouterr().out
    )
    assert checkpoints(tmp_path / "checkpoints")[-1].name == f"step_{state.step:08d}.pt"
    with pytest.raises(SystemExit) as end:
        train(*begin(tmp_path / "vain", "--overfit", "2", "--overfit-loss", "0"), draw, step, save)
    assert end.value.code == 1
    assert "is NOT below 0.0 after 6 steps" in capsys.readouterr().out


def test_accumulated_micro_batches_are_one_batch(tmp_path):
    for name, flags in (("whole", []), ("parts", ["--accumulate", "4"])):
        train(*begin(tmp_path / name, *flags), draw, step, save)
    for one, other in zip(read_log(tmp_path / "whole"), read_log(tmp_path / "parts"), strict=True):
        for key in ("total", "weight"):
            assert one.get(key, 0) == pytest.approx(other.get(key, 0), rel=1e-5)


def test_steps_behind_the_last_checkpoint_are_forgotten(tmp_path):
    """Of the log, too: the resumed run takes them again."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(*begin(whole, "--save-every", "4", "--log-every", "1"), draw, step, save)

    def interrupted(state, *rest):
        if state.step == 3:
            raise KeyboardInterrupt
        return step(state, *rest)

    with pytest.raises(KeyboardInterrupt):
        train(*begin(broken, "--save-every", "2", "--log-every", "1"), draw, interrupted, save)
    assert [row["step"] for row in read_log(broken)] == [1, 2, 2, 3]
    run, state = begin(broken, "--save-every", "4", "--log-every", "1")
    train(run, state, draw, step, save)
    one, other = ([r for r in read_log(out) if r["kind"] == "train"] for out in (whole, broken))
    assert [(row["step"], row["total"]) for row in one] == [(row["step"], row["total"]) for row in other]


def test_a_torn_checkpoint_is_never_taken(tmp_path, monkeypatch):
    run, state = begin(tmp_path, "--steps", "2")
    train(run, state, draw, step, save)

    def torn(content, file):
        file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(mytalk_training.loop.checkpoints.torch, "save", torn)
    with pytest.raises(OSError, match="no space"):
        train(*begin(tmp_path), draw, step, save)
    monkeypatch.undo()
    run, state = begin(tmp_path)
    run.resume(state)
    assert state.step == 2


def test_a_damaged_checkpoint_is_named(tmp_path):
    train(*begin(tmp_path), draw, step, save)
    path = checkpoints(tmp_path / "checkpoints")[-1]
    whole = path.read_bytes()
    for content in (b"", b"no checkpoint", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"step_00000006.pt is damaged, .*: remove it, and the run goes on"
        ):
            train(*begin(tmp_path), draw, step, save)
    path.unlink()
    run, state = begin(tmp_path)
    train(run, state, draw, step, save)
    assert state.step == 6


def test_a_log_that_a_kill_cut_is_gone_on_with(tmp_path):
    train(*begin(tmp_path), draw, step, save)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 7, "ki')
    train(*begin(tmp_path, "--steps", "8"), draw, step, save)
    assert [row["step"] for row in read_log(tmp_path) if row["kind"] == "train"] == [2, 4, 6, 8]


def test_two_runs_never_train_into_one_folder(tmp_path):
    def begun_again(*now):
        with pytest.raises(ValueError, match="another run trains into .*: wait for its end, or name another"):
            train(*begin(tmp_path), draw, step, save)
        return step(*now)

    train(*begin(tmp_path, "--steps", "1"), draw, begun_again, save)


@pytest.mark.parametrize(
    "flag", ["--steps", "--batch", "--accumulate", "--save-every", "--log-every", "--keep"]
)
def test_counts_of_nothing_are_refused(tmp_path, flag, capsys):
    with pytest.raises(SystemExit):
        parse(tmp_path, flag, "0")
    assert f"argument {flag}: a whole number, 1 or more, was required; got '0'" in capsys.readouterr().err


def test_changed_flags_are_said(tmp_path, capsys):
    train(*begin(tmp_path), draw, step, save)
    run, state = begin(tmp_path, "--lr", "0.1", "--steps", "8")
    run.resume(state)
    out = capsys.readouterr().out
    assert "going on at step 6" in out
    assert "flags are not those the run was begun with: --lr: 0.05, now 0.1\n" in out


def test_a_folder_that_another_machine_does_not_see_is_refused(tmp_path, monkeypatch):
    """Its processes would begin anew beside others that go on, and all gradients be mixed."""
    train(*begin(tmp_path), draw, step, save)
    monkeypatch.setattr(mytalk_training.loop.loop, "gather_object", lambda own: [*own, "none"])
    run, state = begin(tmp_path, "--steps", "8")
    with pytest.raises(ValueError, match="but found step_00000006.pt, none: give --out a folder that every"):
        train(run, state, draw, step, save)
    assert state.step == 0


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_other_steps_are_said_where_the_rate_falls_towards_them(tmp_path, capsys, schedule):
    train(*begin(tmp_path, "--schedule", schedule), draw, step, save)
    run, state = begin(tmp_path, "--schedule", schedule, "--steps", "12")
    run.resume(state)
    assert ("--steps: 6, now 12" in capsys.readouterr().out) is (schedule == "cosine")


def test_who_was_learned_from_stays_so_whoever_joins(tmp_path, capsys):
    def clips(people: str) -> list:
        return [SimpleNamespace(identity=person) for person in people]

    run, state = begin(tmp_path, "--steps", "2")
    assert [clip.identity for clip in run.learn_from(clips("acd"), clips("b"))] == ["b"]
    assert not (tmp_path / PEOPLE_NAME).exists()
    train(run, state, draw, step, save)
    assert read_people(tmp_path) == set("acd")
    # Another name before theirs: the order says that somebody else is kept from training now.
    run, state = begin(tmp_path, "--steps", "4")
    assert [clip.identity for clip in run.learn_from(clips("ABad"), clips("xc"))] == ["x"]
    assert "not kept from training: c" in capsys.readouterr().out
    train(run, state, draw, step, save)
    assert read_people(tmp_path) == set("ABacd")
    few = clips("ab")
    assert run.learn_from(few, few) == few
    begun, _ = begin(tmp_path / "another")
    assert len(begun.learn_from(clips("d"), clips("abc"))) == 3


def test_figures_are_of_few_clips_of_as_many_people_as_there_are(tmp_path):
    """One process makes them while the others wait, who give up after some minutes."""
    run, _ = begin(tmp_path)
    held = [SimpleNamespace(identity=str(number // 100)) for number in range(6400)]
    few = run.learn_from([], held)
    assert len(few) == VALIDATED == 64 and {clip.identity for clip in few} == set(map(str, range(64)))
    assert run.learn_from([], held[:64]) == held[:64]


def test_another_programs_checkpoint_is_refused(tmp_path):
    train(*begin(tmp_path), draw, step, save)
    run, state = begin(tmp_path)
    path = checkpoints(tmp_path / "checkpoints")[-1]
    state.networks["other"] = state.networks.pop("net")
    with pytest.raises(ValueError, match="holds net; this program trains other: give each program its own"):
        load_checkpoint(state, path, run.accelerator)
    state = TrainingState(networks={"net": run.network(nn.Linear(3, 4))})
    with pytest.raises(ValueError, match="holds a net of other sizes"):
        load_checkpoint(state, path, run.accelerator)


def test_a_loss_that_is_not_a_number_stops_the_run_with_a_dump(tmp_path):
    def bad_draw(samples: list[int]) -> Numbers:
        batch = draw(samples)
        batch.values[0, 0] = torch.nan if samples[0] == 12 else 0.0
        return batch

    run, state = begin(tmp_path)
    with pytest.raises(
        FloatingPointError, match="step 3: the loss is nan; batch and weights are in"
    ) as caught:
        train(run, state, bad_draw, step, save)
    path = tmp_path / "not_finite_step_00000003_process_0.pt"
    assert str(path) in str(caught.value)
    dump = torch.load(path, weights_only=True)
    assert dump["step"] == 3
    assert dump["samples"] == [12, 13, 14, 15]
    assert dump["batch"]["values"].isnan().sum() == 1
    weights = dump["networks"]["net"]
    assert all(value.isfinite().all() for value in weights.values())
    assert torch.equal(weights["weight"], state.networks["net"].module.weight)


def test_an_endless_gradient_stops_the_run_before_it_moves_a_weight(tmp_path):
    def steep(state, batch, draws, accelerator):
        total = (0 * state.networks["net"].module(batch.values)).sum().sqrt()
        descend(state.networks["net"], total, accelerator)
        return {"total": total}

    run, state = begin(tmp_path)
    before = state.networks["net"].module.weight.clone()
    with pytest.raises(FloatingPointError, match="step 0: the gradient's length is nan"):
        train(run, state, draw, steep, save)
    assert torch.equal(state.networks["net"].module.weight, before)


def test_sharding_needs_processes_and_no_loss_scale(tmp_path):
    with pytest.raises(ValueError, match="--fsdp needs more than one process"):
        begin(tmp_path, "--fsdp")
    with pytest.raises(ValueError, match="--fsdp needs --mixed-precision bf16 or no"):
        begin(tmp_path, "--fsdp", "--mixed-precision", "fp16")
