"""Turn a folder of talking videos into a dataset to train on: tar shards with an index, and a report.

    mytalk prepare FOLDER -o DATASET
    torchrun --nproc_per_node 4 -m mytalk_training.dataset.prepare FOLDER -o DATASET

Each source is cut into shots; each shot with one dominating face, large, sharp and frontal enough, whose lips
and sound belong together, becomes a sample (`filters.py`): KEY.json, KEY.motion.safetensors,
KEY.track.safetensors and crops KEY.000123.jpg (`samples.py`). DATASET/index.jsonl says where each lies
(`shards.py`), report.md what was left out and why. A run that is killed goes on where it stopped when it is
started again. Processes take every n-th source each; the one that finishes last writes index and report.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
from tqdm import tqdm

from mytalk_core.pipeline.device import choose_device
from mytalk_core.program import exit_code, in_one_line

from ..loop.processes import check_launcher, rank_and_count
from .adapters import Source, find_sources, left_out
from .finish import finish
from .journal import Journal, all_entries, journal_path, journalled, locked, repair
from .preparation import DatasetPreparer
from .prepare_options import agree, parse, settings_of
from .shards import ShardWriter


def main(arguments: list[str] | None = None, program: str | None = None) -> None:
    """Run a preparation. Raises ValueError and OSError for a user's mistakes."""
    args = parse(arguments, program)
    check_launcher()
    finished = {entry.key: entry.source for entry in all_entries(args.output)}
    layout, sources = find_sources(args.folder, args.layout, finished)
    wanted = [s for s in sources if s.split is None or s.split in args.splits][: args.limit]
    if not wanted:
        splits = ", ".join(sorted({str(s.split) for s in sources}))
        raise ValueError(f"{args.folder} has no source of --splits {' '.join(args.splits)}: it has {splits}")
    if args.tracks is not None and not args.tracks.is_dir():
        raise FileNotFoundError(f"{args.tracks}: no such folder of tracks; leave --tracks out to track anew")
    settings = settings_of(args, layout)
    agree(args.output, settings)
    process, processes = rank_and_count()
    others = left_out(args.folder, sources) if process == 0 and args.layout == "auto" else 0
    if others:
        print(
            f"note: {args.folder} is read as {layout}, where {others} of its videos have no place: --layout "
            "folder takes all",
            file=sys.stderr,
        )
    preparer = DatasetPreparer(args.folder, settings, _own_device(args.device), args.tracks)
    try:
        with locked(journal_path(args.output, process).with_suffix(".lock")):
            _mend(args.output, process, processes)
            _prepare(args.output, wanted, preparer, process, processes)
    except KeyboardInterrupt as interrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        raise SystemExit(exit_code(interrupt)) from None
    print(finish(args.output, wanted, settings))


def _own_device(name: str) -> torch.device:
    """The device of that name; of several GPUs each process of a machine takes its own."""
    device = choose_device(name)
    if device.type == "cuda" and device.index is None and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    return device


def _mend(output: Path, process: int, processes: int) -> None:
    """Repair what an earlier run left, of as many processes as it may have had."""
    for other in journalled(output):
        if other != process and other % processes == process:
            with locked(journal_path(output, other).with_suffix(".lock")):
                repair(output, other)


def _prepare(
    output: Path, wanted: list[Source], preparer: DatasetPreparer, process: int, processes: int
) -> None:
    """This process's share of the sources that no run has finished."""
    journal = Journal(output, process)
    done = {entry.key for entry in all_entries(output)}
    share = [s for s in wanted[process::processes] if s.key not in done]
    if not share:
        return
    preparer.load_for(share)
    writer = ShardWriter(output, process, journal.offset, preparer.settings.shard_mb << 20)
    started, seconds = time.perf_counter(), 0.0
    for source in tqdm(share, desc="sources", file=sys.stderr, disable=process > 0):
        entry = preparer.prepare(source, writer)
        journal.append(entry)
        seconds += sum(row["seconds"] for row in entry.samples)
    writer.close()
    spent = time.perf_counter() - started
    print(
        f"process {process}: {len(share)} sources, {seconds:.0f} s of samples in {spent:.0f} s "
        f"({seconds / spent:.2f} s a second)"
    )


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.dataset.prepare"))
