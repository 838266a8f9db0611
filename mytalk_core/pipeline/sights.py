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
    `agreed`: as long as nothing covers any, none is held."""
    waiting: deque[Sight] = deque()
    known: deque[tuple[Covered, ...]] = deque(maxlen=2 * REACH + 1)
    for sight in sights:
        waiting.append(sight)
        known.append(tuple((f.shot, f.cover) if isinstance(f, Face) else None for f in sight.faces))
        while waiting and (len(waiting) > REACH or _are_free(known, len(known) - len(waiting))):
            yield _agreeing(waiting.popleft(), known, len(known) - len(waiting) - 1)
    while waiting:
        yield _agreeing(waiting.popleft(), known, len(known) - len(waiting) - 1)


def _are_free(known: Sequence[tuple[Covered, ...]], at: int) -> bool:
    """Whether nothing covers a frame and those before it: then no later one changes that."""
    near = [covered for number in range(max(at - REACH, 0), at + 1) for covered in known[number]]
    return all(one is None or (one[1].matte is None and one[1].hidden == 0) for one in near)


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
