"""Training of the identity extractor: a step learns, samples follow their numbers, people are told apart."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from mytalk_training.loop.checkpoints import Network
from mytalk_training.loop.ema import MovingAverage
from mytalk_training.loop.order import NOISE, SampleRandom
from mytalk_training.motion import train_identity
from mytalk_training.motion.train_identity import (
    LabelledFaces,
    Recogniser,
    State,
    build,
    parse,
    similarities,
    step,
    told_apart,
)

from mytalk_core.motion.identity import ArcFaceHead, IdentityConfig, IdentityExtractor

CONFIG = IdentityConfig(channels=10, landmark_layout="mesh478", width=16, hidden_layers=1, embedding=8)


def make_faces() -> LabelledFaces:
    generator = torch.Generator().manual_seed(0)
    people = torch.arange(90) % 3
    centres = 128 + 30 * torch.randn(3, 5, 2, generator=generator)
    return LabelledFaces(centres[people] + 3 * torch.randn(90, 5, 2, generator=generator), people)


def test_steps_learn_to_tell_people_apart():
    torch.manual_seed(0)
    module = Recogniser(IdentityExtractor(CONFIG), ArcFaceHead(8, 3, margin=0.3, scale=30.0))
    optimizer = torch.optim.Adam(module.parameters(), 1e-2)
    network = Network(module, optimizer, MovingAverage(module, 0.9), 1e-2, 1.0)
    state = State(networks={"recogniser": network}, config=CONFIG, jitter=0.4, held=[])
    faces, accelerator, losses = make_faces(), Accelerator(cpu=True), []
    for number in range(60):
        samples = list(range(16 * number, 16 * number + 16))
        terms = step(state, faces.draw(samples, 0), SampleRandom(0, NOISE, samples), accelerator)
        losses.append(terms["total"].item())
    assert losses[-1] < 0.2 * losses[0]
    cosine, same = similarities(module.extractor, faces)
    assert cosine[same].mean() > cosine[~same].mean() + 0.5


def test_samples_are_what_their_numbers_say():
    faces = make_faces()
    whole, half = faces.draw([4, 5, 6, 7], 0), faces.draw([6, 7], 0)
    assert torch.equal(whole.landmarks[2:], half.landmarks)
    assert torch.equal(whole.people[2:], half.people)
    assert not torch.equal(faces.draw([4, 5, 6, 7], 1).landmarks, whole.landmarks)
    assert len(torch.unique(faces.draw(list(range(2000)), 0).landmarks[:, 0, 0])) == 90


def test_one_person_alone_teaches_nothing(monkeypatch):
    clips = [SimpleNamespace(identity="ann")] * 3
    monkeypatch.setattr(train_identity, "read_clips", lambda dataset, layout: clips)
    monkeypatch.setattr(train_identity, "frames_of", None)
    with pytest.raises(ValueError, match="from two or more; DATASET has clips of one alone"):
        build(None, parse(["DATASET", "-o", "RUN"]))


def test_a_frame_is_not_compared_with_itself():
    cosine = torch.tensor([[1.0, 0.2, 0.1], [0.2, 1.0, 0.3], [0.1, 0.3, 1.0]])
    people = torch.tensor([0, 0, 1])
    figures = told_apart(cosine, people[:, None] == people)
    assert figures == pytest.approx({"own": 0.2, "others": 0.2})
