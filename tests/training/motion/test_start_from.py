"""Training on from another model's weights: taken whole, or refused with what differs."""

from __future__ import annotations

import pytest
import torch
from mytalk_training.loop.checkpoints import start_from
from mytalk_training.motion.train import MAY_DIFFER
from tiny_models import TINY_MOTION

from mytalk_core.motion.denoiser import MotionConfig, MotionDenoiser


def tiny(**choices) -> MotionDenoiser:
    return MotionDenoiser(MotionConfig(lower=4, upper=3, speech_width=5, **{**TINY_MOTION, **choices}))


def test_weights_and_statistics_are_taken(tmp_path):
    torch.manual_seed(0)
    trained, fresh = tiny(), tiny(process="regression", dropout=0.3)
    trained.set_feature_statistics(torch.randn(1, 5), torch.rand(1, 5) + 1)
    trained.save_pretrained(tmp_path / "motion")
    start_from(fresh, tmp_path, "motion", MAY_DIFFER)
    assert fresh.config.process == "regression"
    for key, value in trained.state_dict().items():
        assert torch.equal(fresh.state_dict()[key], value), key


def test_another_architecture_is_refused(tmp_path):
    tiny().save_pretrained(tmp_path / "motion")
    with pytest.raises(ValueError, match="its motion has kernel 3, not 5; conditioning id-cross-attention"):
        start_from(tiny(kernel=5, conditioning="add-key-landmark"), tmp_path, "motion", MAY_DIFFER)
