"""How every program shows its options."""

from __future__ import annotations

import argparse
import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True)
class UnusedOptions:
    """Options that nothing reads beside what others are.

    names: as in a namespace; where: tells it by the values of all; why: what is missing, for the user.
    """

    names: tuple[str, ...]
    where: Callable[[Mapping[str, Any]], bool]
    why: str

    def check(self, given: Mapping[str, str], values: Mapping[str, Any]) -> None:
        """Raises ValueError for an option that nothing reads. given: the user's words for those that are
        given, by name; values: of all options."""
        for name in self.names:
            if name in given and self.where(values):
                raise ValueError(f"{given[name]}: it does nothing here, for {self.why}: leave it out")


# Of what `mytalk sync` and the rows of a list have.
UNUSED_OF_A_VIDEO = (
    UnusedOptions(
        ("crf",), lambda of: of["codec"] in ("prores", "ffv1", "copy"), "only h264 and vp9 have a crf"
    ),
    UnusedOptions(
        ("emotion_strength",), lambda of: of["emotion"] is None, "there is no emotion (--emotion FILE)"
    ),
)


class Parser(argparse.ArgumentParser):
    """Says a mistake in one line, takes no empty path, and no option that does nothing; so do the parsers of
    its subcommands."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # For every argument of type=Path.
        self.register("type", Path, some_path)
        self.unused: list[UnusedOptions] = []

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """As argparse does, for `parse_args` and a parser above; ends the program for an option that is given
        another value than its default and that nothing reads."""
        parsed, rest = super().parse_known_args(*args, **kwargs)
        values = vars(parsed)
        given = {
            name: "--" + name.replace("_", "-")
            for rule in self.unused
            for name in rule.names
            if values[name] != self.get_default(name)
        }
        try:
            for rule in self.unused:
                rule.check(given, values)
        except ValueError as error:
            self.error(f"argument {error}")
        return parsed, rest

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


def add_model(parser: argparse.ArgumentParser) -> None:
    """Which model, and which revision of one from the Hub."""
    parser.add_argument("--model", default="mini", help="mini, a folder, or hub:OWNER/NAME")
    parser.add_argument("--revision", help="branch, tag or commit of a Hub repository")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where networks compute."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """In what those compute that move and draw."""
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "float16", "bfloat16"],
        help="of motion and drawing; auto: bfloat16 on CUDA, for drawing on CPUs with AMX, too",
    )


def frame_rate(text: str) -> Fraction:
    """`parse_frame_rate` as an option's type. Raises ArgumentTypeError."""
    try:
        return parse_frame_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
