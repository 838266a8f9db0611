"""Training of the motion model: steps learn, both processes, one forward pass for many GPUs, resuming."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from tiny_models import TINY_MOTION

from mytalk_core.evaluation.syncnet import SyncConfig, SyncExpert
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion.denoiser import MotionConfig, MotionDenoiser
from mytalk_core.motion.diffusion import PROCESSES
from mytalk_core.motion.identity import IdentityConfig, IdentityExtractor
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig
from training.ema import MovingAverage
from training.motion_data import MotionBatch
from training.train_motion import (
    LossWeights,
    SpokenDenoiser,
    State,
    load_checkpoint,
    losses,
    open_expert,
    save,
    step,
)


def make_state(process: str = "diffusion") -> State:
    torch.manual_seed(0)
    space = LandmarkSpace(SpaceConfig(lower=6, upper=4))
    space.lower_basis.normal_(std=0.01)
    denoiser = MotionDenoiser(
        MotionConfig(
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
    )
    identity = IdentityExtractor(
        IdentityConfig(channels=956, landmark_layout="mesh478", width=8, hidden_layers=1, embedding=7)
    ).requires_grad_(False)
    return State(
        SpokenDenoiser(denoiser),
        denoiser,
        MovingAverage(denoiser, 0.9),
        torch.optim.Adam(denoiser.parameters(), 1e-2),
        torch.Generator().manual_seed(1),
        space,
        identity,
        LossWeights(drop_speech=0.0, drop_identity=0.0),
        PROCESSES[process](),
    )


def make_batch() -> MotionBatch:
    generator = torch.Generator().manual_seed(2)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    template = torch.from_numpy(LandmarkLayout.load("mesh478").template[:, :2])
    valid = torch.ones(3, 10, dtype=torch.bool)
    valid[1, 6:] = False
    return MotionBatch(
        randn(3, 10, 6), randn(3, 10, 4), randn(3, 20, 1, 5), template.expand(3, -1, -1).clone(), valid
    )


@pytest.mark.parametrize("process", PROCESSES)
def test_steps_learn(process):
    state, batch, accelerator = make_state(process), make_batch(), Accelerator(cpu=True)
    totals = [step(state, batch, accelerator, lr=1e-2)["x0"] for _ in range(60)]
    assert sum(totals[-10:]) < 0.8 * sum(totals[:10])
    assert state.step == 60


def test_lip_sync_expert_joins_the_loss():
    state, batch = make_state(), make_batch()
    plain = losses(state, batch)
    config = SyncConfig(motion=6, speech_width=5, speech_layers=(12,), width=8, embedding=4)
    state.sync = SyncExpert(config).eval().requires_grad_(False)
    state.generator.manual_seed(1)
    terms = losses(state, batch)
    assert terms["sync"] > 0
    torch.testing.assert_close(terms["total"], plain["total"] + state.weights.sync * terms["sync"])


def test_padding_teaches_nothing():
    state, batch = make_state(), make_batch()
    reference = losses(state, batch)
    for part in (batch.x0, batch.upper, batch.features[:, ::2], batch.features[:, 1::2]):
        part[~batch.valid] = 50.0
    state.generator.manual_seed(1)
    for key, value in losses(state, batch).items():
        torch.testing.assert_close(value, reference[key], msg=key)


def test_gradients_come_through_one_wrapped_forward_pass():
    """Parameters used outside of it would be left unsynchronised between processes."""
    state, batch = make_state(), make_batch()
    losses(state, batch)["total"].backward()
    expected = {name: p.grad.clone() for name, p in state.denoiser.named_parameters()}
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        state = make_state()
        calls = []
        state.model = torch.nn.parallel.DistributedDataParallel(state.model)
        state.model.register_comm_hook(None, lambda _, bucket: calls.append(bucket) or _done(bucket.buffer()))
        losses(state, batch)["total"].backward()
    finally:
        torch.distributed.destroy_process_group()
    assert calls
    for name, parameter in state.denoiser.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], msg=name)


def _done(value: torch.Tensor) -> torch.futures.Future:
    future = torch.futures.Future()
    future.set_result(value)
    return future


def test_resumed_run_equals_an_uninterrupted_one(tmp_path):
    args, accelerator = argparse.Namespace(out=tmp_path), Accelerator(cpu=True)
    state, batch = make_state(), make_batch()
    for number in range(4):
        if number == 2:
            save(state, args)
        step(state, batch, accelerator, lr=1e-2)
    resumed = make_state()
    load_checkpoint(resumed, Path(tmp_path) / "checkpoint.pt")
    for _ in range(2):
        step(resumed, batch, accelerator, lr=1e-2)
    assert resumed.step == state.step == 4
    for (name, one), other in zip(
        state.denoiser.named_parameters(), resumed.denoiser.parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    for name, value in state.average.tensors.items():
        assert torch.equal(value, resumed.average.tensors[name]), name


def test_an_expert_of_another_space_is_refused(tmp_path):
    space, accelerator = make_state().space, Accelerator(cpu=True)
    encoder = SimpleNamespace(dim=5, layers=(12,))
    config = SyncConfig(motion=6, speech_width=5, speech_layers=(12,), width=8, embedding=4)
    SyncExpert(config).save_pretrained(tmp_path)
    space.save_pretrained(tmp_path / "space")
    expert = open_expert(tmp_path, space, encoder, accelerator)
    assert not any(parameter.requires_grad for parameter in expert.parameters())
    space.lower_basis.mul_(2)
    with pytest.raises(ValueError, match="knows another landmark space"):
        open_expert(tmp_path, space, encoder, accelerator)
    encoder.dim = 6
    with pytest.raises(ValueError, match=r"must read .*\(6, 6, \(12,\)\); it reads \(6, 5, \(12,\)\)"):
        open_expert(tmp_path, space, encoder, accelerator)
    assert open_expert(None, space, encoder, accelerator) is None
