"""`mytalk batch`: many videos, by several workers, each video once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..arguments import DefaultsHelpFormatter
from ..collector import collector_paused
from .sync import add_options, settings_of

if TYPE_CHECKING:
    from ..pipeline.batch import Engine, Loading
    from ..pipeline.jobs import Job

ENGINES = ("local", "ray")


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    batch = commands.add_parser(
        "batch",
        help="make many videos' lips follow their speeches",
        description="Makes every video of a list, several at a time, and beside each a report\n"
        "NAME.mp4.json. Run again with the same folder to go on where it stopped: what is done stays, what\n"
        "failed is tried again, what is asked for otherwise is made anew.",
        epilog="a list is CSV with a header, or JSON lines; its columns are video, speech, output (else the\n"
        "video's name, .mp4), and of the options below those of one video: sync_mode, frame_rate, face,\n"
        "steps, guidance, sampler, temperature, expression, manner,\n"
        "emotion_strength, seed, codec, crf. As in\n\n"
        "  video,speech,output,sync_mode\n  a.mp4,hello.wav,hello_a.mp4,\n  b.mov,hello.wav,,loop\n\n"
        "Its paths are relative to itself. An empty cell takes the option given here.",
        formatter_class=_ListHelpFormatter,
    )
    batch.set_defaults(run=run)
    batch.add_argument("list", type=Path, help="a .csv or .jsonl file, or a folder of videos")
    batch.add_argument(
        "speeches",
        type=Path,
        nargs="?",
        help="with a folder of videos: a folder of files of the same names, or one file that all say",
    )
    batch.add_argument(
        "-o", "--output", type=Path, required=True, help="folder of the results, made if missing"
    )
    batch.add_argument(
        "--engine",
        default="local",
        choices=ENGINES,
        help="local: processes of this machine; ray: workers on a Ray cluster that sees the same files",
    )
    batch.add_argument(
        "--workers",
        type=int,
        help="videos at a time, each about 1.5 GB at 1080p; else as many as there are cards, or cores, or as "
        "memory holds",
    )
    batch.add_argument("--threads", type=int, help="that each worker keeps busy; else the cores' share")
    add_options(batch)


class _ListHelpFormatter(DefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the sample list."""


def run(args: argparse.Namespace) -> None:
    """Do what is not done yet, say how each went, and end with a line if any failed."""
    with collector_paused():
        from ..face.choice import seen_from
        from ..pipeline.batch import run_batch
        from ..pipeline.jobs import read_jobs

    for name in ("workers", "threads"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ValueError(f"--{name} must be 1 or more; got {value}")
    # Workers elsewhere look from elsewhere.
    args.emotion = None if args.emotion is None else args.emotion.resolve()
    args.face = seen_from(Path.cwd(), args.face)
    jobs = read_jobs(args.list, args.speeches, args.output, settings_of(args))
    loading = _loading(args)
    made_by = loading.made_by
    todo = [job for job in jobs if not job.is_done(made_by)]
    failed = []
    if todo:
        engine, loading, workers = _engine(args, loading, todo)
        for number, (job, outcome) in enumerate(run_batch(todo, engine, loading, workers), 1):
            place = f"[{number}/{len(todo)}]"
            if outcome.error is not None:
                failed.append(f"{job.where}: {outcome.error}")
                print(f"{place} {job.output.name}: failed", flush=True)
                continue
            print(f"{place} {job.output.name}: {outcome.frames} frames, {outcome.edited} edited", flush=True)
            for warning in outcome.warnings:
                print(f"mytalk: note: {job.output.name}: {warning}", file=sys.stderr)
    made = len(todo) - len(failed)
    print(f"{args.output}: {made} made, {len(jobs) - len(todo)} were there, {len(failed)} failed")
    for line in failed:
        print(f"  {line}")
    if failed:
        raise ValueError(f"{len(failed)} of {len(jobs)} videos failed: run again to try them again")


def _loading(args: argparse.Namespace) -> Loading:
    from ..checkpoint.pretrained import own_folder
    from ..pipeline.batch import Loading

    weights = None if args.recognition is None else str(args.recognition.resolve())
    model = str(own_folder(args.model) or args.model)
    return Loading(model, args.revision, args.renderer, args.device, args.dtype, weights)


def _engine(args: argparse.Namespace, loading: Loading, todo: Sequence[Job]) -> tuple[Engine, Loading, int]:
    """The engine, what its workers load, and how many there are to be."""
    from dataclasses import replace

    import torch

    from ..media.threads import available_cores
    from ..pipeline.batch import workers_here
    from ..pipeline.device import choose_device, choose_dtype
    from ..pipeline.processes import Processes

    if args.engine == "ray":
        from ..pipeline.ray_cluster import RayCluster

        # Its nodes may have cards where this machine has none.
        cluster = RayCluster(cuda=args.device.startswith("cuda"))
        loading = replace(loading, threads=args.threads or 1)
        return cluster, loading, args.workers or cluster.room(loading.threads)
    device = choose_device(args.device)
    choose_dtype(args.dtype, device)
    cards = torch.cuda.device_count() if device.type == "cuda" and device.index is None else 0
    workers = min(len(todo), args.workers or workers_here(len(todo), cards))
    threads = args.threads or max(1, available_cores() // workers)
    return Processes(cards), replace(loading, threads=threads), workers
