"""The mean of the weights of several motion models of one descent, such as those before and after a training.

    python -m mytalk_training.motion.average MODEL MODEL -o OUT

At a rate that has not fallen yet the weights wander about a better place; their mean is nearer to it. Models
that were trained apart have no mean that speaks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from mytalk_core.arguments import DefaultsHelpFormatter
from mytalk_core.motion.denoiser import MotionDenoiser
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.program import in_one_line

from .models import start_from


def mean_of(sources: Sequence[str | Path]) -> MotionDenoiser:
    """The mean of whole models' denoisers, in float32. Raises ValueError where they differ in their sizes."""
    mean = MotionDenoiser.from_pretrained(sources[0], "motion").float()
    total = {name: value.double() for name, value in mean.state_dict().items()}
    for source in sources[1:]:
        start_from(mean, source)
        total = {name: total[name] + value for name, value in mean.state_dict().items()}
    mean.load_state_dict({name: value / len(sources) for name, value in total.items()})
    return mean


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="MODEL",
        help="mini, or a folder with motion/ and space/",
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder that gets motion/ and space/")
    args = parser.parse_args()
    spaces = [LandmarkSpace.from_pretrained(model, "space") for model in args.models]
    apart = [
        model
        for model, space in zip(args.models, spaces, strict=True)
        if not torch.equal(space.lower_basis, spaces[0].lower_basis)
    ]
    if apart:
        raise ValueError(f"one landmark space for all was required; {', '.join(apart)} differ from the first")
    mean_of(args.models).save_pretrained(args.out / "motion", torch.float16)
    spaces[0].save_pretrained(args.out / "space")


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.motion.average"))
