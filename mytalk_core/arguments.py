"""How every program shows its options."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

FACE_HELP = (
    "whose: largest, left, right, a number (0 is the largest), X,Y (the face nearest to that pixel; "
    "X,Y@SECONDS at that time), mask:FILE (a picture or video with the face painted white), photo:FILE (a "
    "picture of the person), or speaking (whose mouth fits the video's own sound)"
)
RECOGNITION_HELP = (
    "weights of face recognition, by which people are told apart: SFace's "
    "face_recognition_sface_2021dec.onnx of the OpenCV Zoo"
)
VIDEO_HELP = "a video with a visible face, a picture, a series f_%%04d.png, or a folder of pictures"


class DefaultsHelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Ends an option's help with its default, where it takes a value and has one without being given."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if action.nargs == 0 or default is None or default == []:
            return action.help
        if isinstance(default, (list, tuple)):
            return f"{action.help} (default: {' '.join(map(str, default))})"
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line, and takes no empty path; so do the parsers of its subcommands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # For every argument of type=Path.
        self.register("type", Path, some_path)

    def error(self, message: str) -> NoReturn:
        """End the program with the line and code 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def some_path(text: str) -> Path:
    """A path as an option's type. Raises ArgumentTypeError for an empty one, as of a variable that is not
    set, which Path takes for the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("a path was required, but it is empty")
    return Path(text)


def at_least(least: int) -> Callable[[str], int]:
    """An option's type: whole numbers from `least` on; it raises ArgumentTypeError for anything else."""

    def whole_number(text: str) -> int:
        with contextlib.suppress(ValueError):
            if int(text) >= least:
                return int(text)
        raise argparse.ArgumentTypeError(f"a whole number, {least} or more, was required; got {text!r}")

    return whole_number


def parse_frame_rate(text: str) -> Fraction:
    """Frames a second: "24", "29.97" or "30000/1001". Raises ValueError for anything else."""
    above, slash, below = text.partition("/")
    try:
        value = float(above) / float(below) if slash else float(above)
        # What is finite as a float is no fraction of a billion digits.
        if math.isfinite(value) and value > 0:
            return Fraction(above) / Fraction(below) if slash else Fraction(above)
    except (ValueError, ZeroDivisionError):
        pass
    raise ValueError(f"a frame rate such as 24 or 30000/1001 was required; got {text!r}")


def add_frame_rate(parser: argparse.ArgumentParser) -> None:
    """`--frame-rate`, for a source that has none of its own."""
    parser.add_argument(
        "--frame-rate",
        type=frame_rate,
        help="frames a second of a series or folder of pictures, such as 24 or 30000/1001; else 25",
    )


def frame_rate(text: str) -> Fraction:
    """`parse_frame_rate` as an option's type. Raises ArgumentTypeError."""
    try:
        return parse_frame_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
