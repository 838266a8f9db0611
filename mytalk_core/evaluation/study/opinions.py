"""What the participants of a study said: their CSV files and the key -> means with confidence intervals."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...json_text import read_object
from ..extra import evaluation_extra
from ..markdown import escaped
from .site import COLUMNS, KEY_FORMAT, RATINGS

CONFIDENCE = 0.95
SCALE = range(1, 6)


@dataclass(frozen=True)
class Opinion:
    """One participant's ratings of one video, 1 to 5, in the order of `RATINGS`."""

    participant: str
    system: str
    clip: str
    values: tuple[int, ...]


@dataclass(frozen=True)
class Estimate:
    """Mean over participants; half: half the width of its confidence interval, None for one participant."""

    mean: float
    half: float | None


@dataclass(frozen=True)
class SystemOpinion:
    """A system's estimates in the order of `RATINGS`, and how many participants and ratings stand behind."""

    estimates: tuple[Estimate, ...]
    participants: int
    videos: int


def read_key(path: Path) -> dict:
    """The key that `write_site` wrote. Raises: FileNotFoundError; ValueError for another file."""
    try:
        key = read_object(path)
    except ValueError:
        key = {}
    videos = key.get("videos")
    whole = isinstance(videos, dict) and all(
        isinstance(video, dict) and all(isinstance(video.get(part), str) for part in ("system", "clip"))
        for video in videos.values()
    )
    if (
        key.get("format") != KEY_FORMAT
        or not whole
        or not all(isinstance(key.get(part), str) for part in ("study", "title"))
    ):
        raise ValueError(f"{path} is not a study's key (mytalk study writes SITE.key.json beside the site)")
    return key


def read_opinions(paths: Iterable[Path], key: dict) -> tuple[list[Opinion], int]:
    """All ratings in the files, and how many videos did not play and so have none.

    Raises: FileNotFoundError; ValueError naming file and line for a file of another study, a damaged one, or
    a participant that is there twice.
    """
    opinions: list[Opinion] = []
    unrated = 0
    owners: dict[str, Path] = {}
    for path in paths:
        read, skipped = read_file(path, key)
        unrated += skipped
        for participant in sorted({opinion.participant for opinion in read}):
            if participant in owners:
                raise ValueError(
                    f"participant {participant} is in both {owners[participant]} and {path}: keep the "
                    "later file"
                )
            owners[participant] = path
        opinions += read
    return opinions, unrated


def read_file(path: Path, key: dict) -> tuple[list[Opinion], int]:
    """One file's ratings and how many videos did not play. Raises as `read_opinions`."""
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a results file of the study page ({error})") from error
    if not rows or tuple(rows[0]) != COLUMNS:
        raise ValueError(
            f"{path} is not a results file of the study page: its first line must be {','.join(COLUMNS)}"
        )
    opinions, unrated, seen = [], 0, set()
    for number, row in enumerate(rows[1:], 2):
        try:
            opinion = read_row(row, key)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if opinion is None:
            unrated += 1
            continue
        if (opinion.participant, row[3]) in seen:
            raise ValueError(f"{path}, line {number}: {opinion.participant} has rated {row[3]} before")
        seen.add((opinion.participant, row[3]))
        opinions.append(opinion)
    if not opinions:
        raise ValueError(f"{path} has no rating in it: leave it out")
    return opinions, unrated


def read_row(row: list[str], key: dict) -> Opinion | None:
    """One line; None where the video did not play. ValueError saying what is wrong with it."""
    if len(row) != len(COLUMNS):
        raise ValueError(f"{len(COLUMNS)} columns were required, {len(row)} arrived: the file is damaged")
    cells = dict(zip(COLUMNS, row, strict=True))
    if cells["study"] != key["study"]:
        raise ValueError(f"these are ratings of study {cells['study']}; the key is of study {key['study']}")
    if not cells["participant"].strip():
        raise ValueError("no participant is named: the file is damaged")
    if cells["video"] not in key["videos"]:
        raise ValueError(f"no video {cells['video']} in the key's study")
    given = [cells[rating.key] for rating in RATINGS]
    if not any(given):
        return None
    for rating, text in zip(RATINGS, given, strict=True):
        if not (text.isdecimal() and int(text) in SCALE):
            raise ValueError(f"{rating.key} must be 1 to 5; got {text!r}")
    named = key["videos"][cells["video"]]
    values = tuple(int(text) for text in given)
    return Opinion(cells["participant"], named["system"], named["clip"], values)


def summarise(opinions: list[Opinion]) -> dict[str, SystemOpinion]:
    """System -> its estimates.

    The unit is the participant: ratings of one person are averaged first, since they are not independent, and
    the interval is Student's t over those averages.
    """
    result = {}
    for system in sorted({opinion.system for opinion in opinions}):
        own: dict[str, list[tuple[int, ...]]] = {}
        for opinion in opinions:
            if opinion.system == system:
                own.setdefault(opinion.participant, []).append(opinion.values)
        means = np.array([np.mean(values, axis=0) for values in own.values()])
        estimates = tuple(estimate(means[:, column]) for column in range(len(RATINGS)))
        result[system] = SystemOpinion(estimates, len(own), sum(len(values) for values in own.values()))
    return result


def estimate(values: np.ndarray) -> Estimate:
    """Mean of one value a participant (n,) and its Student's t interval."""
    count = len(values)
    if count < 2:
        return Estimate(float(values.mean()), None)
    half = student_quantile(count - 1) * values.std(ddof=1) / math.sqrt(count)
    return Estimate(float(values.mean()), float(half))


def student_quantile(degrees: int, confidence: float = CONFIDENCE) -> float:
    """t with P(|T| <= t) = confidence for Student's distribution with `degrees` >= 1 of freedom.

    Raises ValueError where scipy is not installed.
    """
    # Importing it takes as long as importing torch.
    with evaluation_extra("a confidence interval"):
        from scipy.stats import t
    return float(t.interval(confidence, degrees)[1])


def markdown(summary: dict[str, SystemOpinion], title: str, unrated: int = 0) -> str:
    """The table: a row a system, the best mean of each rating in bold."""
    lines = [
        f"# {escaped(title)}: opinions of the participants",
        "",
        "| system | " + " | ".join(f"{rating.title} ↑" for rating in RATINGS) + " | participants | videos |",
        "|---|" + "---|" * (len(RATINGS) + 2),
    ]
    best = [max(part.estimates[column].mean for part in summary.values()) for column in range(len(RATINGS))]
    for system, part in summary.items():
        cells = []
        for value, top in zip(part.estimates, best, strict=True):
            text = f"{value.mean:.2f}" + ("" if value.half is None else f" ± {value.half:.2f}")
            cells.append(f"**{text}**" if value.mean == top and len(summary) > 1 else text)
        lines.append(f"| {escaped(system)} | {' | '.join(cells)} | {part.participants} | {part.videos} |")
    lines += [
        "",
        "Ratings 1 to 5. ± is half of the 95 % confidence interval (Student's t, the participant as the "
        "unit: each one's ratings of a system are averaged first)."
        + (
            " One participant alone has no interval."
            if any(p.participants < 2 for p in summary.values())
            else ""
        ),
    ]
    if unrated:
        lines.append(f"{unrated} showings of a video that did not play are left out.")
    return "\n".join(lines) + "\n"
