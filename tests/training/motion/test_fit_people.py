"""The program that fits how faces differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mytalk_training.motion.data import RawClip
from mytalk_training.motion.fit_people import fit

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion.person import Person

TEMPLATE = LandmarkLayout.load("mesh478").template


def clip(number: int, chin: float) -> RawClip:
    rest = TEMPLATE.copy()
    rest[152, 1] += chin
    movement = np.zeros((4, *rest.shape), np.float32)
    shown = np.array([True, True, False, True])
    # What is not seen does not count.
    movement[2] = 100
    return RawClip(str(number), f"p{number}", "mesh478", movement, shown, rest, torch.zeros(1))


def test_what_differs_is_found():
    chins = np.array([-2.0, -1.0, 1.0, 2.0])
    people = fit([clip(i, chin) for i, chin in enumerate(chins)], components=1)
    width = Person(people.mean, "mesh478").mouth_width
    assert np.abs(people.differences[0, 152, 1]) * width == pytest.approx(chins.std(), rel=0.02)
    assert np.abs(np.delete(people.differences[0], 152, 0)).max() < 1e-3


def test_too_few_people_are_refused():
    with pytest.raises(ValueError, match="more than 20 people were required, but 2 arrived"):
        fit([clip(0, 0.0), clip(1, 1.0)])
