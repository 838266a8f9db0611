"""The `mytalk` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from .. import __version__
from . import benchmark, evaluate, info, landmarks, prepare, study, sync, weights


def main(argv: list[str] | None = None) -> int:
    """Run a command; the exit code, as `in_one_line` makes it."""
    args = _parser().parse_args(argv)
    return in_one_line(lambda: args.run(args))


def in_one_line(command: Callable[[], None]) -> int:
    """Run a program; the exit code. A user's mistake is one line on stderr and code 1; Ctrl-C is code 130."""
    try:
        command()
    except KeyboardInterrupt:
        print("mytalk: interrupted; nothing was written", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        message = error if not isinstance(error, OSError) or error.strerror is None else _os_line(error)
        print(f"mytalk: {message}", file=sys.stderr)
        return 1
    return 0


def _os_line(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mytalk",
        description="Lip-sync a talking video to any speech; everything but the mouth stays.",
        epilog="example:\n  mytalk sync talk.mp4 speech.wav -o out.mp4\n\n'mytalk COMMAND --help' has more.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"mytalk {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (sync, landmarks, benchmark, evaluate, info, prepare, study, weights):
        command.add(commands)
    return parser
