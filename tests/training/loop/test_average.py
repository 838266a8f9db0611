"""The mean of models' weights."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from mytalk_training.loop import average
from tiny_models import TINY_MOTION

from mytalk_core.appearance.networks.refiner import MouthRefiner, RefinerConfig
from mytalk_core.motion.denoiser import MotionConfig, MotionDenoiser
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig


def tiny(folder: Path, seed: int, moves: float = 0.0, **choices) -> MotionDenoiser:
    """A whole model's motion and space in a folder."""
    torch.manual_seed(seed)
    denoiser = MotionDenoiser(MotionConfig(lower=4, upper=3, speech_width=5, **{**TINY_MOTION, **choices}))
    denoiser.save_pretrained(folder / "motion")
    space = LandmarkSpace(SpaceConfig(lower=4, upper=3))
    space.lower_basis.fill_(moves)
    space.save_pretrained(folder / "space")
    return denoiser


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["average", *map(str, arguments)])
    average.main()


def test_every_weight_is_the_mean(tmp_path, monkeypatch):
    models = [tiny(tmp_path / str(seed), seed).state_dict() for seed in range(3)]
    run(monkeypatch, *(tmp_path / str(seed) for seed in range(3)), "-o", tmp_path / "mean")
    made = MotionDenoiser.from_pretrained(tmp_path / "mean", "motion").state_dict()
    for name, value in made.items():
        wanted = torch.stack([model[name] for model in models]).mean(0)
        torch.testing.assert_close(value, wanted, atol=1e-3, rtol=1e-3, msg=name)
    LandmarkSpace.from_pretrained(tmp_path / "mean", "space")


def test_models_that_have_no_mean_are_refused(tmp_path, monkeypatch):
    tiny(tmp_path / "one", 0)
    tiny(tmp_path / "moved", 1, moves=1.0)
    tiny(tmp_path / "other", 2, kernel=5)
    with pytest.raises(ValueError, match="one landmark space for all was required; .*moved differ"):
        run(monkeypatch, tmp_path / "one", tmp_path / "moved", "-o", tmp_path / "mean")
    with pytest.raises(ValueError, match="kernel 5, not 3"):
        run(monkeypatch, tmp_path / "one", tmp_path / "other", "-o", tmp_path / "mean")
    # Of the same shapes, whose numbers mean something else.
    tiny(tmp_path / "regression", 3, process="regression", dropout=0.3)
    with pytest.raises(ValueError, match="one has process regression, not diffusion$"):
        run(monkeypatch, tmp_path / "one", tmp_path / "regression", "-o", tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_any_part_is_averaged_by_shares(tmp_path, monkeypatch):
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        # How many references a network is given is no size of it.
        models.append(MouthRefiner(RefinerConfig(width=8, widths=(8, 8), references=2 + seed)))
        models[-1].save_pretrained(tmp_path / str(seed) / "refiner")
    folders = tmp_path / "0", tmp_path / "1"
    run(monkeypatch, *folders, "-o", tmp_path / "mean", "--part", "refiner", "--shares", 1, 3)
    made = MouthRefiner.from_pretrained(tmp_path / "mean", "refiner")
    one, other = (model.state_dict() for model in models)
    for name, value in made.state_dict().items():
        wanted = 0.25 * one[name] + 0.75 * other[name]
        torch.testing.assert_close(value, wanted, atol=1e-3, rtol=1e-3, msg=name)
    assert made.config.references == 2 and not (tmp_path / "mean" / "space").exists()
    with pytest.raises(ValueError, match="--shares needs a number above 0 for each of 2 models"):
        run(monkeypatch, *folders, "-o", tmp_path / "none", "--part", "refiner", "--shares", 1)
