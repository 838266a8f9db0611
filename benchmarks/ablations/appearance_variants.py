"""The variants of Tab. 7: which reference pictures the paper's appearance generator is given."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from appearance_scores import judge
from mytalk_training.dataset.shards import ShardDataset
from mytalk_training.generator.data import GeneratorData, read_picture_clips

from mytalk_core.appearance.networks.generator import REFERENCES, AppearanceGenerator
from mytalk_core.evaluation.networks.metric_networks import Networks


@dataclass(frozen=True)
class PictureVariant:
    """references: --references of mytalk_training.generator.train; paper: PSNR and FID as published."""

    references: str
    label: str
    paper: dict[str, float] = field(default_factory=dict)


TABLE_7 = (
    PictureVariant("masked-multi", "ours: three masked references", {"psnr": 34.153, "fid": 4.224}),
    PictureVariant("full-single", "one whole reference", {"psnr": 31.750, "fid": 6.620}),
    PictureVariant("masked-single", "one masked reference", {"psnr": 32.759, "fid": 6.453}),
)


def train(variant: PictureVariant, seed: int, args: argparse.Namespace) -> Path:
    """Train a variant, unless its folder holds it already: the folder of its generator.

    args: pictures, work, lpips, and the sizes picture_*.
    """
    out = args.work / f"{variant.references}-{seed}"
    model = out / "model" / "appearance"
    if not (model / "config.json").exists():
        options = {
            "--references": variant.references,
            "--size": args.picture_size,
            "--width": args.picture_width,
            "--fusion-width": 4 * args.picture_width,
            "--blocks": 1,
            "--steps": args.picture_steps,
            "--batch": args.picture_batch,
            "--lr": args.picture_lr,
            "--warmup": max(1, args.picture_steps // 10),
            "--schedule": "cosine",
            "--ema": 0.99,
            "--mouth-weight": 1,
            "--discriminator-weight": 0,
            "--validate": 16,
            "--save-every": args.picture_steps,
            "--seed": seed,
        }
        if args.lpips:
            options["--perceptual"] = args.lpips
        flags = [str(part) for pair in options.items() for part in pair]
        program = [
            sys.executable,
            "-m",
            "mytalk_training.generator.train",
            str(args.pictures[0]),
            "-o",
            str(out),
        ]
        subprocess.run([*program, *flags], check=True)
    return model


def score(
    variant: PictureVariant, seed: int, args: argparse.Namespace, networks: Networks
) -> dict[str, list[float]]:
    """A trained variant's figures, as `judge` gives them, on frames of args.pictures[1], the same for every
    variant; kept beside its weights."""
    path = args.work / f"{variant.references}-{seed}" / "scores.json"
    if not path.exists():
        generator = AppearanceGenerator.from_pretrained(train(variant, seed, args)).eval()
        shards = ShardDataset.open(args.pictures[1])
        # With room for the most references, so that all variants see the same frames and first reference.
        clips = read_picture_clips(shards, max(REFERENCES.values()))
        data = GeneratorData(shards, clips, generator.config, seed=0, vary=False)
        scores = judge(generator, data, args.picture_frames, networks)
        path.write_text(json.dumps(scores) + "\n")
    return json.loads(path.read_text())
