"""Faces found by somebody else: landmarks of each frame, joined into faces that are followed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..media.picture import Picture
from .mesh import POINTS
from .packed import PackedLandmarks
from .shots import ShotFinder
from .track import Faces
from .tracklet import Tracklet

# A face belongs to the one whose centre was this near, in face sizes.
NEAR = 0.5


def join_faces(frames: Sequence[Sequence[np.ndarray]], times_s: np.ndarray, shots: np.ndarray) -> Faces:
    """Follow faces through T frames.

    frames: for each frame its faces' landmarks (478,3) frame px, in any order; times_s: (T,); shots: (T,),
    see `find_shots`.
    Raises ValueError if there are not as many frames as times, or a face has other points.
    """
    if len(frames) != len(times_s):
        raise ValueError(
            f"landmarks of every frame were required, but {len(frames)} of {len(times_s)} arrived: detect "
            "them on the same frames"
        )
    counts = {len(face) for faces in frames for face in faces} - {POINTS}
    if counts:
        raise ValueError(f"faces of {POINTS} points were required, but one of {counts.pop()} arrived")
    people: list[tuple[int, list[int], list[np.ndarray]]] = []
    blended = np.asarray(shots) < 0
    for row, faces in enumerate(frames):
        if blended[row]:
            continue
        for face in faces:
            person = next((p for p in people if _continues(p, face, row, int(shots[row]))), None)
            if person is None:
                person = (int(shots[row]), [], [])
                people.append(person)
            person[1].append(row)
            person[2].append(np.asarray(face, np.float32))
    tracklets = [
        Tracklet(shot, np.array(rows), PackedLandmarks.pack(np.stack(landmarks)))
        for shot, rows, landmarks in people
    ]
    # The blended frames of a dissolve belong to the shot that ends with it.
    last = np.maximum.accumulate(np.where(blended, 0, np.arange(len(shots))))
    return Faces(tracklets, times_s, np.asarray(shots)[last], "mesh478")


def _continues(
    person: tuple[int, list[int], list[np.ndarray]], face: np.ndarray, row: int, shot: int
) -> bool:
    known_shot, rows, landmarks = person
    if known_shot != shot or rows[-1] == row:
        return False
    size = np.ptp(face[:, :2], axis=0).max()
    return bool(np.hypot(*(landmarks[-1][:, :2].mean(0) - face[:, :2].mean(0))) < NEAR * size)


def find_shots(pictures: Iterable[Picture]) -> np.ndarray:
    """Shot numbers int32 (T,) of a clip's frames, a new one after each cut or dissolve, -1 in the blended
    frames of a dissolve."""
    finder = ShotFinder()
    for picture in pictures:
        finder.add(picture)
    shots = finder.finish()
    return np.where(shots.blended, np.int32(-1), shots.numbers)


def with_depth(landmarks_px: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Image landmarks (N,2) px with the depth of the same points (N,3) in another unit: (N,3) px."""
    scale = np.ptp(landmarks_px, axis=0).max() / max(float(np.ptp(model[:, :2], axis=0).max()), 1e-6)
    return np.concatenate([landmarks_px, model[:, 2:] * scale], axis=1).astype(np.float32)
