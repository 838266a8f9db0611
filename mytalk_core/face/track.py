"""One face through a video, and the choice of a face among several."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from ..errors import MediaError, NoFaceError
from . import alignment
from .layout import LandmarkLayout


@dataclass(frozen=True)
class FaceTrack:
    """One face's landmarks for each of T frames.

    landmarks: (T,N,3) float32 frame px, z in the same unit, zeros where absent; present: (T,) bool;
    similarity: (T,2,3) float32 frame px -> canonical 256 square, smoothed over time; times_s: (T,) seconds
    from the first frame; shots: (T,) int32, a new number after each cut; layout: the topology's name.
    """

    landmarks: np.ndarray
    present: np.ndarray
    similarity: np.ndarray
    times_s: np.ndarray
    shots: np.ndarray
    layout: str = "mesh478"

    def __len__(self) -> int:
        return len(self.present)

    @cached_property
    def canonical(self) -> np.ndarray:
        """Landmarks in the canonical 256 square, (T,N,2) float32."""
        return alignment.apply(self.similarity, self.landmarks[..., :2])

    def take(self, index: np.ndarray, times_s: np.ndarray) -> FaceTrack:
        """The track of a video made of this one's frames `index` (T_out,) shown at `times_s`."""
        return FaceTrack(
            self.landmarks[index],
            self.present[index],
            self.similarity[index],
            times_s,
            self.shots[index],
            self.layout,
        )

    def in_layout(self, name: str) -> FaceTrack:
        """The same track in a layout made from this one's."""
        layout = LandmarkLayout.load(name)
        if name == self.layout:
            return self
        if layout.source != self.layout:
            raise ValueError(f"layout {name} is made from {layout.source}; this track is in {self.layout}")
        return replace(self, landmarks=layout.from_source(self.landmarks), layout=name)

    def save(self, path: str | Path) -> None:
        """Write as safetensors."""
        tensors = {
            k: np.ascontiguousarray(getattr(self, k)) for k in ("landmarks", "similarity", "times_s", "shots")
        }
        tensors["present"] = self.present.astype(np.uint8)
        save_file(tensors, str(path), metadata={"format": "mytalk-face-track-1", "layout": self.layout})

    @staticmethod
    def load(path: str | Path) -> FaceTrack:
        """Read what `save` wrote; MediaError if the file is something else."""
        with safe_open(str(path), "np") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != "mytalk-face-track-1":
            raise MediaError(
                f"{path}: a face track was expected (mytalk landmarks writes one); got another file"
            )
        tensors = load_file(str(path))
        present = tensors.pop("present").astype(bool)
        return FaceTrack(present=present, layout=metadata["layout"], **tensors)


def build_track(
    landmarks: np.ndarray,
    present: np.ndarray,
    times_s: np.ndarray,
    shots: np.ndarray,
    layout: str = "mesh478",
) -> FaceTrack:
    """A track from raw landmarks (T,N,3): similarity fitted, smoothed; an absent frame gets its neighbour's."""
    info = LandmarkLayout.load(layout)
    similarity = np.tile(np.eye(2, 3), (len(present), 1, 1))
    if present.any():
        rows = np.flatnonzero(present)
        similarity[rows] = alignment.fit_similarity(
            landmarks[rows][:, info.anchors, :2], info.template[info.anchors, :2]
        )
        # A gap in the face ends a run just as a cut does: nothing is smoothed across it.
        breaks = np.diff(np.flatnonzero(present), prepend=rows[0]) > 1
        segment = np.full(len(present), -1)
        segment[rows] = np.cumsum(breaks | (np.diff(shots[rows], prepend=shots[rows[0]]) != 0))
        similarity = alignment.smooth_similarity(similarity, times_s, segment)
        similarity = similarity[_nearest(rows, len(present))]
    return FaceTrack(
        landmarks.astype(np.float32),
        present,
        similarity.astype(np.float32),
        times_s,
        shots.astype(np.int32),
        layout,
    )


def _nearest(rows: np.ndarray, length: int) -> np.ndarray:
    """For each of `length` frames the nearest of the sorted `rows`."""
    frames = np.arange(length)
    after = np.searchsorted(rows, frames).clip(0, len(rows) - 1)
    before = (after - 1).clip(0)
    return np.where(frames - rows[before] < rows[after] - frames, rows[before], rows[after])


@dataclass(frozen=True)
class Sighting:
    """One face while it is followed without a cut: rows (n,) frame numbers, landmarks (n,N,3) frame px."""

    shot: int
    rows: np.ndarray
    landmarks: np.ndarray

    @cached_property
    def size_px(self) -> float:
        """Median of the longer side of the landmarks' box."""
        return float(np.median(np.ptp(self.landmarks[..., :2], axis=1).max(-1)))

    @cached_property
    def centre_x_px(self) -> float:
        """Median horizontal place in the frame."""
        return float(np.median(self.landmarks[..., 0].mean(-1)))


@dataclass(frozen=True)
class Faces:
    """All faces of a video of T frames; times_s (T,), shots (T,) as in FaceTrack."""

    sightings: list[Sighting]
    times_s: np.ndarray
    shots: np.ndarray
    layout: str = "mesh478"

    def choose(self, which: str | int = "largest") -> FaceTrack:
        """One track through the whole video: in each shot the face that is meant.

        which: "largest", "left" or "right" (in the picture), or a number: 0 is the largest face, 1 the next.
        Raises NoFaceError if no frame has such a face, ValueError for another word.
        """
        if isinstance(which, str) and which.isdigit():
            which = int(which)
        if not (which in ("largest", "left", "right") or (isinstance(which, int) and which >= 0)):
            raise ValueError(f"a face is chosen by largest, left, right or a number from 0; got {which!r}")
        if not self.sightings:
            frames = len(self.times_s)
            raise NoFaceError(
                f"a video with a visible face is needed; none was found in any of the {frames} frames"
            )
        length, points = len(self.times_s), self.sightings[0].landmarks.shape[1]
        landmarks, present = np.zeros((length, points, 3), np.float32), np.zeros(length, bool)
        most = 0
        for shot in np.unique(self.shots):
            faces = _people([s for s in self.sightings if s.shot == shot])
            most = max(most, len(faces))
            for sighting in _pick(faces, which):
                landmarks[sighting.rows], present[sighting.rows] = sighting.landmarks, True
        if not present.any():
            raise NoFaceError(
                f"face {which} was asked for; no shot has more than {most}: choose 0 to {most - 1}"
            )
        return build_track(landmarks, present, self.times_s, self.shots, self.layout)


def _people(sightings: list[Sighting]) -> list[list[Sighting]]:
    """Sightings of one shot joined into people: those that never overlap in time and lie close together."""
    people: list[list[Sighting]] = []
    for sighting in sorted(sightings, key=lambda s: -len(s.rows)):
        for person in people:
            near = abs(person[0].centre_x_px - sighting.centre_x_px) < max(
                person[0].size_px, sighting.size_px
            )
            if near and not any(np.intersect1d(s.rows, sighting.rows).size for s in person):
                person.append(sighting)
                break
        else:
            people.append([sighting])
    # A face seen only in passing does not compete with one that is there most of the shot.
    lengths = [sum(len(s.rows) for s in person) for person in people]
    return [p for p, n in zip(people, lengths, strict=True) if n >= 0.3 * max(lengths)]


def _pick(people: list[list[Sighting]], which: str | int) -> list[Sighting]:
    if not people:
        return []
    if which in ("left", "right"):
        ordered = sorted(people, key=lambda p: p[0].centre_x_px, reverse=which == "right")
        return ordered[0]
    ordered = sorted(people, key=lambda p: -p[0].size_px)
    number = 0 if which == "largest" else int(which)
    return ordered[number] if number < len(ordered) else []
