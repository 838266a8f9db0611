"""Noise processes x_t = alpha_t x_0 + sigma_t noise, regression without, and the samplers that walk back."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# (x_t, t) -> x0: x_t of any shape, t a float time step common to all of it.
Denoise = Callable[[Tensor, float], Tensor]


class GaussianDiffusion:
    """Variance-preserving diffusion with the cosine schedule (eq. 2; Nichol & Dhariwal 2021, eq. 17).

    Time steps are integers 0 ... steps - 1; betas are capped at 0.999, so x_{steps-1} is all but pure noise.
    """

    def __init__(self, steps: int = 1000):
        self.steps = steps
        time = torch.arange(steps + 1, dtype=torch.float64) / steps
        level = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = (1 - level[1:] / level[:-1]).clamp(max=0.999)
        self.alphas_cumprod = torch.cumprod(1 - betas, dim=0)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise factors at integer time steps t (B,) -> two float64 (B,) on t's device."""
        level = self.alphas_cumprod.to(t.device)[t.long()]
        return level.sqrt(), (1 - level).sqrt()

    def sample_t(self, batch: int, generator: torch.Generator | None = None, power: float = 1.0) -> Tensor:
        """Training time steps (batch,) int64: uniform shares of the last one to the given power, of which one
        below 1 gives more of the noisy ones."""
        drawn = torch.randint(self.steps, (batch,), generator=generator)
        last = self.steps - 1
        return (last * (drawn / last) ** power).round().long()

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Diffuse x0 (B, ...) to time steps t (B,) with normal `noise` of x0's shape (eq. 2)."""
        alpha, sigma = (part.to(x0.dtype).view(-1, *(1,) * (x0.ndim - 1)) for part in self.alpha_sigma(t))
        return alpha * x0 + sigma * noise

    def start(self, noise: Tensor) -> Tensor:
        """What sampling starts from, given normal noise of x0's shape."""
        return noise

    def shown(self, t: Tensor) -> Tensor:
        """How much of x0 there is to see in x_t at t (B,), 0 ... 1: the signal's power, float64 (B,)."""
        return self.alpha_sigma(t)[0].square()

    def timesteps(self, count: int) -> list[float]:
        """`count` descending time steps, evenly spaced from steps - 1, without 0 (the walk ends clean)."""
        _check_count(count, self.steps)
        spaced = torch.linspace(0, self.steps - 1, count + 1, dtype=torch.float64).round()
        return [float(t) for t in spaced.flip(0)[:-1]]


class RectifiedFlow(GaussianDiffusion):
    """Straight paths x_t = (1 - s) x_0 + s noise, s = t / steps (Liu et al. 2022), behind the same interface.

    The model still predicts x0; DDIM without noise then is the flow's Euler integration.
    """

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Signal and noise factors at time steps t (B,), 0 < t <= steps, fractions allowed."""
        level = t.to(torch.float64) / self.steps
        return 1 - level, level

    def sample_t(self, batch: int, generator: torch.Generator | None = None, power: float = 1.0) -> Tensor:
        """Training time steps in (0, steps], as above: (batch,) float32."""
        return self.steps * (1 - torch.rand(batch, generator=generator)) ** power

    def timesteps(self, count: int) -> list[float]:
        """`count` descending time steps, evenly spaced from `steps`, without 0 (the walk ends clean)."""
        _check_count(count, self.steps)
        return [float(t) for t in torch.linspace(self.steps, 0, count + 1, dtype=torch.float64)[:-1]]


class Regression(GaussianDiffusion):
    """No noise, the baseline that diffusion is held against: x_0 in one pass from x_t = 0 at t = T.

    A diffusion model at t = T sees all but pure noise, so one that is trained on as a regression starts well.
    """

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Factors 1 and 0 (B,), whatever t (B,): loss terms weighted by the signal count in full."""
        return torch.ones_like(t, dtype=torch.float64), torch.zeros_like(t, dtype=torch.float64)

    def sample_t(self, batch: int, generator: torch.Generator | None = None, power: float = 1.0) -> Tensor:
        """The last time step (batch,) int64, whatever `power`."""
        return torch.full((batch,), self.steps - 1)

    def shown(self, t: Tensor) -> Tensor:
        """Zeros (B,), whatever t (B,): nothing of x0 is to be seen."""
        return torch.zeros_like(t, dtype=torch.float64)

    def q_sample(self, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Zeros of x0's shape: nothing of x0 is given away."""
        return torch.zeros_like(x0)

    def start(self, noise: Tensor) -> Tensor:
        """Zeros of the noise's shape."""
        return torch.zeros_like(noise)

    def timesteps(self, count: int) -> list[float]:
        """The last time step alone, whatever `count`."""
        _check_count(count, self.steps)
        return [float(self.steps - 1)]


PROCESSES = {"diffusion": GaussianDiffusion, "flow": RectifiedFlow, "regression": Regression}


def _check_count(count: int, steps: int) -> None:
    if not 1 <= count <= steps:
        raise ValueError(f"sampling steps must be 1 ... {steps}; got {count}")


def _levels(diffusion: GaussianDiffusion, timesteps: list[float]) -> list[tuple[float, float]]:
    """(alpha, sigma) of every time step, then of the clean end."""
    alpha, sigma = diffusion.alpha_sigma(torch.tensor(timesteps, dtype=torch.float64))
    return [*zip(alpha.tolist(), sigma.tolist(), strict=True), (1.0, 0.0)]


def sample_ddpm(
    denoise: Denoise,
    x: Tensor,
    diffusion: GaussianDiffusion,
    timesteps: list[float],
    generator: torch.Generator | None = None,
) -> Tensor:
    """Ancestral sampling (Ho et al. 2020, algorithm 2, posterior eq. 7) over the given descending time steps.

    x: noise at timesteps[0], any shape; the CPU's `generator` gives every device the same noise.
    """
    levels = _levels(diffusion, timesteps)
    for i, t in enumerate(timesteps):
        (alpha, sigma), (alpha_next, sigma_next) = levels[i], levels[i + 1]
        x0 = denoise(x, t)
        if sigma_next == 0:
            return x0
        ratio = alpha / alpha_next
        # Variance of the noise from the next time step to this one: 1 - ratio^2 where alpha^2 + sigma^2 = 1.
        step_variance = sigma**2 - (ratio * sigma_next) ** 2
        x = (alpha_next * step_variance * x0 + ratio * sigma_next**2 * x) / sigma**2
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x)
        x = x + math.sqrt(step_variance) * sigma_next / sigma * noise
    return x


def sample_ddim(
    denoise: Denoise,
    x: Tensor,
    diffusion: GaussianDiffusion,
    timesteps: list[float],
    generator: torch.Generator | None = None,
) -> Tensor:
    """Deterministic DDIM (Song et al. 2021, eq. 12 with eta = 0); `generator` is not used."""
    levels = _levels(diffusion, timesteps)
    for i, t in enumerate(timesteps):
        (alpha, sigma), (alpha_next, sigma_next) = levels[i], levels[i + 1]
        x0 = denoise(x, t)
        if sigma_next == 0:
            return x0
        x = alpha_next * x0 + sigma_next / sigma * (x - alpha * x0)
    return x


def sample_dpmpp_2m(
    denoise: Denoise,
    x: Tensor,
    diffusion: GaussianDiffusion,
    timesteps: list[float],
    generator: torch.Generator | None = None,
) -> Tensor:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2), deterministic; the last step is of first order."""
    levels = _levels(diffusion, timesteps)
    previous_x0: Tensor | None = None
    previous_h = 0.0
    for i, t in enumerate(timesteps):
        (alpha, sigma), (alpha_next, sigma_next) = levels[i], levels[i + 1]
        x0 = denoise(x, t)
        if sigma_next == 0:
            return x0
        # alpha = 0 (rectified flow's start) has lambda = -inf: the first-order step is exact there.
        h = math.log(alpha_next / sigma_next) - math.log(alpha / sigma) if alpha > 0 else math.inf
        slope = 0.0 if previous_x0 is None or math.isinf(previous_h) else h / (2 * previous_h)
        estimate = x0 if previous_x0 is None or slope == 0.0 else x0 + slope * (x0 - previous_x0)
        x = sigma_next / sigma * x - alpha_next * math.expm1(-h) * estimate
        previous_x0, previous_h = x0, h
    return x


SAMPLERS = {"ddpm": sample_ddpm, "ddim": sample_ddim, "dpmpp_2m": sample_dpmpp_2m}
