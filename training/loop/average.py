"""The mean of the weights of several models of one descent, such as those before and after a training.

    python -m mytalk_training.loop.average MODEL MODEL -o OUT
    python -m mytalk_training.loop.average MODEL MODEL -o OUT --part refiner --shares 0.4 0.6

At a rate that has not fallen yet the weights wander about a better place, and what is learned at last costs
some of what was learned before: the mean is better than either. Models that were trained apart have none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.checkpoint.pretrained import PretrainedModel
from mytalk_core.models.parts import PARTS
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.program import in_one_line

AVERAGED: dict[str, type[PretrainedModel]] = {
    name: kind for name, kind in PARTS.items() if issubclass(kind, PretrainedModel) and name != "space"
}
# How a part's network is trained or used, and not what its weights mean.
MAY_DIFFER = {
    "motion": ("dropout", "attention_dropout"),
    "sync": ("dropout",),
    "refiner": ("references",),
}


def mean_of(
    models: Sequence[PretrainedModel], shares: Sequence[float], may_differ: Sequence[str] = ()
) -> PretrainedModel:
    """The first of some networks with the mean of all their weights, in float32; shares: of each, above 0;
    may_differ: fields of their configs.

    Raises ValueError where they differ in their sizes, or in what their weights mean.
    """
    mean, total = models[0].float(), float(sum(shares))
    weights = {name: torch.zeros_like(value).double() for name, value in mean.state_dict().items()}
    for model, share in zip(models, shares, strict=True):
        pairs = zip(vars(model.config).items(), vars(mean.config).values(), strict=True)
        differ = [
            f"{name} {theirs}, not {first}"
            for (name, theirs), first in pairs
            if theirs != first and name not in may_differ
        ]
        if differ:
            raise ValueError(f"networks of one kind were required; one has {'; '.join(differ)}")
        own = model.state_dict()
        weights = {name: weights[name] + share / total * value for name, value in own.items()}
    mean.load_state_dict(weights)
    return mean


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    add = parser.add_argument
    add(
        "models",
        nargs="+",
        metavar="MODEL",
        help="mini, or a folder that has the part, and space/ for motion",
    )
    add("--part", choices=list(AVERAGED), default="motion", help="what of them is averaged")
    add("--shares", type=float, nargs="+", help="of each model in the mean; left out: all the same")
    add("-o", "--out", type=Path, required=True, help="folder that gets the part, and space/ with motion")
    args = parser.parse_args()
    shares = args.shares or [1.0] * len(args.models)
    if len(shares) != len(args.models) or min(shares) <= 0:
        raise ValueError(
            f"--shares needs a number above 0 for each of {len(args.models)} models; got {shares}"
        )
    space = _one_space(args.models) if args.part == "motion" else None
    networks = [AVERAGED[args.part].from_pretrained(model, args.part) for model in args.models]
    mean = mean_of(networks, shares, MAY_DIFFER.get(args.part, ()))
    mean.save_pretrained(args.out / args.part, torch.float16)
    if space is not None:
        space.save_pretrained(args.out / "space")


def _one_space(models: Sequence[str]) -> LandmarkSpace:
    """The landmark space of all of some models. Raises ValueError where they have several."""
    first, *others = (LandmarkSpace.from_pretrained(model, "space") for model in models)
    apart = [
        model
        for model, space in zip(models[1:], others, strict=True)
        if not torch.equal(space.lower_basis, first.lower_basis)
    ]
    if apart:
        raise ValueError(f"one landmark space for all was required; {', '.join(apart)} differ from the first")
    return first


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.loop.average"))
