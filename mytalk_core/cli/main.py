"""The `mytalk` command."""

from __future__ import annotations

import argparse
import atexit
import gc
import os

from .. import __version__
from ..arguments import Parser
from ..memory import share_heap
from ..program import in_one_line
from . import batch, benchmark, evaluate, info, landmarks, study, sync, training, weights


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code, as `in_one_line` makes it."""
    args = _parser().parse_args(argv)
    # PyTorch's threads, loaded later, would spin between small operations: twice the processor time, and on
    # shared cores a longer wait.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    share_heap()
    # Else the interpreter, as it ends, walks all that was imported once more.
    atexit.register(gc.freeze)
    return in_one_line(lambda: args.run(args), "mytalk")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="mytalk",
        description="Lip-sync a talking video to any speech; everything but the mouth stays.",
        epilog="example:\n  mytalk sync talk.mp4 speech.wav -o out.mp4\n\n'mytalk COMMAND --help' has more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mytalk {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (sync, batch, landmarks, benchmark, evaluate, info, training, study, weights):
        command.add(commands)
    return parser
