"""Train the inventor of a refiner, which makes what no reference shows, and leave the rest of it as it is.

    python -m mytalk_training.refiner.prepare DATASET -o MOUTHS
    accelerate launch -m mytalk_training.refiner.train_inventor MOUTHS -o OUT --init mini --perceptual LPIPS

parse -> build -> step -> save. A sample is the window about an open mouth: the true picture, and what its
references, warped to it, make of it when they are mixed plainly. That is a fraction of the whole refiner's
work, so far more mouths are seen in an hour; mytalk_training.refiner.train can train both together
afterwards. The loss is that of mytalk_training.refiner.train on the window. At every save OUT/refiner gets
config.json and model.safetensors of the whole refiner.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from mytalk_core.appearance.discriminator import PatchDiscriminator
from mytalk_core.appearance.inputs import to_rgb
from mytalk_core.appearance.perceptual import PerceptualDistance
from mytalk_core.appearance.refiner import (
    Inventor,
    MouthRefiner,
    cut_mouths,
    inventor_view,
    mouth_corners,
)
from mytalk_core.arguments import DefaultsHelpFormatter
from mytalk_core.program import in_one_line

from ..generator.train import Judge
from ..loop.checkpoints import averaged
from ..loop.loop import Run, add_arguments, channels_last, train
from ..loop.order import DATA, Draws
from .data import OPEN, REGIMES, MouthDataset, held_out, varied_colours
from .train import DISCRIMINATOR, JudgedState, LossWeights, descend_judged, psnr

WIDTHS = (48, 80, 128)
AJAR = 1.0  # opening in units from which on there is something to make
LOOKED_AT = 6  # VGG looks at one sample in so many
READ_AT_ONCE, VALIDATED, SHOWN = 16, 24, 8
TWICE = ("closed", "unopened", "single")  # regimes drawn twice as often as they were packed
# Channels of `inventor_view`.
MIXTURE, PICTURES, INSIDE, MASK = slice(0, 3), 9, slice(10, 11), slice(11, 12)


@dataclass(frozen=True)
class Windows:
    """B mouths: seen (B,14,h,w), what the inventor sees, and the true pictures (B,3,h,w) in [-1,1]."""

    seen: Tensor
    truth: Tensor

    def to(self, device: torch.device | str) -> Windows:
        """The windows on a device."""
        return Windows(self.seen.to(device), self.truth.to(device))


class WindowDataset:
    """The open mouths of packed clips, in memory at half precision; regimes, openings: of each, (S,)."""

    def __init__(self, paths: list[Path]) -> None:
        packed = MouthDataset(paths)
        rows = np.flatnonzero(packed.openings >= AJAR)
        self.regimes, self.openings = packed.regimes[rows], packed.openings[rows]
        parts: list[Windows] = []
        for start in tqdm(range(0, len(rows), READ_AT_ONCE), desc="mouths", mininterval=5):
            samples = packed.read(rows[start : start + READ_AT_ONCE].tolist())
            corners = mouth_corners(samples.inputs.lips)
            pair = inventor_view(samples.inputs), samples.truth
            parts.append(Windows(*(cut_mouths(maps, corners).half() for maps in pair)))
        self.seen = torch.cat([part.seen for part in parts]) if parts else torch.zeros(0)
        self.truth = torch.cat([part.truth for part in parts]) if parts else torch.zeros(0)
        often = np.isin(self.regimes, [list(REGIMES).index(name) for name in TWICE])
        self._drawn = torch.from_numpy(np.repeat(np.arange(len(rows)), np.where(often, 2, 1)))

    def __len__(self) -> int:
        return len(self.regimes)

    def read(self, indices: Tensor) -> Windows:
        """These windows, int64 (B,)."""
        return Windows(self.seen[indices].float(), self.truth[indices].float())

    def draw(self, samples: list[int], seed: int, vary: bool = True) -> Windows:
        """What a seed gives these sample numbers, flipped and recoloured where `vary`."""
        draws = Draws(seed, DATA, samples)
        places = (draws.uniform() * len(self._drawn)).long().clamp(max=len(self._drawn) - 1)
        found = self.read(self._drawn[places])
        if not vary:
            return found
        recoloured, flipped = varied_colours(draws), draws.uniform(1, 1, 1) < 0.5
        # The contours, channels 6 to 8, have colours of their own.
        pictures = [recoloured(found.seen[:, start : start + 3]) for start in (0, 3)]
        seen = torch.cat([*pictures, found.seen[:, 6:]], dim=1)
        turned = (torch.where(flipped, maps.flip(-1), maps) for maps in (seen, recoloured(found.truth)))
        return Windows(*turned)


class Mouths(nn.Module):
    """An inventor and what it makes of its window's mixture, as one forward pass."""

    def __init__(self, inventor: Inventor) -> None:
        super().__init__()
        self.inventor = inventor

    def forward(self, seen: Tensor) -> Tensor:
        """Pictures (B,3,h,w), about [-1,1]."""
        return seen[:, MIXTURE] + self.inventor(seen)


@dataclass(kw_only=True)
class State(JudgedState):
    """The network as `Mouths`; refiner: the whole model that it is a part of; perceptual: None leaves its
    loss out; held: mouths of people kept from training; plain: figures of their mixtures, measured once."""

    refiner: MouthRefiner
    perceptual: PerceptualDistance | None
    held: WindowDataset
    plain: dict[str, list[float]] = field(default_factory=dict)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter
    )
    add_arguments(
        parser,
        steps=6000,
        batch=16,
        lr=1e-3,
        schedule="cosine",
        warmup=100,
        optimizer="adamw",
        weight_decay=1e-2,
        ema=0.998,
        overfit_loss=0.03,
        save_every=500,
    )
    add = parser.add_argument
    add("--init", default="mini", help="a whole model (mini, a folder, hub:OWNER/NAME) with a refiner")
    add("--inventor", type=int, nargs="+", default=list(WIDTHS), metavar="WIDTH", help="sizes of a new one")
    add("--perceptual", type=Path, help="folder that mytalk_training.convert.lpips wrote: adds its loss")
    add("--perceptual-weight", type=float, default=0.3, help="of LPIPS, with --perceptual")
    add("--perceptual-from", type=int, default=0, metavar="STEP", help="when that loss begins: VGG is dear")
    add("--inner-weight", type=float, default=4.0, help="what a pixel between the lips counts more")
    add("--adversarial-weight", type=float, default=0.0, help="of a discriminator's word; 0: none is trained")
    add("--adversarial-from", type=int, default=2000, metavar="STEP", help="when the discriminator joins")
    return parser.parse_args(argv)


def build(run: Run, args: argparse.Namespace) -> tuple[State, WindowDataset]:
    """Data and model of a run."""
    known, held = held_out(args.dataset)
    if args.overfit is not None:
        known = held = known[: args.overfit]
    refiner = MouthRefiner.from_pretrained(args.init, "refiner")
    if not refiner.config.invents:
        refiner = with_inventor(refiner, tuple(args.inventor))
    perceptual = None
    if args.perceptual is not None and args.perceptual_weight > 0:
        perceptual = PerceptualDistance.from_pretrained(args.perceptual, device=run.accelerator.device)
        perceptual = channels_last(perceptual).eval()
    inventor = channels_last(Inventor(refiner.config.inventor))
    inventor.load_state_dict(refiner.inventor.state_dict())
    networks = {"inventor": run.network(Mouths(inventor), betas=(0.9, 0.99))}
    if args.adversarial_weight > 0:
        networks["discriminator"] = run.network(
            Judge(PatchDiscriminator(DISCRIMINATOR)), betas=(0.5, 0.9), shard=None
        )
    weights = LossWeights(
        args.inner_weight,
        args.perceptual_weight,
        args.adversarial_weight,
        args.adversarial_from,
        args.perceptual_from,
    )
    state = State(
        networks=networks,
        refiner=refiner,
        perceptual=perceptual,
        weights=weights,
        held=WindowDataset(held),
    )
    return state, WindowDataset(known)


def with_inventor(refiner: MouthRefiner, widths: tuple[int, ...]) -> MouthRefiner:
    """A refiner with a new inventor and the weights of one that has none, in evaluation mode."""
    whole = MouthRefiner(replace(refiner.config, inventor=widths))
    whole.load_state_dict(whole.state_dict() | refiner.state_dict())
    return whole.eval()


def losses(pictures: Tensor, windows: Windows, state: State) -> dict[str, Tensor]:
    """Terms for pictures (B,3,h,w): "l1" inside the mask, that of the plain mixture beside it, "perceptual"
    where its network is given, and "total"."""
    inside = (windows.seen[:, MASK] > 0).float()
    heavy = inside * (1 + state.weights.inner * windows.seen[:, INSIDE]) / (3 * inside.sum())
    l1, l1_mixture = (
        ((made - windows.truth).abs() * heavy).sum() for made in (pictures, windows.seen[:, MIXTURE])
    )
    terms = {"l1": l1, "l1_mixture": l1_mixture, "total": l1}
    if state.perceptual is not None and state.step >= state.weights.perceptual_from:
        some = slice(0, -(-len(pictures) // LOOKED_AT))
        mended = torch.lerp(windows.truth, pictures, inside)[some]
        pair = (maps.contiguous(memory_format=torch.channels_last) for maps in (mended, windows.truth[some]))
        terms["perceptual"] = state.perceptual(*pair).float().mean()
        terms["total"] = l1 + state.weights.perceptual * terms["perceptual"]
    return terms


def step(state: State, batch: Windows, draws: Draws, accelerator: Accelerator) -> dict[str, Tensor]:
    """One step of the inventor, one of the discriminator: losses. FloatingPointError as `descend` does."""
    network = state.networks["inventor"]
    network.module.train()
    with accelerator.autocast():
        pictures = network.module(batch.seen)
        terms = losses(pictures, batch, state)
        made = torch.lerp(batch.truth, pictures, (batch.seen[:, MASK] > 0).float())
    return terms | descend_judged(network, terms["total"], made, batch.truth, state, accelerator)


def save(run: Run, state: State) -> dict[str, float]:
    """The whole refiner with the averaged inventor, and how that does for people that it never saw."""
    inventor = averaged(state.networks["inventor"], Inventor(state.refiner.config.inventor), "inventor.")
    if inventor is None:
        return {}
    state.refiner.inventor.load_state_dict(inventor.state_dict())
    state.refiner.save_pretrained(run.out / "refiner", torch.float16)
    return validate(Mouths(inventor.to(run.accelerator.device)), state, run)


@torch.no_grad()
def validate(mouths: Mouths, state: State, run: Run) -> dict[str, float]:
    """Means over mouths that are OPEN and the same every time, in each regime and over all of them.

    Of the network and of the plain mixture of its references ("_mixture"): "inner", PSNR between the lips,
    and, where the network for it is given, "lpips" of the window with the true picture around the inner lips.
    """
    held, first = state.held, not state.plain
    figures: dict[str, list[float]] = {}
    for number, regime in enumerate(REGIMES):
        own = np.flatnonzero((held.regimes == number) & (held.openings >= OPEN))
        if len(own) == 0:
            continue
        own = own[np.linspace(0, len(own) - 1, min(VALIDATED, len(own))).round().astype(int)]
        windows = held.read(torch.from_numpy(own)).to(run.accelerator.device)
        with run.accelerator.autocast():
            pictures = mouths(windows.seen).float()
        mixture = windows.seen[:, MIXTURE]
        _note(figures, regime, "", measure(pictures, windows, state.perceptual))
        if first:
            _note(state.plain, regime, "_mixture", measure(mixture, windows, state.perceptual))
        rows = [mixture, pictures, windows.truth]
        grid = torch.cat([torch.cat(list(row[:SHOWN]), dim=2) for row in rows], dim=1)
        run.show(f"mouths/{regime}", to_rgb(grid), state.step)
    return {name: sum(values) / len(values) for name, values in (figures | state.plain).items() if values}


def measure(
    pictures: Tensor, windows: Windows, perceptual: PerceptualDistance | None
) -> dict[str, list[float]]:
    """What `validate` has means of, for pictures (B,3,h,w) in [-1,1]."""
    inner = windows.seen[:, INSIDE]
    seen = inner.any(dim=(1, 2, 3))
    found = {"inner": psnr(pictures[seen], windows.truth[seen], inner[seen])}
    if perceptual is not None:
        made = torch.lerp(windows.truth, pictures.clamp(-1, 1), inner)
        found["lpips"] = perceptual(made, windows.truth).tolist()
    return found


def _note(figures: dict[str, list[float]], regime: str, name: str, found: dict[str, list[float]]) -> None:
    for key, values in found.items():
        figures.setdefault(f"{key}{name}", []).extend(values)
        figures.setdefault(f"{regime}/{key}{name}", []).extend(values)


def main() -> None:
    args = parse()
    run = Run.of(args)
    state, windows = build(run, args)
    draw = partial(windows.draw, seed=args.seed, vary=args.overfit is None)
    train(run, state, draw, step, save)


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.refiner.train_inventor"))
