"""`mytalk prepare`: the door to the training programs' preparation of datasets, which the core does not know.

The wheel installs them beside the core as `mytalk_training`; they are looked for when the command is run.
"""

from __future__ import annotations

import argparse
import importlib

PROGRAM = "mytalk_training.dataset.prepare"


def add(commands: argparse._SubParsersAction) -> None:
    """Register the command; everything behind its name, `--help` too, is read by the program itself."""
    prepare = commands.add_parser(
        "prepare",
        help="turn a folder of talking videos into a dataset to train on",
        # No argument can begin with it, so none is taken for an option here.
        prefix_chars="\0",
        add_help=False,
    )
    prepare.set_defaults(run=_prepare)
    prepare.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own")


def _prepare(args: argparse.Namespace) -> None:
    try:
        program = importlib.import_module(PROGRAM)
    except ModuleNotFoundError as error:
        # Anything else that is missing is a broken installation, and says so itself.
        if error.name not in (PROGRAM, PROGRAM.partition(".")[0]):
            raise
        raise ValueError(
            "prepare is one of the training programs, which are not installed beside this copy: python -m "
            'pip install "mytalk[training]", or from a checkout python -m pip install -e ".[training]"'
        ) from error
    program.main(args.arguments, "mytalk prepare")
