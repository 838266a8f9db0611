"""Every conditioning, prefix and process: two training steps, sampling, and the same from a file."""

from __future__ import annotations

import itertools

import pytest
import torch
from tiny_models import TINY_MOTION

from mytalk_core.motion.denoiser import CONDITIONING, PREFIX, MotionConfig, MotionDenoiser
from mytalk_core.motion.diffusion import PROCESSES, SAMPLERS
from mytalk_core.motion.sampler import sample_motion


def tiny(**choices) -> MotionDenoiser:
    torch.manual_seed(0)
    config = MotionConfig(
        lower=4,
        upper=3,
        speech_width=5,
        **TINY_MOTION,
        identity_width=6,
        condition_mlp=4,
        dropout=0.0,
        attention_dropout=0.0,
        **choices,
    )
    return MotionDenoiser(config)


@pytest.mark.parametrize(
    ("conditioning", "prefix", "process"), list(itertools.product(CONDITIONING, PREFIX, PROCESSES))
)
def test_every_variant_trains_samples_and_travels(conditioning, prefix, process, tmp_path):
    model = tiny(conditioning=conditioning, prefix=prefix, process=process)
    noise_process = PROCESSES[process]()
    generator = torch.Generator().manual_seed(1)
    x0, upper = (torch.randn(2, 9, width, generator=generator) for width in (4, 3))
    features = torch.randn(2, 18, 1, 5, generator=generator)
    identity = torch.randn(2, 2, 6, generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    for _ in range(2):
        t = noise_process.sample_t(2, generator)
        x_t = noise_process.q_sample(x0, t, torch.randn(x0.shape, generator=generator))
        made = model(x_t, t, model.encode_speech(features), upper, identity, with_upper=True)
        optimizer.zero_grad()
        (made - torch.cat((x0, upper), dim=-1)).square().mean().backward()
        optimizer.step()
    names = [name for name, _ in model.named_parameters()]
    unchanged = [
        n for n, old, new in zip(names, before, model.parameters(), strict=True) if torch.equal(old, new)
    ]
    # Regression's x_t is zero: where nothing else shares its layer, that layer's weights have no part.
    idle = process == "regression" and prefix == "token" and conditioning != "concat-key-landmark"
    assert unchanged == (["backbone.input.weight"] if idle else [])

    def sample(denoiser: MotionDenoiser, sampler: str) -> torch.Tensor:
        with torch.no_grad():
            speech = denoiser.encode_speech(features[:1])[0]
        return sample_motion(
            denoiser,
            noise_process,
            speech,
            upper[0],
            identity[0],
            steps=3,
            sampler=sampler,
            window=6,
            overlap=2,
        )

    loaded = MotionDenoiser.from_pretrained(model.eval().save_pretrained(tmp_path))
    for sampler in SAMPLERS:
        motion = sample(model, sampler)
        assert motion.shape == (9, 4)
        assert motion.isfinite().all()
        assert torch.equal(sample(loaded, sampler), motion)
