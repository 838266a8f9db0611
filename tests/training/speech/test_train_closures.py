"""The program that trains the network for p, b and m."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from mytalk_training.loop.people import hold_out
from mytalk_training.speech import train_closures
from mytalk_training.speech.train_closures import HELD_EVERY, Spoken, fit, judge

from mytalk_core.speech.closures import LAYERS, ClosureHead


def test_what_can_be_told_is_learnt(monkeypatch):
    monkeypatch.setattr(train_closures, "FEATURES", 40)
    generator = torch.Generator().manual_seed(0)

    def clip() -> Spoken:
        meets = (torch.rand(200, generator=generator) < 0.1).float()
        features = torch.randn(200, len(LAYERS), 8, generator=generator)
        features += 3 * meets[:, None, None]
        return Spoken(features.half(), meets)

    torch.manual_seed(0)
    head = ClosureHead(8)
    held = [clip()]
    before = judge(head, held)
    fit(head, [clip() for _ in range(4)], 150, seed=0)
    after = judge(head.eval(), held)
    assert after != before
    precision, recall = (int(part.split("%")[0].split()[-1]) for part in after.split(";")[1].split(","))
    assert precision > 85 and recall > 85


def test_few_people_give_a_network_and_no_figures():
    assert hold_out([SimpleNamespace(identity=name) for name in "abcd"], HELD_EVERY)[1] == []
    assert len(hold_out([SimpleNamespace(identity=name) for name in "abcde"], HELD_EVERY)[1]) == 1
    assert judge(ClosureHead(8), []) == "no figures: of fewer than 5 people nobody is kept from training"
