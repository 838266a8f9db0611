"""What the motion model's training makes small: eq. 4 and our terms beside it.

Every term is a mean over a window's valid frames, then over windows: padding counts nothing, and a batch may
be split between processes in any way.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mytalk_core.expert.sync_expert import SyncExpert
from mytalk_core.motion.diffusion import GaussianDiffusion
from mytalk_core.motion.identity import IdentityExtractor, describe_person, identity_similarity
from mytalk_core.motion.person import MOUTH_CORNERS, identity_channels
from mytalk_core.motion.space import LandmarkSpace

from ..loop.order import SampleRandom
from .data import MotionBatch

# What is made small of a difference: its square (eq. 4), or its size, by which the best guess is the median
# and a few wild frames pull less.
PENALTIES = {"l2": torch.square, "l1": torch.abs}

# The noise from which the model's own guesses are made, as by default in sampling.
GUESS_TEMPERATURE = 0.3


@dataclass(frozen=True)
class LossOptions:
    """What a run can choose of the loss.

    velocity, identity, expert: weights of the differences of frames, of eq. 4's second term, and of the
    lip-sync expert's, where there is one; the first term's is 1. penalty: one of `PENALTIES`. drop_*: shares
    of windows that are not told of it; own_guess: share whose x_t holds the model's own guess, not the
    truth; time_power: as in `sample_t`.

    Raises ValueError for a share outside 0 ... 1 or a power that is not positive.
    """

    velocity: float = 1.0
    identity: float = 1.0
    expert: float = 0.1
    penalty: str = "l2"
    drop_speech: float = 0.1
    drop_identity: float = 0.3
    own_guess: float = 0.0
    time_power: float = 1.0

    def __post_init__(self) -> None:
        for name in ("drop_speech", "drop_identity", "own_guess"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share of the windows, 0 ... 1; got {getattr(self, name)}")
        if self.time_power <= 0:
            raise ValueError(f"time_power must be above 0, 1 for even time steps; got {self.time_power}")


@dataclass(frozen=True)
class Objective:
    """What the losses need beside the denoiser; conditioning: as in `MotionConfig`."""

    space: LandmarkSpace
    identity: IdentityExtractor
    options: LossOptions
    diffusion: GaussianDiffusion
    conditioning: str = "id-cross-attention"
    expert: SyncExpert | None = None


def losses(
    model: nn.Module, batch: MotionBatch, objective: Objective, draws: SampleRandom
) -> dict[str, Tensor]:
    """The terms of eq. 4, velocity and expert, and their weighted sum, `total`; model: a `SpokenDenoiser`."""
    options, diffusion, penalty = objective.options, objective.diffusion, PENALTIES[objective.options.penalty]
    t = draws.stack(lambda generator: diffusion.sample_t(1, generator, power=options.time_power)[0])
    t = t.to(batch.x0.device)
    noise = draws.normal(*batch.x0.shape[1:]).to(batch.x0)
    dropped = torch.tensor([options.drop_speech, options.drop_identity, options.drop_identity])
    kept = (draws.uniform(3) >= dropped).to(batch.x0)
    target_id = objective.identity(identity_channels(batch.rest))
    person = describe_person(objective.conditioning, objective.identity, batch.rest)
    told = (person[:, None], kept)
    clean, own = batch.x0, None
    if options.own_guess > 0:
        clean, noise, own = with_own_guesses(model, batch, objective, draws, noise, told)
    aim = aim_of(batch, diffusion, t, own)
    x0 = model(batch, diffusion.q_sample(clean, t, noise), t, *told).float()
    importance = channel_importance(objective.space)
    valid = batch.valid[..., None].float()
    count = (valid.sum((1, 2)) * x0.shape[-1]).clamp(min=1)

    def over_windows(difference: Tensor, counted: Tensor) -> Tensor:
        return ((penalty(difference) * importance * counted).sum((1, 2)) / count).mean()

    terms = {
        "x0": over_windows(x0 - aim, valid),
        "velocity": over_windows((x0 - aim).diff(dim=1), valid[:, 1:] * valid[:, :-1]),
        "identity": identity_loss(objective, x0, batch, target_id, t),
    }
    total = terms["x0"] + options.velocity * terms["velocity"] + options.identity * terms["identity"]
    if objective.expert is not None:
        terms["expert"] = objective.expert.loss(x0, batch.features, batch.valid)
        total = total + options.expert * terms["expert"]
    return terms | {"total": total}


def aim_of(batch: MotionBatch, diffusion: GaussianDiffusion, t: Tensor, own: Tensor | None) -> Tensor:
    """What is to be found (B,F,D): the batch's aim, but the truth where x_t holds it, the more of it there is
    to see; own (B,1,1) bool: where x_t holds nothing of it."""
    seen = diffusion.shown(t).to(batch.x0)[:, None, None]
    return torch.lerp(batch.aim, batch.x0, seen if own is None else seen * ~own)


@torch.no_grad()
def with_own_guesses(
    model: nn.Module,
    batch: MotionBatch,
    objective: Objective,
    draws: SampleRandom,
    noise: Tensor,
    told: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor]:
    """What is diffused (B,F,D), the noise (B,F,D) for it, and which windows (B,1,1) have what the model makes
    of noise alone, under less noise, as at low temperatures.

    In sampling x_t never holds the truth. A model that has only seen the truth there trusts x_t too much, and
    its errors grow from step to step (exposure bias: Ning et al. 2023).
    """
    diffusion = objective.diffusion
    start = diffusion.start(GUESS_TEMPERATURE * draws.normal(*batch.x0.shape[1:]).to(batch.x0))
    last = torch.full((len(start),), diffusion.timesteps(1)[0], device=start.device)
    guess = model(batch, start, last, *told).float()
    own = draws.uniform(1)[..., None].to(start) < objective.options.own_guess
    temperature = draws.uniform(1)[..., None].to(start)
    return torch.where(own, guess, batch.x0), torch.where(own, temperature * noise, noise), own


def channel_importance(space: LandmarkSpace) -> Tensor:
    """Weights (D,) of mean 1: nearly each channel's share in the landmarks' squared movement (eq. 4 is in
    landmarks), with a floor that keeps the small movements of the lips in."""
    share = space.lower_basis.square().mean(1)
    weights = (share / share.mean()).sqrt() + 0.2
    return weights / weights.mean()


def identity_loss(
    objective: Objective, x0: Tensor, batch: MotionBatch, target_id: Tensor, t: Tensor
) -> Tensor:
    """1 - cos(M(generated), M(reference)) on a frame a window, weighted by the signal at t (eq. 4)."""
    if objective.options.identity == 0:
        return x0.new_zeros(())
    rows, frame = torch.arange(len(x0), device=x0.device), batch.valid.float().argmax(1)
    displacement = objective.space.lower_displacement(x0[rows, frame])[..., :2]
    points = torch.from_numpy(objective.space.lower_points).to(x0.device)
    right, left = MOUTH_CORNERS
    width = (batch.rest[:, right] - batch.rest[:, left]).norm(dim=-1)[:, None, None]
    shape = batch.rest.index_add(1, points, displacement * width)
    cosine = identity_similarity(objective.identity(identity_channels(shape)), target_id)
    share = objective.diffusion.alpha_sigma(t)[0].square().to(x0.dtype)
    return ((1 - cosine) * share).mean()
