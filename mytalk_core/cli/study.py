"""`mytalk study`: a blind rating page for videos of several systems, and what its participants said."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..arguments import DefaultsHelpFormatter, UnusedOptions
from ..files import check_outputs, write_text


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command."""
    study = commands.add_parser(
        "study",
        help="write a blind rating page for videos of several systems, or collect its results",
        description="mytalk study FOLDER -o SITE writes the page; mytalk study --collect CSV ... --key KEY "
        "reads the results. FOLDER has one subfolder a system (maybe real), the same file names in each.",
        formatter_class=DefaultsHelpFormatter,
    )
    study.set_defaults(run=run)
    study.add_argument("folder", type=Path, nargs="?", help="one subfolder a system")
    study.add_argument("--systems", nargs="+", metavar="NAME", help="only these subfolders")
    study.add_argument("--title", default="Talking videos", help="shown to the participants")
    study.add_argument("--collect", type=Path, nargs="+", metavar="CSV", help="files that participants sent")
    study.add_argument("--key", type=Path, help="SITE.key.json, which says what each video was")
    study.add_argument(
        "-o", "--output", type=Path, help="the new folder of the site; with --collect the table's file (.md)"
    )
    study.unused += [
        UnusedOptions(
            ("systems", "title"),
            lambda of: of["collect"] is not None,
            "--collect reads a study that is there",
        ),
        UnusedOptions(
            ("key",), lambda of: of["collect"] is None, "a new study's key is written, beside its site"
        ),
    ]


def run(args: argparse.Namespace) -> None:
    """Write the site, or the table."""
    if (args.folder is None) == (args.collect is None):
        raise ValueError("give either a folder of systems or --collect with the participants' CSV files")
    if args.collect is None:
        _write(args)
    else:
        _collect(args)


def _write(args: argparse.Namespace) -> None:
    from ..evaluation.study.site import RATINGS, write_site

    if args.output is None:
        raise ValueError("a study needs -o SITE, the folder of its pages; its key is written beside that")
    site = write_site(args.folder, args.output, args.title, args.systems)
    for note in site.notes:
        print(f"mytalk: note: {note}", file=sys.stderr)
    videos = len(site.systems) * site.clips
    print(f"{site.folder}: {videos} videos ({site.clips} clips of {', '.join(site.systems)})")
    print(f"{site.key}: which is which; keep it, and show it to no participant")
    print(f"each participant gives {videos * len(RATINGS)} ratings")


def _collect(args: argparse.Namespace) -> None:
    from ..evaluation.study.opinions import markdown, read_key, read_opinions, summarise

    if args.key is None:
        raise ValueError("--collect needs --key SITE.key.json, which says what each video was")
    check_outputs({"-o": args.output}, [*args.collect, args.key])
    key = read_key(args.key)
    opinions, unrated = read_opinions(args.collect, key)
    text = markdown(summarise(opinions), key["title"], unrated)
    if args.output is not None:
        write_text(args.output, text)
    print(text, end="")
