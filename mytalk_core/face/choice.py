"""How a user says which face is meant: `--face`, `--speaker` and `LipSync.choose` read it here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from .look import Look


@dataclass(frozen=True)
class Place:
    """The face nearest to a point (x_px, y_px) of the frame, at a time or, where None, where each face is
    first seen."""

    x_px: float
    y_px: float
    time_s: float | None = None


@dataclass(frozen=True)
class Mask:
    """The face that is painted over in a picture or video."""

    path: Path


@dataclass(frozen=True)
class Photo:
    """The person of whom this is a picture."""

    path: Path


FILES: dict[str, type[Mask | Photo]] = {"mask:": Mask, "photo:": Photo}
FaceChoice: TypeAlias = str | int | tuple[float, float] | Place | Mask | Photo | Look


def check_choice(which: FaceChoice) -> FaceChoice:
    """What chooses a face, read from what a user gave.

    "largest", "left" or "right" (in the picture); a number or its digits: 0 is the largest face, 1 the next;
    a point (x, y) in frame px, "X,Y" or "X,Y@SECONDS": a `Place`; "mask:FILE": a `Mask`; "photo:FILE": a
    `Photo`; "speaking": whose mouth fits the video's own sound; what is a choice already stays.
    Raises ValueError for anything else, FileNotFoundError for a file that is not there.
    """
    if isinstance(which, tuple):
        return Place(*which)
    if isinstance(which, str):
        which = _read(which)
    named = which in ("largest", "left", "right", "speaking") if isinstance(which, str) else False
    kinds = (Place, Mask, Photo, Look)
    if named or isinstance(which, kinds) or (isinstance(which, int) and which >= 0):
        return which
    raise ValueError(
        "a face is chosen by largest, left, right, speaking, a number from 0, X,Y, mask:FILE or photo:FILE; "
        f"got {which!r}"
    )


def choice_files(which: FaceChoice) -> list[Path]:
    """The files that a choice is read from. Raises as `check_choice`."""
    which = check_choice(which)
    return [which.path] if isinstance(which, (Mask, Photo)) else []


def seen_from(folder: Path, text: str) -> str:
    """A choice as text whose file, if it has one, is relative to a folder: the same from anywhere."""
    for kind in FILES:
        if text.startswith(kind):
            return f"{kind}{(folder / text.removeprefix(kind)).resolve()}"
    return text


def word_of(who: FaceChoice) -> str:
    """A choice as a user writes it."""
    if isinstance(who, Place):
        return f"{who.x_px:g},{who.y_px:g}" + ("" if who.time_s is None else f"@{who.time_s:g}")
    return f"{type(who).__name__.lower()}:{who.path}" if isinstance(who, (Mask, Photo)) else str(who)


def _read(text: str) -> FaceChoice:
    if text.isdecimal() and len(text) < 10:
        return int(text)
    for kind, made in FILES.items():
        if text.startswith(kind):
            path = Path(text.removeprefix(kind))
            if not path.is_file():
                raise FileNotFoundError(f"a picture was required for {text!r}, but {path} does not exist")
            return made(path)
    place, _, time = text.partition("@")
    try:
        x, y = (float(value) for value in place.split(","))
        time_s = float(time) if "@" in text else None
    except ValueError:
        return text
    if not all(math.isfinite(value) for value in (x, y, time_s or 0.0)):
        return text
    return Place(x, y, time_s)
