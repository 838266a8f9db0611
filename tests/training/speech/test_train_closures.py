"""The program that trains the network for p, b and m."""

from __future__ import annotations

import torch
from mytalk_training.speech import train_closures
from mytalk_training.speech.train_closures import Spoken, fit, judge

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
