"""Noise processes and samplers, held against their formulas and against diffusers' schedulers."""

from __future__ import annotations

import pytest
import torch

from mytalk_core.motion.diffusion import (
    SAMPLERS,
    GaussianDiffusion,
    RectifiedFlow,
    sample_ddim,
    sample_ddpm,
    sample_dpmpp_2m,
)

PROCESSES = (GaussianDiffusion, RectifiedFlow)


def network(x: torch.Tensor, t: float) -> torch.Tensor:
    """A smooth stand-in for a denoiser: bounded, depends on x and on t."""
    return torch.tanh(0.7 * x + 0.3 * torch.roll(x, 1, 0) + t / 1000)


def noise(seed: int = 0) -> torch.Tensor:
    return torch.randn(12, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("process", PROCESSES)
def test_q_sample_has_the_factors_and_ever_less_signal(process):
    diffusion = process()
    t = torch.tensor([10, 500, 990])
    alpha, sigma = diffusion.alpha_sigma(t)
    x0, eps = torch.randn(3, 4, 2), torch.randn(3, 4, 2)
    x_t = diffusion.q_sample(x0, t, eps)
    torch.testing.assert_close(x_t[1], (alpha[1] * x0[1] + sigma[1] * eps[1]).float())
    assert ((alpha / sigma).diff() < 0).all()


def test_cosine_schedule_preserves_variance_and_ends_in_noise():
    diffusion = GaussianDiffusion()
    alpha, sigma = diffusion.alpha_sigma(torch.arange(1000))
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(1000, dtype=torch.float64))
    # Nichol & Dhariwal: alpha_bar(t) = cos^2((t / T + s) / (1 + s) pi / 2), one step ahead of index t.
    assert alpha[499].square().item() == pytest.approx(0.4938, abs=1e-3)
    assert alpha[0] > 0.9999
    assert alpha[-1] < 1e-3


@pytest.mark.parametrize("process", PROCESSES)
def test_training_time_steps_are_all_reachable_and_finite(process):
    diffusion = process()
    t = diffusion.sample_t(4000, torch.Generator().manual_seed(0))
    assert 0 <= t.min() < 10
    assert 990 < t.max() <= 1000
    assert all(torch.isfinite(part).all() for part in diffusion.alpha_sigma(t))
    noisy = diffusion.sample_t(4000, torch.Generator().manual_seed(0), power=0.4)
    assert noisy.dtype == t.dtype and noisy.min() >= 0 and 990 < noisy.max() <= 1000
    # The median of u^0.4 is 0.5^0.4.
    assert t.float().median().item() == pytest.approx(500, abs=20)
    assert noisy.float().median().item() == pytest.approx(758, abs=15)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_perfect_denoiser_is_followed_to_its_answer(name, process):
    truth = torch.randn(12, 5)
    x = SAMPLERS[name](lambda x, t: truth, noise(), process(), process().timesteps(7), torch.Generator())
    torch.testing.assert_close(x, truth, atol=1e-5, rtol=1e-5)


def posterior_mean(diffusion):
    """The exact denoiser of data from N(0.5, 0.3^2)."""

    def denoise(x, t):
        alpha, sigma = (float(part) for part in diffusion.alpha_sigma(torch.tensor([t])))
        gain = alpha * 0.09 / (alpha**2 * 0.09 + sigma**2)
        return 0.5 + gain * (x - alpha * 0.5)

    return denoise


@pytest.mark.parametrize("process", PROCESSES)
def test_deterministic_samplers_end_where_the_ode_does(process):
    """For Gaussian data the probability-flow ODE only rescales; second order must be the closer."""
    diffusion = process()
    x = noise().double()
    timesteps = diffusion.timesteps(15)
    alpha, sigma = (float(part) for part in diffusion.alpha_sigma(torch.tensor(timesteps[:1])))
    exact = 0.5 + 0.3 * (x - alpha * 0.5) / (alpha**2 * 0.09 + sigma**2) ** 0.5
    first, second = (
        (sampler(posterior_mean(diffusion), x, diffusion, timesteps) - exact).abs().mean().item()
        for sampler in (sample_ddim, sample_dpmpp_2m)
    )
    assert first < 0.05
    assert second < 0.6 * first


@pytest.mark.parametrize("process", PROCESSES)
def test_ddpm_keeps_the_data_distribution(process):
    diffusion = process()
    x = torch.randn(20000, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    x = sample_ddpm(posterior_mean(diffusion), x, diffusion, diffusion.timesteps(200), generator)
    assert x.mean().item() == pytest.approx(0.5, abs=0.02)
    assert x.std().item() == pytest.approx(0.3, abs=0.02)


def test_step_counts_are_checked():
    assert len(GaussianDiffusion().timesteps(10)) == 10
    assert GaussianDiffusion().timesteps(1) == [999.0]
    with pytest.raises(ValueError, match="1 ... 1000; got 0"):
        GaussianDiffusion().timesteps(0)


def scheduler(name: str, **settings):
    diffusers = pytest.importorskip("diffusers")
    settings = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample", **settings}
    return getattr(diffusers, name)(num_train_timesteps=1000, **settings)


def walk(reference, timesteps: list[float], **arguments) -> torch.Tensor:
    x = noise().double()
    for t in timesteps:
        x = reference.step(network(x, t), int(t), x, **arguments).prev_sample
    return x.float()


@pytest.mark.parametrize("steps", [5, 10, 50])
def test_dpmpp_2m_equals_diffusers(steps):
    reference = scheduler("DPMSolverMultistepScheduler", lower_order_final=steps < 15)
    reference.set_timesteps(steps)
    diffusion = GaussianDiffusion()
    timesteps = diffusion.timesteps(steps)
    assert reference.timesteps.tolist() == timesteps
    ours = sample_dpmpp_2m(network, noise(), diffusion, timesteps)
    torch.testing.assert_close(ours, walk(reference, timesteps), atol=1e-4, rtol=0)


@pytest.mark.parametrize("steps", [10, 50])
def test_ddim_equals_diffusers(steps):
    reference = scheduler("DDIMScheduler", clip_sample=False, timestep_spacing="trailing")
    reference.set_timesteps(steps)
    timesteps = [float(t) for t in reference.timesteps]
    ours = sample_ddim(network, noise(), GaussianDiffusion(), timesteps)
    torch.testing.assert_close(ours, walk(reference, timesteps), atol=1e-4, rtol=0)


def test_ddpm_equals_diffusers():
    reference = scheduler("DDPMScheduler", clip_sample=False)
    reference.set_timesteps(1000)
    timesteps = [float(t) for t in reference.timesteps]
    drawn = torch.Generator().manual_seed(3)
    x = noise()
    for t in timesteps:
        # Their step draws from the generator it is given, in the sample's dtype: the same numbers as ours.
        x = reference.step(network(x, t), int(t), x, generator=drawn).prev_sample
    ours = sample_ddpm(network, noise(), GaussianDiffusion(), timesteps, torch.Generator().manual_seed(3))
    torch.testing.assert_close(ours, x, atol=1e-4, rtol=0)
