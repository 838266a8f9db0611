"""Training of the lip-sync expert: a step learns, validation counts windows of people it never saw."""

from __future__ import annotations

import numpy as np
import torch
from accelerate import Accelerator
from mytalk_training.expert.train import WINDOW_FRAMES, ExpertObjective, State, step, validate
from mytalk_training.loop.checkpoints import Network
from mytalk_training.loop.ema import MovingAverage
from mytalk_training.loop.order import NOISE, SampleRandom
from mytalk_training.motion.data import MotionBatch, RawClip

from mytalk_core.expert.sync_expert import ExpertConfig, SyncExpert
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig

CONFIG = ExpertConfig(motion=4, speech_width=3, speech_layers=(0,), width=16, embedding=8, dropout=0.0)


def test_steps_learn():
    torch.manual_seed(0)
    module = ExpertObjective(SyncExpert(CONFIG))
    network = Network(
        module, torch.optim.Adam(module.parameters(), 1e-2), MovingAverage(module, 0.9), 1e-2, 1.0
    )
    state = State(networks={"expert": network}, config=CONFIG, space=None, held=[])
    accelerator, losses = Accelerator(cpu=True), []
    for _ in range(60):
        features = torch.randn(4, 80, 1, 3)
        lips = torch.cat((features[:, ::2, 0], features[:, 1::2, 0, :1]), dim=-1)
        empty = torch.zeros(0)
        batch = MotionBatch(lips, empty, features, empty, torch.ones(4, 40, dtype=torch.bool), lips)
        losses.append(step(state, batch, SampleRandom(0, NOISE, [0, 1, 2, 3]), accelerator)["total"].item())
    assert np.mean(losses[-5:]) < 0.5 * losses[0]


def test_validation_counts_windows():
    torch.manual_seed(0)
    space, expert = LandmarkSpace(SpaceConfig(lower=4, upper=3)), SyncExpert(CONFIG)
    space.lower_inverse.normal_()
    clips = []
    for name, frames in (("one", 2 * WINDOW_FRAMES + 5), ("two", WINDOW_FRAMES)):
        moves = np.random.default_rng(0).normal(size=(frames, 478, 3)).astype(np.float32)
        clip = RawClip(name, name, "mesh478", moves, np.ones(frames, bool), moves[0], torch.zeros(1))
        clips.append((clip, torch.randn(2 * frames, 1, 3)))
    figures = validate(expert, space, clips)
    assert figures["windows"] == 3
    assert 0 <= figures["in_sync"] <= 1
    assert np.isfinite([figures["confidence"], figures["foreign"]]).all()
