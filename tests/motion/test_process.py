"""The noise process travels with the model; files of before it was named still load."""

from __future__ import annotations

import json

import pytest
import torch

from mytalk_core.errors import WeightsError
from mytalk_core.motion.denoiser import MotionConfig, MotionDenoiser
from mytalk_core.motion.diffusion import PROCESSES, SAMPLERS, RectifiedFlow, Regression, sample_ddim
from mytalk_core.motion.sampler import sample_motion

SMALL = {
    "lower": 4,
    "upper": 3,
    "speech_width": 5,
    "audio_width": 8,
    "audio_layers": 1,
    "audio_heads": 2,
    "audio_ffn_width": 8,
    "audio_kernel": 3,
    "width": 8,
    "layers": 1,
    "heads": 2,
    "ffn_width": 8,
    "kernel": 3,
    "time_width": 8,
    "identity_width": 6,
    "condition_mlp": 0,
}


def as_format_1(folder):
    path = folder / "config.json"
    description = json.loads(path.read_text())
    description["format_version"] = 1
    del description["config"]["process"]
    path.write_text(json.dumps(description))
    return folder


def test_files_of_format_1_are_diffusion(tmp_path):
    model = MotionDenoiser(MotionConfig(**SMALL)).eval()
    loaded = MotionDenoiser.from_pretrained(as_format_1(model.save_pretrained(tmp_path)))
    assert loaded.config.process == "diffusion"
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), key


def test_migration_keeps_the_rest_strict(tmp_path):
    folder = as_format_1(MotionDenoiser(MotionConfig(**SMALL)).save_pretrained(tmp_path))
    description = json.loads((folder / "config.json").read_text())
    del description["config"]["prefix"]
    (folder / "config.json").write_text(json.dumps(description))
    with pytest.raises(WeightsError, match="config fields do not fit this version: missing prefix"):
        MotionDenoiser.from_pretrained(folder)


def test_process_is_saved(tmp_path):
    model = MotionDenoiser(MotionConfig(**SMALL, process="flow"))
    loaded = MotionDenoiser.from_pretrained(model.save_pretrained(tmp_path))
    assert PROCESSES[loaded.config.process] is RectifiedFlow
    with pytest.raises(ValueError, match="process must be one of diffusion, flow, regression; got 'noise'"):
        MotionConfig(**SMALL, process="noise")


@pytest.mark.parametrize("process", PROCESSES)
def test_both_processes_end_at_what_the_model_predicts(process):
    target = torch.linspace(-1, 1, 12).reshape(1, 4, 3)
    walk = PROCESSES[process]()
    noise = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    seen = []
    x = sample_ddim(lambda x, t: seen.append((x, t)) or target, noise, walk, walk.timesteps(6))
    torch.testing.assert_close(x, target)
    assert torch.equal(seen[0][0], noise)
    # In between x lies on the process's own path from this noise to the target.
    for x, t in seen[1:]:
        alpha, sigma = (part.item() for part in walk.alpha_sigma(torch.tensor([t], dtype=torch.float64)))
        start_alpha, start_sigma = (
            p.item() for p in walk.alpha_sigma(torch.tensor([seen[0][1]], dtype=torch.float64))
        )
        drawn = (noise - start_alpha * target) / start_sigma
        torch.testing.assert_close(x, alpha * target + sigma * drawn)


def test_regression_is_one_pass_without_chance():
    walk, truth = Regression(), torch.randn(2, 4, 3)
    generator = torch.Generator().manual_seed(0)
    t, noise = walk.sample_t(2, generator), torch.randn(truth.shape, generator=generator)
    assert t.tolist() == walk.timesteps(10) * 2 == [999, 999]
    for x in (walk.q_sample(truth, t, noise), walk.start(noise)):
        assert torch.equal(x, torch.zeros_like(truth))
    for sampler in SAMPLERS.values():
        seen = []
        x = sampler(lambda x, t: seen.append(t) or truth, walk.start(noise), walk, walk.timesteps(10))  # noqa: B023
        assert torch.equal(x, truth)
        assert seen == [999.0]


def test_regression_says_the_same_for_every_seed():
    torch.manual_seed(0)
    model = MotionDenoiser(MotionConfig(**SMALL, process="regression")).eval()
    conditions = [torch.randn(9, 8), torch.randn(9, 3), torch.randn(1, 6)]
    one, other = (
        sample_motion(model, Regression(), *conditions, seed=seed, temperature=heat, window=6, overlap=2)
        for seed, heat in ((0, 1.0), (1, 0.3))
    )
    assert torch.equal(one, other)
