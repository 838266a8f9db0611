"""Train the refiner, the network behind the renderer `network`.

    python -m mytalk_training.refiner.prepare DATASET -o MOUTHS
    accelerate launch -m mytalk_training.refiner.train MOUTHS -o OUT --perceptual LPIPS

parse -> build -> step -> save. A sample is a frame whose mouth is hidden and references of the same person,
warped to its landmarks. The loss is the mean absolute error inside the mask, and, with the weights that
mytalk_training.convert.lpips writes, the perceptual distance of the mended frame. At every save OUT/refiner
gets config.json and model.safetensors.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mytalk_core.appearance.blend import SPLIT
from mytalk_core.appearance.inputs import to_rgb
from mytalk_core.appearance.perceptual import PerceptualDistance
from mytalk_core.appearance.refiner import MouthRefiner, RefinerConfig, RefinerInputs, mix
from mytalk_core.arguments import DefaultsHelpFormatter
from mytalk_core.program import in_one_line

from ..loop.checkpoints import TrainingState, averaged
from ..loop.loop import Run, add_arguments, channels_last, descend, train
from ..loop.order import Draws
from .data import MouthDataset, MouthSamples, held_out

VALIDATED, SHOWN = 160, 6  # samples of held-out people: measured, drawn for TensorBoard
# VGG costs more than the refiner: it looks at a part of each batch, around the mouth.
LOOKED_AT, MIDDLE = 3, (slice(16, 112), slice(16, 144))


class Mender(nn.Module):
    """The refiner and the mixing it steers, as one forward pass."""

    def __init__(self, refiner: MouthRefiner) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, inputs: RefinerInputs) -> Tensor:
        """Pictures (B,3,H,W), about [-1,1]."""
        return mix(inputs.references, self.refiner(inputs), SPLIT)


@dataclass(kw_only=True)
class State(TrainingState):
    """The network as `Mender`; perceptual: None leaves its loss out; held: samples of people kept apart."""

    config: RefinerConfig
    perceptual: PerceptualDistance | None
    perceptual_weight: float
    held: MouthDataset


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter
    )
    defaults = RefinerConfig()
    add_arguments(
        parser,
        steps=6000,
        batch=12,
        lr=1e-3,
        schedule="cosine",
        warmup=100,
        optimizer="adamw",
        weight_decay=1e-2,
        mixed_precision="bf16",
        overfit_loss=0.03,
        save_every=250,
    )
    add = parser.add_argument
    add("--perceptual", type=Path, help="folder that mytalk_training.convert.lpips wrote: adds its loss")
    add("--perceptual-weight", type=float, default=0.2, help="of LPIPS, with --perceptual")
    add("--width", type=int, default=defaults.width, help="channels of a reference's features")
    add("--widths", type=int, nargs="+", default=list(defaults.widths), help="of the U-Net, at 1/2, 1/4, ...")
    return parser.parse_args(argv)


def build(run: Run, args: argparse.Namespace) -> tuple[State, MouthDataset]:
    """Data and model of a run."""
    known, held = held_out(args.dataset)
    if args.overfit is not None:
        known = held = known[: args.overfit]
    config = RefinerConfig(width=args.width, widths=tuple(args.widths))
    refiner = channels_last(MouthRefiner(config))
    perceptual = None
    if args.perceptual is not None and args.perceptual_weight > 0:
        perceptual = PerceptualDistance.from_pretrained(args.perceptual, device=run.accelerator.device)
        perceptual = channels_last(perceptual).eval()
    state = State(
        networks={"refiner": run.network(Mender(refiner), betas=(0.9, 0.99))},
        config=config,
        perceptual=perceptual,
        perceptual_weight=args.perceptual_weight,
        held=MouthDataset(held),
    )
    return state, MouthDataset(known)


def losses(pictures: Tensor, samples: MouthSamples, state: State) -> dict[str, Tensor]:
    """Terms for pictures (B,3,H,W): "l1" inside the mask, "perceptual" where it is given, and "total"."""
    inside = (samples.inputs.mask > 0).float()
    l1 = ((pictures - samples.truth).abs() * inside).sum() / (3 * inside.sum())
    terms = {"l1": l1, "total": l1}
    if state.perceptual is not None:
        part = (slice(0, -(-len(pictures) // LOOKED_AT)), slice(None), *MIDDLE)
        truth = samples.truth[part].contiguous(memory_format=torch.channels_last)
        mended = torch.lerp(truth, pictures[part], inside[part])
        terms["perceptual"] = state.perceptual(mended, truth).float().mean()
        terms["total"] = l1 + state.perceptual_weight * terms["perceptual"]
    return terms


def step(state: State, batch: MouthSamples, draws: Draws, accelerator: Accelerator) -> dict[str, Tensor]:
    """One step: its losses. Raises FloatingPointError as `descend` does."""
    network = state.networks["refiner"]
    network.module.train()
    with accelerator.autocast():
        terms = losses(network.module(batch.inputs), batch, state)
    descend(network, terms["total"], accelerator)
    return terms


def save(run: Run, state: State) -> dict[str, float]:
    """The averaged refiner as it is loaded later, and how it does for people that it never saw."""
    refiner = averaged(state.networks["refiner"], MouthRefiner(state.config), "refiner.")
    if refiner is None:
        return {}
    refiner.save_pretrained(run.out / "refiner", torch.float16)
    mender = Mender(channels_last(refiner.to(run.accelerator.device)))
    return validate(mender, state.held, run, state.step)


@torch.no_grad()
def validate(mender: Mender, held: MouthDataset, run: Run, number: int) -> dict[str, float]:
    """PSNR inside the mask, dB, mean over samples: the network's, and the references' plain mixture's."""
    chosen = torch.linspace(0, len(held) - 1, min(VALIDATED, len(held))).long().tolist()
    figures: dict[str, list[float]] = {"psnr": [], "psnr_mixture": []}
    for start in range(0, len(chosen), 16):
        samples = held.read(chosen[start : start + 16]).to(run.accelerator.device)
        with run.accelerator.autocast():
            pictures = mender(samples.inputs).float()
        mixture = torch.einsum("br,brchw->bchw", samples.inputs.weights, samples.inputs.references)
        figures["psnr"] += psnr(pictures, samples)
        figures["psnr_mixture"] += psnr(mixture, samples)
        if start == 0:
            rows = [samples.inputs.references[:, 0], mixture, pictures, samples.truth]
            grid = torch.cat([torch.cat(list(row[:SHOWN]), dim=2) for row in rows], dim=1)
            run.show("mouths", to_rgb(grid), number)
    return {name: sum(values) / len(values) for name, values in figures.items()}


def psnr(pictures: Tensor, samples: MouthSamples) -> list[float]:
    """Of each picture in [-1,1], over the pixels inside its mask."""
    inside = (samples.inputs.mask > 0).float()
    error = ((pictures.clamp(-1, 1) - samples.truth) / 2).square() * inside
    return (-10 * torch.log10(error.sum((1, 2, 3)) / (3 * inside.sum((1, 2, 3))))).tolist()


def main() -> None:
    args = parse()
    run = Run.of(args)
    state, mouths = build(run, args)
    draw = partial(mouths.draw, seed=args.seed, vary=args.overfit is None)
    train(run, state, draw, step, save)


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.refiner.train"))
