"""Turn a prepared dataset into what the refiner is trained on: frames with their references.

    python -m mytalk_training.refiner.prepare DATASET -o MOUTHS

DATASET is a folder that mytalk_training.dataset.prepare wrote, with crops. Each sample of it gets one file in
MOUTHS; those that are there already are left alone, so an interrupted run goes on where it stopped, and
several datasets may go into one folder, whose clips of one name are told apart by their sound. people.json
tells whose they are.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.files import write_text
from mytalk_core.program import in_one_line

from ..dataset.shards import ShardDataset
from .data import PEOPLE, pack, packed_clip
from .lending import clip_views

FEWEST = 24  # frames of a short sample


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    add = parser.add_argument
    add("dataset", type=Path, help="folder that mytalk_training.dataset.prepare wrote")
    add("-o", "--out", type=Path, required=True, help="folder of the result; what is there already stays")
    add("--per-second", type=float, default=6.0, help="frames taken of each second of video")
    add("--most", type=int, default=120, help="frames taken of one sample of the dataset")
    add("--smallest-face-px", type=float, default=100.0, help="blurred faces teach blur: leave them out")
    add("--seed", type=int, default=0, help="of which frames are taken")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    dataset = ShardDataset.open(args.dataset)
    known = args.out / PEOPLE
    people: dict[str, str] = json.loads(known.read_text()) if known.is_file() else {}
    for number, row in enumerate(tqdm(dataset.samples, desc="samples")):
        if row["face_px"] < args.smallest_face_px:
            continue
        clip = f"{zlib.crc32(dataset.tensors(row, 'motion.safetensors')['speech'].tobytes()):08x}"
        path = args.out / f"{row['key']}.safetensors"
        if path.exists() and packed_clip(path) not in ("", clip):
            # Another dataset's clip of this name.
            path = path.with_stem(f"{row['key']}_{clip}")
        if not path.exists():
            count = int(min(max(row["seconds"] * args.per_second, FEWEST), args.most))
            rng = np.random.default_rng((args.seed, number))
            views = list(clip_views(dataset, row, count, rng))
            if not views:
                continue
            pack(views, path, clip)
        people[path.stem] = row["identity"] or row["key"]
        # After each, so that training may begin on those that are done.
        write_text(known, json.dumps(people, indent=1) + "\n")
    print(f"{args.out}: {len(people)} samples")


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.refiner.prepare"))
