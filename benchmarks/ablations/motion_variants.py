"""The variants of Tab. 5 and 6 and the regression baseline: each a flag of the motion training program."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from motion_scores import Candidate, Judges, MotionFigures, score_clips
from mytalk_training.motion.data import read_clips, with_features
from mytalk_training.motion.kept_features import KeptFeatures

from mytalk_core.checkpoint.pretrained import resolve_folder
from mytalk_core.expert.sync_expert import SyncExpert
from mytalk_core.motion.denoiser import MotionDenoiser
from mytalk_core.motion.identity import IdentityExtractor
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.speech.features import SpeechEncoder


@dataclass(frozen=True)
class Variant:
    """name: of its folder; label: the table's; flags: of mytalk_training.motion.train, all else being equal;
    paper: Sync_dist and ID_sim as published, None for what the paper does not have."""

    name: str
    label: str
    flags: tuple[str, ...] = ()
    paper: tuple[float, float] | None = None


OURS = Variant("ours", "ours: identity embedding, cross-attention; identity loss x 1", (), (6.544, 0.947))
TABLE_5 = (
    OURS,
    Variant("concat", "concat. key landmark", ("--conditioning", "concat-key-landmark"), (6.718, 0.923)),
    Variant("add", "add key landmark", ("--conditioning", "add-key-landmark"), (7.509, 0.932)),
    Variant(
        "attend",
        "key landmark, cross-attention",
        ("--conditioning", "key-landmark-cross-attention"),
        (6.814, 0.914),
    ),
)
TABLE_6 = (
    OURS,
    Variant("no-identity-loss", "w/o identity loss", ("--identity-weight", "0"), (6.598, 0.929)),
    Variant("identity-loss-2", "identity loss x 2", ("--identity-weight", "2"), (7.010, 0.951)),
)
PROCESS = (OURS, Variant("regression", "no diffusion: regression, L1", ("--process", "regression")))
VARIANTS = tuple(dict.fromkeys((*TABLE_5, *TABLE_6, *PROCESS)))


def train(variant: Variant, seed: int, args: argparse.Namespace) -> Path:
    """Train a variant, unless its folder holds it already: the folder of its denoiser.

    args: train, work, model, and the sizes motion_*.
    """
    out = args.work / f"{variant.name}-{seed}"
    model = out / "model" / "motion"
    if not (model / "config.json").exists():
        options = {
            "--identity": resolve_folder(args.model, "identity"),
            "--features": args.work / "features",
            "--steps": args.motion_steps,
            "--batch": args.motion_batch,
            "--frames": args.motion_frames,
            "--width": args.motion_width,
            "--layers": args.motion_layers,
            "--lr": args.motion_lr,
            "--warmup": max(1, args.motion_steps // 4),
            "--save-every": args.motion_steps,
            "--seed": seed,
        }
        flags = [str(part) for pair in options.items() for part in pair]
        program = [sys.executable, "-m", "mytalk_training.motion.train", str(args.train), "-o", str(out)]
        subprocess.run([*program, "--plain", *flags, *variant.flags], check=True)
    return model


def score(variant: Variant, seed: int, args: argparse.Namespace) -> dict[str, MotionFigures]:
    """Figures of a trained variant by clip of args.val; kept beside its weights."""
    path = args.work / f"{variant.name}-{seed}" / "scores.json"
    if path.exists():
        return {name: MotionFigures(**row) for name, row in json.loads(path.read_text()).items()}
    model = train(variant, seed, args)
    denoiser = MotionDenoiser.from_pretrained(model)
    identity = IdentityExtractor.from_pretrained(args.model, "identity")
    candidate = Candidate(denoiser, LandmarkSpace.from_pretrained(model.parent, "space"), identity)
    expert = SyncExpert.from_pretrained(args.model, "sync")
    judges = Judges(identity, expert, LandmarkSpace.from_pretrained(args.model, "space"))
    encoder = SpeechEncoder.from_pretrained(args.model, "speech", layers=denoiser.config.speech_layers)
    kept = KeptFeatures(encoder, args.work / "features")
    rows = score_clips(candidate, judges, with_features(read_clips(args.val), kept))
    path.write_text(json.dumps({name: asdict(row) for name, row in rows.items()}, indent=1) + "\n")
    return rows
