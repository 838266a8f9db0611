"""Whom a run learns from: people, never clips of them, are kept apart for its figures.

By their order where a dataset is whole, so that parts of it are equal and few people suffice (`hold_out`); by
their names alone where people may be added between two runs (`held_people`). A run writes down whom it has
learned from, which others' people may join before it goes on.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol, TypeVar

from mytalk_core.files import write_text

PEOPLE_NAME = "people.json"
# Clips kept from training that a run looks at: one process does, at every save, and the others wait for it.
VALIDATED = 64


class PersonClip(Protocol):
    """A clip of whatever kind, of a named person."""

    @property
    def identity(self) -> str: ...


AnyClip = TypeVar("AnyClip", bound=PersonClip)


def hold_out(
    clips: list[AnyClip], every: int = 16, first: int | None = None
) -> tuple[list[AnyClip], list[AnyClip]]:
    """Split by person: every `every`-th person (in order of name) is kept from training, from the `first` on,
    by default one in the middle."""
    people = sorted({clip.identity for clip in clips})
    held = set(people[every // 2 if first is None else first :: every])
    return [c for c in clips if c.identity not in held], [c for c in clips if c.identity in held]


def choose_few(clips: list[AnyClip], count: int) -> list[AnyClip]:
    """The first `count` clips, of as many people as there are; ValueError if there are fewer clips."""
    if not 1 <= count <= len(clips):
        raise ValueError(f"--overfit must be 1 ... {len(clips)}, the number of clips; got {count}")
    before, turns = Counter[str](), []
    for clip in clips:
        turns.append(before[clip.identity])
        before[clip.identity] += 1
    # A person's second clip comes after everyone's first.
    order = sorted(range(len(clips)), key=turns.__getitem__)
    return [clips[i] for i in order[:count]]


def held_people(people: Iterable[str], share: float) -> set[str]:
    """About a share of the people, by their names only: who is kept from training stays so whoever joins.

    Raises ValueError where that is everybody.
    """
    everybody = set(people)
    held = {person for person in everybody if zlib.crc32(person.encode()) < share * 2**32}
    if everybody and held == everybody:
        raise ValueError(
            f"{', '.join(sorted(held))}: by their names these are kept from training, and nobody is left to "
            "learn from: prepare clips of more people"
        )
    return held


def write_people(run: Path, people: Iterable[str]) -> None:
    """Say in a run's folder whom it learns from."""
    write_text(run / PEOPLE_NAME, json.dumps(sorted(set(people)), indent=1, ensure_ascii=False) + "\n")


def read_people(run: Path) -> frozenset[str]:
    """Whom a run has learned from. Raises FileNotFoundError where it does not say."""
    return frozenset(json.loads((run / PEOPLE_NAME).read_text(encoding="utf-8")))
