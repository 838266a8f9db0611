"""Samples a second of every training program at the bundled model's sizes, and the share of time it waits for
data, with and without processes that draw ahead. Writes a Markdown table.

    python benchmarks/training_speed.py DATASET MOUTHS --work FOLDER -o benchmarks/results/training_speed.md

DATASET is a folder that mytalk_training.dataset.prepare wrote, with crops; MOUTHS one that
mytalk_training.refiner.prepare wrote; FOLDER keeps the runs and speech features. Figures are of the second
half of each run's steps.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from tables import table_head, table_row

from mytalk_core.checkpoint.pretrained import resolve_folder

WORKERS = (0, 1)


@dataclass(frozen=True)
class Program:
    """name: of mytalk_training.NAME; what: the table's words for a sample; flags: beside the defaults;
    mouths: it reads these, not the dataset."""

    name: str
    what: str
    steps: int
    flags: tuple[str, ...] = ()
    mouths: bool = False


def programs(work: Path, perceptual: Path | None) -> list[Program]:
    """All of them; the paper's generator at 128 px and a quarter of its width where there is no GPU."""
    spoken = ("--features", str(work / "features"), "--plain")
    identity = ("--identity", str(resolve_folder("mini", "identity")))
    small = ("--size", "128", "--width", "16", "--blocks", "1", "--fusion-width", "64")
    lpips = ("--perceptual", str(perceptual)) if perceptual else ()
    gpu = torch.cuda.is_available()
    return [
        Program("motion.train_identity", "the landmarks of a frame", 400),
        Program("motion.train", "a window of 100 frames", 30, (*spoken, *identity)),
        Program("expert.train", "a window of speech and lips", 30, spoken),
        Program("refiner.train", f"a mouth{', with LPIPS' if lpips else ''}", 20, lpips, mouths=True),
        Program(
            "generator.train",
            f"a frame of the paper's generator{'' if gpu else ', 128 px, width 16'}, and its discriminator",
            20,
            ("--start-discriminator", "0", "--validate", "1", *(() if gpu else small)),
        ),
    ]


def run(program: Program, workers: int, args: argparse.Namespace) -> dict[str, float]:
    """The last logged figures of a fresh run."""
    out = args.work / f"{program.name}-{workers}"
    (out / "log.jsonl").unlink(missing_ok=True)
    for checkpoint in out.glob("checkpoints/*"):
        checkpoint.unlink()
    data = args.mouths if program.mouths else args.dataset
    steps = ["--steps", program.steps, "--save-every", program.steps, "--log-every", program.steps // 2]
    command = [sys.executable, "-m", f"mytalk_training.{program.name}", data, "-o", out, *program.flags]
    subprocess.run([str(part) for part in [*command, *steps, "--workers", workers]], check=True)
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [row for row in rows if row["kind"] == "train"][-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("mouths", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--perceptual", type=Path, help="folder that mytalk_training.convert.lpips wrote")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()}-core CPU"
    figures = [title for n in WORKERS for title in (f"samples/s, {n} workers", "waiting")]
    lines = [
        "# Speed of training",
        "",
        f"{datetime.date.today()}, {machine}, the programs' own batch and precision. "
        "`python benchmarks/training_speed.py`",
        "",
        *table_head(["program", "a sample", *figures]),
    ]
    for program in programs(args.work, args.perceptual):
        found = [run(program, workers, args) for workers in WORKERS]
        cells = [f"{one['samples_per_s']:.1f} | {100 * one['waiting']:.1f} %" for one in found]
        lines.append(table_row([f"train_{program.name}", program.what, *cells]))
        print(lines[-1])
    args.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
