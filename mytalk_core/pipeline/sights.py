"""What is seen of a face in each frame before anything is drawn, in agreement with the frames about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..appearance.covers.cover import Cover
from ..appearance.covers.steady import REACH, agreed
from ..media.patch import Patch
from ..media.picture import Picture


@dataclass(frozen=True, eq=False)
class Face:
    """A face to draw lips on.

    crop: its canonical square, uint8 (S, S, 3); shot: its number; cover: what stands before the mouth;
    source: its landmarks (N, 2) there; seen: bool (256, 256), what of the square lies inside the frame, None
    for all; share: 0..1, how much of the new lips shows.
    """

    crop: np.ndarray
    shot: int
    cover: Cover
    source: np.ndarray
    seen: np.ndarray | None
    share: float


@dataclass(frozen=True, eq=False)
class Sight:
    """A frame of the output before it is drawn: the source's picture under the output's number.

    faces: for each speaker the face to draw on, or what is pasted where nothing must be drawn.
    """

    picture: Picture
    faces: tuple[Face | list[Patch], ...]


# Of a face its shot and its cover, None where there is none to draw on.
Covered = tuple[int, Cover] | None


def in_agreement(sights: Iterable[Sight]) -> Iterator[Sight]:
    """The sights of frames that follow each other, with covers as the frames about each have them, see
    `agreed`: so many are held as it takes to know."""
    waiting: deque[Sight] = deque()
    known: deque[tuple[Covered, ...]] = deque(maxlen=2 * REACH + 1)
    for sight in sights:
        waiting.append(sight)
        known.append(tuple((f.shot, f.cover) if isinstance(f, Face) else None for f in sight.faces))
        if len(waiting) > REACH:
            yield _agreeing(waiting.popleft(), known, len(known) - 1 - REACH)
    while waiting:
        yield _agreeing(waiting.popleft(), known, len(known) - 1 - len(waiting))


def _agreeing(sight: Sight, known: Sequence[tuple[Covered, ...]], at: int) -> Sight:
    faces = [
        replace(face, cover=agreed(*_of_the_shot(covers, at))) if isinstance(face, Face) else face
        for face, covers in zip(sight.faces, zip(*known, strict=True), strict=True)
    ]
    return replace(sight, faces=tuple(faces))


def _of_the_shot(known: Sequence[Covered], at: int) -> tuple[list[Cover], int]:
    """The covers of the frames about one in its shot, none left out between them, and where it is among
    them."""
    assert (here := known[at]) is not None  # a face that is there
    before: list[Cover] = []
    for one in reversed(known[:at]):
        if one is None or one[0] != here[0]:
            break
        before.insert(0, one[1])
    behind: list[Cover] = []
    for one in known[at:]:
        if one is None or one[0] != here[0]:
            break
        behind.append(one[1])
    return before + behind, len(before)
