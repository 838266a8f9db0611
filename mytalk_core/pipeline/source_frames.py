"""What is seen of a face in each frame before anything is drawn, in agreement with the frames about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import NamedTuple

import numpy as np

from ..appearance.covers.cover import Cover
from ..appearance.covers.steady import REACH, agreed
from ..appearance.grain import lasting_strength, renewed
from ..media.patch import Patch
from ..media.picture import Picture

GRAIN_FRAMES = 12  # before a frame: in all of them together it is told how much grain there is
BEFORE, BEHIND = max(REACH, GRAIN_FRAMES), REACH  # a frame, that tell of it


@dataclass(frozen=True, eq=False)
class Face:
    """A face to draw lips on.

    crop: its canonical square, uint8 (S, S, 3); shot: its number; cover: what stands before the mouth;
    source, target: its landmarks (N, 2) there, and the wanted ones; seen: bool (256, 256), what of the square
    lies inside the frame, None for all; share: 0..1, how much of the new lips shows; grain: 0..1, how surely
    the frame has some.
    """

    crop: np.ndarray
    shot: int
    cover: Cover
    source: np.ndarray
    target: np.ndarray
    seen: np.ndarray | None
    share: float
    grain: float


@dataclass(frozen=True, eq=False)
class SourceFrame:
    """A frame of the output before it is drawn: the source's picture under the output's number.

    faces: for each speaker the face to draw on, or what is pasted where nothing must be drawn.
    """

    picture: Picture
    faces: tuple[Face | list[Patch], ...]


class FaceObservation(NamedTuple):
    """What a frame tells by itself of a face, see `Face`, and how much of its grain is new since the frame
    before, 0..1, see `renewed`: None if that is not of its shot, or neither has any."""

    shot: int
    cover: Cover
    grain: float
    new: float | None


def in_agreement(source_frames: Iterable[SourceFrame]) -> Iterator[SourceFrame]:
    """The source frames that follow each other, with covers as the frames about each have them, see
    `agreed`, and with the grain of those before it: as long as nothing covers any, none is held but a shot's
    first with grain, of which the next one tells."""
    waiting: deque[SourceFrame] = deque()
    known: deque[tuple[FaceObservation | None, ...]] = deque(maxlen=BEFORE + 1 + BEHIND)
    last: SourceFrame | None = None
    for source_frame in source_frames:
        waiting.append(source_frame)
        faces = zip(
            source_frame.faces, [None] * len(source_frame.faces) if last is None else last.faces, strict=True
        )
        known.append(tuple(_observed(face, before) for face, before in faces))
        last = source_frame
        while waiting and (len(waiting) > REACH or _is_known(known, len(known) - len(waiting))):
            yield _agreeing(waiting.popleft(), known, len(known) - len(waiting) - 1)
    while waiting:
        yield _agreeing(waiting.popleft(), known, len(known) - len(waiting) - 1)


def _observed(face: Face | list[Patch], before: Face | list[Patch] | None) -> FaceObservation | None:
    if not isinstance(face, Face):
        return None
    new = None
    if isinstance(before, Face) and before.shot == face.shot and max(face.grain, before.grain) > 0:
        new = renewed(face.crop, before.crop)
    return FaceObservation(face.shot, face.cover, face.grain, new)


def _is_known(known: Sequence[tuple[FaceObservation | None, ...]], at: int) -> bool:
    """Whether no later frame changes what is known of one: nothing covers it or those before it, and of its
    grain these tell."""
    near = [told for number in range(max(at - REACH, 0), at + 1) for told in known[number]]
    is_free = all(one is None or (one.cover.matte is None and one.cover.hidden == 0) for one in near)
    is_last = at + 1 == len(known)
    return is_free and not (is_last and any(one and one.grain > 0 and one.new is None for one in known[at]))


def _agreeing(
    source_frame: SourceFrame, known: Sequence[tuple[FaceObservation | None, ...]], at: int
) -> SourceFrame:
    faces: list[Face | list[Patch]] = []
    for face, told in zip(source_frame.faces, zip(*known, strict=True), strict=True):
        if isinstance(face, Face):
            near, own = _of_the_shot(told, at)
            first = max(own - GRAIN_FRAMES, 0)
            # Of a shot's first frame the next one tells.
            pairs = near[first + 1 : max(own, first + 1) + 1]
            grain = lasting_strength(
                [one.grain for one in near[first : own + 1]],
                [one.new for one in pairs if one.new is not None],
            )
            face = replace(face, cover=agreed([one.cover for one in near], own), grain=grain)
        faces.append(face)
    return replace(source_frame, faces=tuple(faces))


def _of_the_shot(known: Sequence[FaceObservation | None], at: int) -> tuple[list[FaceObservation], int]:
    """The frames about one in its shot, none left out between them, and where it is among them."""
    here = known[at]
    assert here is not None  # a face that is there

    def is_there(one: FaceObservation | None) -> bool:
        return one is not None and one.shot == here.shot

    before = [*takewhile(is_there, reversed(known[:at]))]
    near = [*reversed(before), *takewhile(is_there, known[at:])]
    return [one for one in near if one is not None], len(before)
