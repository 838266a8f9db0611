"""Fit how faces that speak differ from person to person (`mytalk_core/motion/emotion.py`).

    python -m mytalk_training.motion.fit_people DATASET -o OUT

The mean shapes in a dataset that `dataset.prepare` wrote, one a person and its mirror image, as principal
components.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.face.alignment import UNITS
from mytalk_core.motion.emotion import People
from mytalk_core.motion.person import Person
from mytalk_core.program import in_one_line

from .data import RawClip, mirrored, read_clips

COMPONENTS = 20


def fit(clips: Iterable[RawClip], components: int = COMPONENTS) -> People:
    """The people of some clips, all in one layout. Raises ValueError for fewer people than components."""
    shapes: dict[str, list[np.ndarray]] = {}
    layout = "mesh478"
    for clip in clips:
        shapes.setdefault(clip.identity, []).append(mean_shape(clip))
        layout = clip.layout
    if len(shapes) <= components:
        raise ValueError(f"more than {components} people were required, but {len(shapes)} arrived")
    rests = np.stack([np.mean(own, 0) for own in shapes.values()]).astype(np.float64)
    return principal(rests, layout, components)


def mean_shape(clip: RawClip) -> np.ndarray:
    """(N,3) canonical units, over the frames that show the face."""
    return clip.rest + clip.displacement[clip.present].mean(0) * clip.mouth_width


def principal(rests: np.ndarray, layout: str, components: int) -> People:
    """Mean and principal differences of shapes (P,N,3) canonical units."""
    centre = np.array([UNITS / 2, 0, 0])
    both = np.concatenate([rests, mirrored(rests - centre, layout) + centre])
    mean = both.mean(0)
    apart = (both - mean).reshape(len(both), -1) / Person(mean, layout).mouth_width
    _, size, differences = np.linalg.svd(apart, full_matrices=False)
    scaled = differences[:components] * (size[:components, None] / np.sqrt(len(both)))
    return People(mean.astype(np.float32), scaled.reshape(-1, *mean.shape).astype(np.float32))


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder that dataset.prepare wrote")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of people.safetensors")
    parser.add_argument("--components", type=int, default=COMPONENTS, help="principal differences to keep")
    args = parser.parse_args()
    people = fit(read_clips(args.dataset, "mesh478"), args.components)
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(
        {"mean": people.mean, "differences": people.differences},
        args.out / "people.safetensors",
    )
    spread = np.linalg.norm(people.differences, axis=-1).mean(-1)
    print(f"{args.out}: components move points by {', '.join(f'{s:.3f}' for s in spread)} mouth widths")


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.motion.fit_people"))
