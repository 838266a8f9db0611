"""Train the network that tells what stands before a face (`mytalk_core/appearance/covers/network.py`).

    python -m mytalk_training.covers.prepare CLIPS -o FACES
    accelerate launch -m mytalk_training.covers.train FACES -o OUT --hand generic-hand/right.glb

parse -> build -> step -> save. A sample is a picture of FACES over which a hand or something else is laid, or
nothing. The hands are drawn from a mesh (`hand_mesh.py` says which) and, with --cut-out, cut out of pictures.
At every save OUT gets model.safetensors, and the log how well what is laid over faces of people who were
kept from training is found: the overlap of its area and the area found (IoU), how often less than half of it
is, and how often something is found where nothing is.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mytalk_core.appearance.covers.network import CoverNetwork
from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.files import replacing
from mytalk_core.program import in_one_line

from ..loop.checkpoints import TrainingState, averaged
from ..loop.loop import Run, add_arguments, channels_last, descend, train
from ..loop.order import SampleRandom
from ..loop.people import held_people
from .data import CoverBatch, CoverScenes, people_of
from .hand_mesh import HandMesh
from .layers import cut_out_hands

HELD = 1 / 9  # share of the people that are kept from training
VALIDATED, AT_ONCE = 256, 64  # scenes of theirs, and how many are looked at together
FOUND, SMALL = 40, 25  # places of a cover that counts, and places from which on something is found


class CoverObjective(nn.Module):
    """The network's loss as one forward pass."""

    def __init__(self, network: CoverNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: CoverBatch) -> Tensor:
        """Cross-entropy and what covers and what is found do not share (Dice), a scalar."""
        logits, wanted, weight = self.network(batch.inputs), batch.covered, batch.weight
        each = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
        found = logits.sigmoid()
        shared, both = (weight * found * wanted).sum((1, 2)), (weight * (found + wanted)).sum((1, 2))
        dice = 1 - (2 * shared + 20) / (both + 20)
        return 2 * (weight * each).mean() + 0.5 * dice.mean()


@dataclass(kw_only=True)
class State(TrainingState):
    """The network as `CoverObjective`; held: scenes of people kept from training, None if there are none."""

    held: CoverBatch | None


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    add_arguments(
        parser,
        made_by="covers.prepare",
        steps=12000,
        lr=2e-3,
        schedule="cosine",
        warmup=500,
        optimizer="adamw",
        weight_decay=1e-3,
        ema=0.995,
        overfit_loss=0.05,
        save_every=1000,
    )
    parser.add_argument("--hand", type=Path, required=True, help="mesh of a hand, .glb")
    parser.add_argument("--drawn", type=int, default=3000, help="hands of it, laid over faces in many ways")
    parser.add_argument("--init", type=Path, help="model.safetensors of this network that is trained on")
    parser.add_argument("--cut-out", type=Path, help="folder of real hands, .png with alpha")
    return parser.parse_args(argv)


def build(run: Run, args: argparse.Namespace) -> tuple[State, CoverScenes]:
    """Data and model of a run."""
    people = people_of(args.dataset)
    kept = held_people(people.values(), HELD)
    known, held = (
        [args.dataset / f"{name}.safetensors" for name in people if (people[name] in kept) is apart]
        for apart in (False, True)
    )
    if args.overfit is not None:
        known = held = known[: args.overfit]
    mesh, rng = HandMesh.open(args.hand), np.random.default_rng(args.seed)
    drawn = [mesh.drawn(rng) for _ in range(args.drawn)]
    cut_out = [] if args.cut_out is None else [*cut_out_hands(args.cut_out)]
    scenes = CoverScenes(known, drawn, cut_out, args.seed, several=args.overfit)
    validated = None
    if held:
        validated = CoverScenes(held, drawn, cut_out, args.seed + 1).draw([*range(VALIDATED)])
    fresh = CoverNetwork()
    if args.init is not None:
        fresh.load_state_dict(load_file(args.init))
    network = run.network(CoverObjective(channels_last(fresh)))
    return State(networks={"network": network}, held=validated), scenes


def step(state: State, batch: CoverBatch, draws: SampleRandom, accelerator: Accelerator) -> dict[str, Tensor]:
    """One step. Raises FloatingPointError as `descend` does."""
    network = state.networks["network"]
    network.module.train()
    with accelerator.autocast():
        loss = network.module(batch).float()
    descend(network, loss, accelerator)
    return {"total": loss}


def save(run: Run, state: State) -> dict[str, float]:
    """The averaged network as it is loaded later, and its figures on people kept from training."""
    network = averaged(state.networks["network"], CoverNetwork(), "network.")
    if network is None:
        return {}
    with replacing(run.out / "model.safetensors") as part:
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, part)
    return {} if state.held is None else validate(network.eval(), state.held)


@torch.no_grad()
def validate(network: CoverNetwork, held: CoverBatch) -> dict[str, float]:
    """Over places that count whole: the mean IoU of what is laid over a face and what is found, the share of
    these with less than half, and of faces with nothing over them the share where something is found."""
    logits = torch.cat([network(part) for part in held.inputs.split(AT_ONCE)])
    counts = held.weight > 0.9
    found, wanted = (logits > 0) & counts, (held.covered > 0) & counts
    overlap = (found & wanted).sum((1, 2)) / (found | wanted).sum((1, 2)).clamp_min(1)
    there = wanted.sum((1, 2)) > FOUND
    nothing = held.covered.sum((1, 2)) == 0
    wrongly = found.sum((1, 2)) > SMALL
    figures = {
        "iou": overlap[there].mean(),
        "missed": (overlap[there] < 0.5).float().mean(),
        "wrongly": wrongly[nothing].float().mean(),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}


def main() -> None:
    args = parse()
    run = Run.of(args)
    state, scenes = build(run, args)
    train(run, state, scenes.draw, step, save)


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.covers.train"))
