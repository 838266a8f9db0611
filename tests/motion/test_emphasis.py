"""Seeds at temperature 1: the same words, said with other emphasis."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from repository import EXAMPLES
from test_rest import track

from mytalk_core.media.audio import Speech
from mytalk_core.motion.emphasis import emphasis
from mytalk_core.motion.generate import MotionModel, MotionOptions, generate_motion
from mytalk_core.motion.person import opening_ratio


def test_no_temperature_no_emphasis():
    assert (emphasis(50, 0.0, 3) == 1).all()
    assert torch.equal(emphasis(50, 1.0, 3), emphasis(50, 1.0, 3))
    assert not torch.equal(emphasis(50, 1.0, 3), emphasis(50, 1.0, 4))
    scale = emphasis(20_000, 1.0, -1)
    assert scale.mean() == pytest.approx(1, abs=0.01)
    # Smooth: it takes a syllable to change.
    assert scale.diff().std() < 0.2 * scale.std()


def test_seeds_differ_at_temperature_1_and_hardly_at_the_default():
    model = MotionModel.from_pretrained("mini")
    mono = Speech.open(EXAMPLES / "speech_en.wav").mono_16k
    face = track([0.0, 0.15] * 60)
    canonical = face.canonical[np.arange(120)]

    def opening(**options) -> np.ndarray:
        motion = generate_motion(model, mono, face, 120, MotionOptions(steps=3, **options))
        return opening_ratio(motion.onto(canonical, face.times_s))

    def between(temperature: float) -> float:
        curves = [opening(seed=seed, temperature=temperature) for seed in (1, 2)]
        return float(np.corrcoef(*curves)[0, 1])

    assert 0.85 < between(1.0) < 0.97
    assert between(MotionOptions.temperature) > 0.998
