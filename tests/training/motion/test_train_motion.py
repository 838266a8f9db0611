"""Training of the motion model: steps learn, all processes, one forward pass for many GPUs, even splits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from mytalk_training.loop.checkpoints import Network
from mytalk_training.loop.ema import MovingAverage
from mytalk_training.loop.order import NOISE, SampleRandom
from mytalk_training.motion.data import MotionBatch
from mytalk_training.motion.losses import LossOptions, Objective, losses
from mytalk_training.motion.models import SpokenDenoiser, open_expert, open_space
from mytalk_training.motion.train import State, parse, step
from tiny_models import TINY_MOTION

from mytalk_core.expert.sync_expert import ExpertConfig, SyncExpert
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion.denoiser import MotionConfig, MotionDenoiser
from mytalk_core.motion.diffusion import PROCESSES
from mytalk_core.motion.identity import IdentityConfig, IdentityExtractor
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig

SAMPLES = [0, 1, 2]


def make_state(process: str = "diffusion", expert: SyncExpert | None = None, **options: Any) -> State:
    torch.manual_seed(0)
    space = LandmarkSpace(SpaceConfig(lower=6, upper=4))
    space.lower_basis.normal_(std=0.01)
    config = MotionConfig(
        lower=6,
        upper=4,
        landmark_layout="mesh478",
        speech_width=5,
        **TINY_MOTION,
        identity_width=7,
        condition_mlp=0,
        predict_upper=False,
        dropout=0.0,
        attention_dropout=0.0,
        process=process,
    )
    module = SpokenDenoiser(MotionDenoiser(config))
    identity = IdentityExtractor(
        IdentityConfig(channels=956, landmark_layout="mesh478", width=8, hidden_layers=1, embedding=7)
    ).requires_grad_(False)
    options = LossOptions(**{"drop_speech": 0.0, "drop_identity": 0.0} | options)
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    return State(
        networks={"denoiser": Network(module, optimizer, MovingAverage(module, 0.9), 1e-2, 1.0)},
        config=config,
        objective=Objective(space, identity, options, PROCESSES[process](), expert=expert),
        held=[],
    )


def make_batch() -> MotionBatch:
    generator = torch.Generator().manual_seed(2)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    template = torch.from_numpy(LandmarkLayout.load("mesh478").template[:, :2])
    valid = torch.ones(3, 10, dtype=torch.bool)
    valid[1, 6:] = False
    x0 = randn(3, 10, 6)
    return MotionBatch(x0, randn(3, 10, 4), randn(3, 20, 1, 5), template.expand(3, -1, -1).clone(), valid, x0)


def make_losses(state: State, batch: MotionBatch, samples: list[int] = SAMPLES) -> dict[str, torch.Tensor]:
    module = state.networks["denoiser"].module
    return losses(module, batch, state.objective, SampleRandom(1, NOISE, samples))


@pytest.mark.parametrize("process", PROCESSES)
def test_steps_learn(process):
    state, batch, accelerator = make_state(process), make_batch(), Accelerator(cpu=True)
    totals = [
        step(state, batch, SampleRandom(1, NOISE, [3 * i, 3 * i + 1, 3 * i + 2]), accelerator)["x0"].item()
        for i in range(60)
    ]
    assert sum(totals[-10:]) < 0.8 * sum(totals[:10])


@pytest.mark.parametrize(("penalty", "expected"), [("l2", 9.0), ("l1", 3.0)])
def test_penalty_of_a_difference(penalty, expected):
    objective = make_state(penalty=penalty).objective
    terms = losses(lambda batch, *_: batch.x0 - 3, make_batch(), objective, SampleRandom(1, NOISE, SAMPLES))
    assert terms["x0"].item() == pytest.approx(expected, rel=1e-5)
    assert terms["velocity"].item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("wrong", [{"own_guess": 1.5}, {"drop_speech": -0.1}, {"time_power": 0.0}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(ValueError, match=f"{[*wrong][0]} .*; got {[*wrong.values()][0]}"):
        LossOptions(**wrong)


def test_a_regression_has_another_penalty_than_a_diffusion():
    given = ["DATASET", "-o", "RUN", "--identity", "IDENTITY"]
    assert parse(given).penalty == "l2"
    assert parse([*given, "--process", "regression"]).penalty == "l1"
    assert parse([*given, "--penalty", "l1"]).penalty == "l1"


@pytest.mark.parametrize("process", ["diffusion", "flow"])
def test_own_guesses_hold_nothing_of_the_truth(process):
    def seen(own_guess: float, truth: float) -> torch.Tensor:
        """x_t of the pass that is trained, by a model that always guesses 5."""
        passes, batch = [], make_batch()
        batch.x0[:] = truth

        def model(batch, x_t, t, *_):
            passes.append(x_t)
            return torch.full_like(x_t, 5.0).requires_grad_()

        objective = make_state(process, own_guess=own_guess).objective
        terms = losses(model, batch, objective, SampleRandom(1, NOISE, SAMPLES))
        assert terms["x0"].item() == pytest.approx((5 - truth) ** 2, rel=1e-4)  # the truth is still the aim
        assert len(passes) == (2 if own_guess else 1)
        return passes[-1]

    assert torch.equal(seen(1.0, 0.0), seen(1.0, 2.0))
    assert not torch.allclose(seen(0.0, 0.0), seen(0.0, 2.0))
    alike = [(seen(0.5, 0.0) == other).all(-1).all(-1).tolist() for other in (seen(0.5, 2.0), seen(1.0, 0.0))]
    assert alike[0] == alike[1] and 0 < sum(alike[0]) < len(SAMPLES)


def test_lip_sync_expert_joins_the_loss():
    batch = make_batch()
    plain = make_losses(make_state(), batch)
    config = ExpertConfig(motion=6, speech_width=5, speech_layers=(12,), width=8, embedding=4)
    expert = SyncExpert(config).eval().requires_grad_(False)
    state = make_state(expert=expert)
    terms = make_losses(state, batch)
    assert terms["expert"] > 0
    torch.testing.assert_close(
        terms["total"], plain["total"] + state.objective.options.expert * terms["expert"]
    )


def test_padding_teaches_nothing():
    state, batch = make_state(), make_batch()
    reference = make_losses(state, batch)
    for part in (batch.x0, batch.upper, batch.features[:, ::2], batch.features[:, 1::2]):
        part[~batch.valid] = 50.0
    for key, value in make_losses(state, batch).items():
        torch.testing.assert_close(value, reference[key], msg=key)


def test_a_batch_may_be_split_in_any_way():
    """Time steps, noise and dropped conditions go with the sample, and windows count alike."""
    batch = make_batch()
    expert = SyncExpert(
        ExpertConfig(motion=6, speech_width=5, speech_layers=(12,), width=8, embedding=4)
    ).eval()
    state = make_state(expert=expert, drop_speech=0.5, drop_identity=0.5)
    whole = make_losses(state, batch, [7, 8, 9])
    parts = [
        make_losses(state, MotionBatch(*(part[i : i + 1] for part in vars(batch).values())), [7 + i])
        for i in range(3)
    ]
    for key, value in whole.items():
        torch.testing.assert_close(torch.stack([part[key] for part in parts]).mean(), value, msg=key)


def test_conditions_are_dropped_for_whole_samples():
    state, batch = make_state(drop_speech=1.0), make_batch()
    reference = make_losses(state, batch)
    batch.features.normal_()
    torch.testing.assert_close(make_losses(state, batch), reference)
    batch.upper.normal_()
    assert make_losses(state, batch)["x0"] != reference["x0"]


def test_gradients_come_through_one_wrapped_forward_pass():
    """Parameters used outside of it would be left unsynchronised between processes."""
    state, batch = make_state(), make_batch()
    make_losses(state, batch)["total"].backward()
    expected = {name: p.grad.clone() for name, p in state.networks["denoiser"].module.named_parameters()}
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        network = make_state().networks["denoiser"]
        calls = []
        module = torch.nn.parallel.DistributedDataParallel(network.module)
        module.register_comm_hook(None, lambda _, bucket: calls.append(bucket) or _done(bucket.buffer()))
        losses(module, batch, state.objective, SampleRandom(1, NOISE, SAMPLES))["total"].backward()
    finally:
        torch.distributed.destroy_process_group()
    assert calls
    for name, parameter in network.module.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], msg=name)


def _done(value: torch.Tensor) -> torch.futures.Future:
    future = torch.futures.Future()
    future.set_result(value)
    return future


def test_a_run_goes_on_in_its_own_landmark_space(tmp_path):
    """Whatever clips have joined the dataset, to which another would be fitted."""
    own, other = LandmarkSpace(SpaceConfig(lower=4, upper=3)), LandmarkSpace(SpaceConfig(lower=4, upper=3))
    own.lower_basis.normal_()
    own.save_pretrained(tmp_path / "model" / "space")
    assert open_space(tmp_path, "model/space", lambda: other) is other
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step_00000001.pt").touch()
    found = open_space(tmp_path, "model/space", lambda: other)
    assert torch.equal(found.lower_basis, own.lower_basis)


def test_an_expert_of_another_space_is_refused(tmp_path):
    space = make_state().objective.space
    encoder = SimpleNamespace(dim=5, layers=(12,))
    config = ExpertConfig(motion=6, speech_width=5, speech_layers=(12,), width=8, embedding=4)
    SyncExpert(config).save_pretrained(tmp_path)
    space.save_pretrained(tmp_path / "space")
    expert = open_expert(tmp_path, space, encoder, "cpu")
    assert not any(parameter.requires_grad for parameter in expert.parameters())
    space.lower_basis.mul_(2)
    with pytest.raises(ValueError, match="knows another landmark space"):
        open_expert(tmp_path, space, encoder, "cpu")
    encoder.dim = 6
    with pytest.raises(ValueError, match=r"must read .*\(6, 6, \(12,\)\); it reads \(6, 5, \(12,\)\)"):
        open_expert(tmp_path, space, encoder, "cpu")
    assert open_expert(None, space, encoder, "cpu") is None
