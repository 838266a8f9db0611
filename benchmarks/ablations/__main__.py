"""Tables 5, 6 and 7 at small size: every variant is one flag of a training program, all else being equal.

    python benchmarks/ablations TRAIN VAL --work FOLDER -o benchmarks/results/ablations.md

TRAIN and VAL are folders that mytalk_training.dataset.prepare wrote, with crops for Table 7, or --pictures
names two others that have them. FOLDER keeps weights and figures of every variant, so that an interrupted run
goes on where it stopped, and more seeds add to what is there.
"""

from __future__ import annotations

import argparse
import datetime
import os
from pathlib import Path

import appearance_variants
import numpy as np
from appearance_variants import TABLE_7, PictureVariant
from motion_scores import NAMES, SECONDS
from motion_variants import PROCESS, TABLE_5, TABLE_6, VARIANTS, Variant, score
from mytalk_training.dataset.shards import ShardDataset
from report import Column, Row, agreement, table

from mytalk_core.evaluation.metric import METRICS
from mytalk_core.evaluation.networks.metric_networks import Networks, find_networks

ALL = [variant.name for variant in VARIANTS]
COLUMNS = [
    Column("sync_distance", "Sync distance, our expert ↓", 3, "Sync_dist ↓"),
    Column("identity", "identity cosine of landmarks ↑", 4, "ID_sim ↑"),
    Column("r", "r of the opening ↑"),
    Column("velocity", "velocity error, %/s ↓", 2),
    Column("spread", "spread", 2),
]
PICTURE_COLUMNS = [
    Column("psnr", "PSNR in the mask, dB ↑", 2, "PSNR ↑"),
    Column("fid", "FID ↓", 2, "FID ↓"),
    Column("lpips", "LPIPS in the mask ↓", 4),
]
OTHER_METRICS = frozenset(metric.key for metric in METRICS) - {"fid_face", "lpips_vgg_face"}
AMPLITUDE = "Velocity errors and the size of the movement go together: read them beside the spread."


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for weights, figures and features")
    parser.add_argument("--model", default="mini", help="its identity extractor, speech encoder and expert")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="motion variants, of " + ", ".join(ALL))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--motion-steps", type=int, default=250)
    parser.add_argument("--motion-batch", type=int, default=16)
    parser.add_argument("--motion-frames", type=int, default=75)
    parser.add_argument("--motion-width", type=int, default=96)
    parser.add_argument("--motion-layers", type=int, default=3)
    parser.add_argument("--motion-lr", type=float, default=1e-3)
    parser.add_argument("--no-pictures", action="store_true", help="leave Table 7 out")
    parser.add_argument(
        "--pictures", type=Path, nargs=2, metavar=("TRAIN", "VAL"), help="for Table 7; else the same folders"
    )
    parser.add_argument("--lpips", type=Path, help="for Table 7: what mytalk_training.convert.lpips wrote")
    parser.add_argument("--picture-size", type=int, default=128)
    parser.add_argument("--picture-frames", type=int, default=400, help="that are scored")
    parser.add_argument("--picture-width", type=int, default=16)
    parser.add_argument("--picture-steps", type=int, default=200)
    parser.add_argument("--picture-batch", type=int, default=8)
    parser.add_argument("--picture-lr", type=float, default=2e-3)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    args.pictures = args.pictures or (args.train, args.val)
    return args


def motion_row(variant: Variant, args: argparse.Namespace) -> Row:
    """A variant's figures by clip, means over the seeds."""
    runs = [score(variant, seed, args) for seed in range(args.seeds)]
    scores = {
        name: np.mean([[getattr(row, name) for row in run.values()] for run in runs], axis=0)
        for name in NAMES
    }
    paper = dict(zip(("sync_distance", "identity"), variant.paper, strict=True)) if variant.paper else {}
    return Row(variant.label, scores, paper)


def motion_section(title: str, variants: tuple[Variant, ...], rows: dict[str, Row], says: str) -> list[str]:
    """A table with its heading, and whether it agrees."""
    chosen = [rows[variant.name] for variant in variants if variant.name in rows]
    if len(chosen) < 2:
        return ["", f"## {title}", "", "Left out of this run."]
    lines = ["", f"## {title}", "", *table(chosen, COLUMNS), ""]
    if any(row.paper for row in chosen[1:]):
        return [*lines, f"{says} Here: {agreement(chosen, COLUMNS)}"]
    return [*lines, says]


def picture_row(variant: PictureVariant, args: argparse.Namespace, networks: Networks) -> Row:
    """A variant's figures by frame, means over the seeds."""
    runs = [appearance_variants.score(variant, seed, args, networks) for seed in range(args.seeds)]
    scores = {name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]}
    return Row(variant.label, scores, variant.paper)


def picture_section(args: argparse.Namespace) -> list[str]:
    """Table 7 with its heading, and whether it agrees."""
    networks = find_networks(skip=OTHER_METRICS)
    rows = [picture_row(variant, args, networks) for variant in TABLE_7]
    columns = [column for column in PICTURE_COLUMNS if column.key in rows[0].scores]
    return [
        "",
        "## Table 7: references of the appearance generator",
        "",
        f"The three-encoder generator at width {args.picture_width}, {args.picture_size} px, one block a "
        f"level, {args.picture_steps} steps of {args.picture_batch} frames of "
        f"{len(ShardDataset.open(args.pictures[0]))} clips, L1 (inside the mask once more), KL"
        f"{' and LPIPS' if args.lpips else ''}, no discriminator; scored on {args.picture_frames} frames, ± "
        "over frames. Outside the mask the pixels are the true ones.",
        *(["", *networks.absent] if networks.absent else []),
        "",
        *table(rows, columns),
        "",
        "The paper finds masked references better than whole ones, and three better than one. "
        f"Here: {agreement(rows, columns)}",
    ]


def main() -> None:
    args = parse()
    rows = {}
    for variant in (v for v in VARIANTS if v.name in (args.only or ALL)):
        rows[variant.name] = motion_row(variant, args)
        print(variant.label, {key: round(float(v.mean()), 4) for key, v in rows[variant.name].scores.items()})
    trained, scored = (len(ShardDataset.open(folder)) for folder in (args.train, args.val))
    lines = [
        "# Ablations at small size",
        "",
        f"{datetime.date.today()}, {os.cpu_count()}-core CPU. `python benchmarks/ablations`. Motion: width "
        f"{args.motion_width}, {args.motion_layers} layers, {args.motion_steps} steps of {args.motion_batch} "
        f"windows of {args.motion_frames} frames, {trained} training clips, {args.seeds} seeds; scored on "
        f"{scored} clips of other people, at most {SECONDS} s of each. In brackets: the mean difference to "
        "the first row ± its standard error over clips. The paper's figures are of larger networks, trained "
        "on 148 hours and judged by SyncNet and ArcFace: only signs can be compared.",
        *motion_section(
            "Table 5: how the denoiser is told of the person",
            TABLE_5,
            rows,
            "The paper finds the identity embedding best in both figures.",
        ),
        *motion_section(
            "Table 6: identity loss",
            TABLE_6,
            rows,
            "The paper finds that the loss raises likeness, and that twice its weight costs lip sync.",
        ),
        *motion_section("Diffusion against regression", PROCESS, rows, AMPLITUDE),
        *(["", "Table 7 left out: --no-pictures."] if args.no_pictures else picture_section(args)),
    ]
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
