"""`mytalk evaluate`: folders of generated videos against the real ones."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..arguments import DefaultsHelpFormatter, add_device

SLOW = ("lpips_vgg_face", "lpips_vgg_mouth")


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    command = commands.add_parser(
        "evaluate",
        help="score generated videos: picture, lip sync, identity, steadiness",
        description="Videos are paired by file name. The real videos and their re-encoding are scored too: "
        "they show what is possible. Metrics whose weights are not found are left out, with a line.",
        formatter_class=DefaultsHelpFormatter,
    )
    command.set_defaults(run=run)
    command.add_argument("--reference", type=Path, required=True, help="folder of the real videos")
    command.add_argument(
        "--generated",
        action="append",
        required=True,
        metavar="[NAME=]FOLDER",
        help="folder of a system's videos; give it again for each further system",
    )
    command.add_argument("--speech", type=Path, help="folder of what the generated videos speak")
    command.add_argument(
        "--protocol",
        choices=["paired", "unpaired"],
        help="paired: the generated videos speak the real ones' own words; unpaired: other words; by default "
        "unpaired with --speech, else paired",
    )
    command.add_argument("--name", default="Evaluation", help="title of the report")
    command.add_argument("-o", "--output", type=Path, required=True, help="a folder, or a .json file")
    command.add_argument("--weights", help="folder or hub:OWNER/NAME with the metrics' networks")
    command.add_argument(
        "--every",
        type=int,
        default=1,
        help="score the pictures of each N-th frame: quicker, a little noisier",
    )
    command.add_argument("--skip", nargs="*", default=list(SLOW), metavar="KEY", help="metrics to leave out")
    command.add_argument("--cache", type=Path, help="folder that keeps face tracks for the next evaluation")
    command.add_argument(
        "--face", default="largest", help="whose, in the real video: largest, left, 0, 1, ..."
    )
    add_device(command)


def run(args: argparse.Namespace) -> None:
    """Score, write report.json, report.md and report.html, print the table."""
    from ..evaluation.clip_files import pair_files
    from ..evaluation.compare import Scoring
    from ..evaluation.evaluate import Evaluation
    from ..evaluation.metric import check_keys
    from ..evaluation.networks.metric_networks import find_networks
    from ..evaluation.report.page import check_report, write_page
    from ..evaluation.report.report import markdown, write_report
    from ..pipeline.device import choose_device

    paired = args.protocol == "paired" if args.protocol else args.speech is None
    scoring = Scoring(args.every, paired, check_keys(args.skip))
    clips, notes = pair_files(args.reference, _systems(args.generated), args.speech)
    folder = args.output.parent if args.output.suffix == ".json" else args.output
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; a folder or a .json file was required for the report")
    folder.mkdir(parents=True, exist_ok=True)
    check_report(args.output, [file for clip in clips for file in (clip.reference, *clip.generated.values())])
    networks = find_networks(args.weights, scoring.skip, choose_device(args.device))
    evaluation = Evaluation(networks, scoring, folder, args.cache, args.face, title=args.name, notes=notes)
    report = evaluation.run(clips, _show)
    write_page(report, write_report(report, args.output))
    print(markdown(report))


def _systems(texts: list[str]) -> dict[str, Path]:
    """NAME=FOLDER, or a folder whose own name is the system's."""
    systems: dict[str, Path] = {}
    for text in texts:
        name, equals, folder = text.partition("=")
        # A folder may have an equals sign in its name.
        if not equals or not name or "/" in name or Path(text).is_dir():
            folder, name = text, Path(text).resolve().name
        if name in systems or name in ("real", "real, re-encoded"):
            raise ValueError(f"--generated {text}: {name!r} is taken; name the system with NAME=FOLDER")
        systems[name] = Path(folder)
    return systems


def _show(clip: str, system: str, done: int, total: int) -> None:
    print(f"[{done + 1}/{total}] {clip}: {system}", file=sys.stderr, flush=True)
