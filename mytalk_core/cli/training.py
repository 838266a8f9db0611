"""`mytalk prepare` and `mytalk adapt`: doors to training programs, which the core does not know.

The wheel installs them beside the core as `mytalk_training`; they are looked for when a command is run.
"""

from __future__ import annotations

import argparse
import importlib

# The program behind each command, and what the list of commands says of it.
PROGRAMS = {
    "prepare": (
        "mytalk_training.dataset.prepare",
        "turn a folder of talking videos into a dataset to train on",
    ),
    "adapt": ("mytalk_training.refiner.adapt", "adapt the drawing of lips to one person, on their own video"),
}


def add(commands: argparse._SubParsersAction) -> None:
    """Register the commands; everything behind their names, `--help` too, is read by the program itself."""
    for name, (_, text) in PROGRAMS.items():
        # No argument can begin with the prefix, so none is taken for an option here.
        command = commands.add_parser(name, help=text, prefix_chars="\0", add_help=False)
        command.set_defaults(run=_run, command=name)
        command.add_argument("arguments", nargs=argparse.REMAINDER, help="the program's own")


def _run(args: argparse.Namespace) -> None:
    path, _ = PROGRAMS[args.command]
    home = path.partition(".")[0]
    try:
        program = importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        # Where a part of ours is missing the installation is broken, and says so itself.
        if missing in ("", __name__.partition(".")[0]) or (
            missing == home and error.name not in (path, home)
        ):
            raise
        what = "which are" if missing == home else f"and {missing}, which they need, is"
        raise ValueError(
            f"{args.command} is one of the training programs, {what} not installed beside this copy: "
            'python -m pip install "mytalk[training]", or from a checkout python -m pip install -e '
            '".[training]"'
        ) from error
    program.main(args.arguments, f"mytalk {args.command}")
