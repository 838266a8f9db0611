"""Train the refiner, the network behind the renderer `network`.

    python -m mytalk_training.refiner.prepare DATASET -o MOUTHS
    accelerate launch -m mytalk_training.refiner.train MOUTHS -o OUT --perceptual LPIPS

parse -> build -> step -> save. A sample is a frame whose mouth is hidden and references of the same person,
warped to its landmarks. The loss is the mean absolute error inside the mask, more between the lips; with the
weights that mytalk_training.convert.lpips writes, the perceptual distance of the mended mouth; late in a run,
how unreal a discriminator finds it. At every save OUT/refiner gets config.json and model.safetensors, and
each regime of data.REGIMES its figures, on people that were kept from training.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from mytalk_core.appearance.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from mytalk_core.appearance.networks.perceptual import PerceptualDistance
from mytalk_core.appearance.networks.picture_tensors import to_rgb
from mytalk_core.appearance.networks.refiner import MouthRefiner, RefinerConfig
from mytalk_core.appearance.references.pool import even_sample
from mytalk_core.arguments import DefaultsHelpFormatter, Parser, at_least
from mytalk_core.program import in_one_line

from ..generator.losses import DiscriminatorLoss
from ..loop.checkpoints import Network, TrainingState, averaged, start_from
from ..loop.loop import Run, add_arguments, channels_last, descend, train
from ..loop.order import SampleRandom
from .data import MouthDataset, MouthSamples, held_out
from .lending import OPEN, REGIMES
from .mixing_refiner import DETAIL, MixingRefiner, psnr
from .windows import mouth_corners, mouths, windows, within

# What may differ between a refiner and the one whose weights it starts from.
MAY_DIFFER = ("references",)
# Samples of held-out people: measured in each regime, so many at once, drawn for TensorBoard.
VALIDATED, AT_ONCE, SHOWN = 32, 16, 6
# VGG costs more than the refiner: it looks at one sample in so many, by turns at the mouth and below it.
LOOKED_AT = 3
CHIN = 48  # how far below, units
DISCRIMINATOR = DiscriminatorConfig(width=32, layers=2)


@dataclass(frozen=True)
class LossWeights:
    """What each term of the loss counts.

    inner: how much more a pixel between the lips counts than one outside them; steady: of how much the
    error changes from a frame to the next; adversarial_from: the step from which on that loss counts,
    until when the discriminator is not trained either.
    """

    inner: float
    perceptual: float
    steady: float
    adversarial: float
    adversarial_from: int


@dataclass(kw_only=True)
class State(TrainingState):
    """The network as `MixingRefiner`, and a `DiscriminatorLoss` as "discriminator" where there is one.

    weights: of the losses beside the mean absolute error; perceptual: None leaves its loss out; held: samples
    of people kept apart.
    """

    config: RefinerConfig
    weights: LossWeights
    perceptual: PerceptualDistance | None
    held: MouthDataset


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    defaults = RefinerConfig()
    add_arguments(
        parser,
        made_by="refiner.prepare",
        steps=6000,
        batch=12,
        lr=1e-3,
        schedule="cosine",
        warmup=100,
        optimizer="adamw",
        weight_decay=1e-2,
        mixed_precision="auto",
        overfit_loss=0.03,
        save_every=250,
    )
    add = parser.add_argument
    add("--perceptual", type=Path, help="folder that mytalk_training.convert.lpips wrote: adds its loss")
    add("--perceptual-weight", type=float, default=0.2, help="of LPIPS, with --perceptual")
    add("--inner-weight", type=float, default=0.0, help="what a pixel between the lips counts more")
    add("--steady-weight", type=float, default=0.0, help="of how much the error changes to the next frame")
    add("--adversarial-weight", type=float, default=0.0, help="of a discriminator's word; 0: none is trained")
    add("--adversarial-from", type=int, default=1000, metavar="STEP", help="when the discriminator joins")
    add("--init", help="a whole model (mini, a folder, hub:OWNER/NAME) whose refiner is trained on")
    add(
        "--references", type=at_least(1), default=defaults.references, help="of a frame, at most those packed"
    )
    add(
        "--patch",
        type=at_least(1),
        default=defaults.patch,
        help="so many units square are one place of the network",
    )
    add("--width", type=at_least(1), default=defaults.width, help="channels of a reference's features")
    add(
        "--widths",
        type=at_least(1),
        nargs="+",
        default=list(defaults.widths),
        help="of the U-Net, level by level",
    )
    return parser.parse_args(argv)


def build(run: Run, args: argparse.Namespace) -> tuple[State, MouthDataset]:
    """Data and model of a run. Raises ValueError where --steady-weight would not get its pairs."""
    parts = args.accumulate * run.accelerator.num_processes
    if args.steady_weight > 0 and args.batch % (2 * parts):
        raise ValueError(
            f"--steady-weight compares pairs of frames: --batch must be a multiple of 2 x processes x "
            f"--accumulate = {2 * parts}; got {args.batch}"
        )
    known, held = held_out(args.dataset)
    if args.overfit is not None:
        known = held = known[: args.overfit]
    config = RefinerConfig(
        references=args.references,
        patch=args.patch,
        width=args.width,
        widths=tuple(args.widths),
    )
    refiner = MouthRefiner(config)
    if args.init is not None:
        start_from(refiner, args.init, "refiner", MAY_DIFFER)
    perceptual = None
    if args.perceptual is not None and args.perceptual_weight > 0:
        perceptual = PerceptualDistance.from_pretrained(args.perceptual, device=run.accelerator.device)
        perceptual = channels_last(perceptual).eval()
    networks = {"refiner": run.network(MixingRefiner(channels_last(refiner), DETAIL), betas=(0.9, 0.99))}
    if args.adversarial_weight > 0:
        networks["discriminator"] = run.network(
            DiscriminatorLoss(PatchDiscriminator(DISCRIMINATOR)), betas=(0.5, 0.9), shard=None
        )
    weights = LossWeights(
        args.inner_weight,
        args.perceptual_weight,
        args.steady_weight,
        args.adversarial_weight,
        args.adversarial_from,
    )
    state = State(
        networks=networks,
        config=config,
        perceptual=perceptual,
        weights=weights,
        held=MouthDataset(held),
    )
    return state, MouthDataset(known)


def losses(pictures: Tensor, samples: MouthSamples, state: State) -> dict[str, Tensor]:
    """Terms for pictures (B,3,S H,S W): "l1" inside the mask, "perceptual" where it is given, "total"."""
    inside, scale = samples.made, samples.scale
    heavy = inside * (1 + state.weights.inner * samples.inner)
    l1 = ((pictures - samples.truth).abs() * heavy).sum() / (3 * inside.sum())
    terms = {"l1": l1, "total": l1}
    if state.perceptual is not None:
        some = slice(0, -(-len(pictures) // LOOKED_AT))
        corners = mouth_corners(samples.inputs.lips[some])
        corners[1::2, 0] += CHIN
        corners = within(corners, samples.inputs.mask)
        truth, mended, hidden = (
            windows(maps[some], corners, scale).contiguous(memory_format=torch.channels_last)
            for maps in (samples.truth, pictures, inside)
        )
        terms["perceptual"] = state.perceptual(torch.lerp(truth, mended, hidden), truth).float().mean()
        terms["total"] = l1 + state.weights.perceptual * terms["perceptual"]
    if state.weights.steady > 0:
        terms["steady"] = unsteadiness((pictures - samples.truth) * inside, samples)
        terms["total"] = terms["total"] + state.weights.steady * terms["steady"]
    return terms


def unsteadiness(errors: Tensor, samples: MouthSamples) -> Tensor:
    """How much errors (B,3,S H,S W), 0 outside the mask, change at the mouth from a frame to the next, mean
    absolute value; the samples 2n and 2n + 1 are such a pair."""
    corners = mouth_corners(samples.inputs.lips[::2])
    moved = corners + samples.corner[::2] - samples.corner[1::2]
    inside, scale = within(moved, samples.inputs.mask), samples.scale
    seen = (moved == inside).all(1).view(-1, 1, 1, 1)
    before, after = windows(errors[::2], corners, scale), windows(errors[1::2], inside, scale)
    return ((after - before).abs() * seen).mean()


def step(
    state: State, batch: MouthSamples, draws: SampleRandom, accelerator: Accelerator
) -> dict[str, Tensor]:
    """One step of the refiner, and one of the discriminator: losses. FloatingPointError as `descend` does."""
    network = state.networks["refiner"]
    network.module.train()
    with accelerator.autocast():
        pictures = network.module(batch)
        terms = losses(pictures, batch, state)
        made = torch.lerp(batch.truth, pictures, batch.made)
    return terms | descend_judged(
        network, terms["total"], mouths(made, batch), mouths(batch.truth, batch), state, accelerator
    )


def descend_judged(
    network: Network,
    total: Tensor,
    made: Tensor,
    real: Tensor,
    state: State,
    accelerator: Accelerator,
) -> dict[str, Tensor]:
    """Step down `total` and what a discriminator, if it is on by now, says of mouths made (B,3,h,w); then
    let it learn from them and from real ones: its terms, and the sum as "total".
    """
    judge, weights, zero = state.networks.get("discriminator"), state.weights, torch.zeros_like(total)
    if judge is None:
        descend(network, total, accelerator)
        return {}
    judge.module.train()
    judge.module.requires_grad_(False)
    judged, terms = state.step >= weights.adversarial_from, {"adversarial": zero, "discriminator": zero}
    if judged:
        with accelerator.autocast():
            terms["adversarial"] = -accelerator.unwrap_model(judge.module)(made).mean()
        total = total + weights.adversarial * terms["adversarial"]
    descend(network, total, accelerator)
    # Also while it waits: a checkpoint of parameters that need no gradient resumes otherwise.
    judge.module.requires_grad_(True)
    if judged:
        with accelerator.autocast():
            terms["discriminator"] = judge.module(real, made.detach())
        descend(judge, terms["discriminator"], accelerator)
    return terms | {"total": total}


def save(run: Run, state: State) -> dict[str, float]:
    """The averaged refiner as it is loaded later, and how it does for people that it never saw."""
    refiner = averaged(state.networks["refiner"], MouthRefiner(state.config), "refiner.")
    if refiner is None:
        return {}
    refiner.save_pretrained(run.out / "refiner", torch.float16)
    mixing_refiner = MixingRefiner(channels_last(refiner.to(run.accelerator.device)), DETAIL)
    return validate(mixing_refiner, state, run)


@torch.no_grad()
def validate(mixing_refiner: MixingRefiner, state: State, run: Run) -> dict[str, float]:
    """Means over samples that are the same every time, in each regime and over all of them.

    Of the network and of the plain mixture of its references ("_mixture"): "psnr" inside the mask; of mouths
    that are OPEN "inner", PSNR between the lips, and, where the network for it is given, "lpips" of the mouth
    with the true picture around its inner lips.
    """
    held = state.held
    figures: dict[str, list[float]] = {}
    for number, regime in enumerate(REGIMES):
        own = np.flatnonzero(held.regimes == number)
        if len(own) == 0:
            continue
        for turn, rows in enumerate(held.batches(even_sample(own, VALIDATED), AT_ONCE)):
            samples = held.read(rows).to(run.accelerator.device)
            with run.accelerator.autocast():
                pictures = mixing_refiner(samples).float()
            mixture = samples.mixture
            for name, made in (("", pictures), ("_mixture", mixture)):
                for key, values in measure(made, samples, state.perceptual).items():
                    figures.setdefault(f"{key}{name}", []).extend(values)
                    figures.setdefault(f"{regime}/{key}{name}", []).extend(values)
            if turn == 0:
                strips = [samples.references[:, 0], mixture, pictures, samples.truth]
                grid = torch.cat([torch.cat(list(strip[:SHOWN]), dim=2) for strip in strips], dim=1)
                run.show(f"mouths/{regime}", to_rgb(grid), state.step)
    return {name: sum(values) / len(values) for name, values in figures.items() if values}


def measure(
    pictures: Tensor, samples: MouthSamples, perceptual: PerceptualDistance | None
) -> dict[str, list[float]]:
    """What `validate` has means of, for pictures (B,3,S H,S W) in [-1,1]."""
    inner = samples.inner
    wide = ((samples.opening >= OPEN) & inner.any(dim=(1, 2, 3))).nonzero()[:, 0]
    found = {"psnr": psnr(pictures, samples.truth, samples.made)}
    if len(wide) == 0:
        return found
    found["inner"] = psnr(pictures[wide], samples.truth[wide], inner[wide])
    if perceptual is not None:
        made = torch.lerp(samples.truth, pictures.clamp(-1, 1), inner)
        pair = (mouths(picture, samples)[wide] for picture in (made, samples.truth))
        found["lpips"] = perceptual(*pair).tolist()
    return found


def main() -> None:
    args = parse()
    run = Run.of(args)
    state, data = build(run, args)
    draw = partial(data.draw, seed=args.seed, step=args.batch, vary=args.overfit is None)
    train(run, state, draw, step, save)


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.refiner.train"))
