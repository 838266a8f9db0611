"""One face through a video, and the choice of a face among several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import MediaError, NoFaceError
from ..tensor_files import FileKind, read_metadata, read_tensors, write_tensors
from . import alignment
from .choice import FaceChoice, check_choice
from .layout import LandmarkLayout, named_layout
from .packed import Mapped, PackedLandmarks
from .people import PersonTracklets, choose_person, find_people, largest_first, people_of_shots
from .tracklet import Tracklet

FORMAT = "mytalk-face-track-1"
KIND = FileKind(
    "face track",
    "mytalk landmarks",
    {
        "landmarks": (("F32",), ("T", "N", 3)),
        "present": (("U8",), ("T",)),
        "similarity": (("F32",), ("T", 2, 3)),
        "times_s": (("F64", "F32"), ("T",)),
        "shots": (("I32",), ("T",)),
    },
)
# A face that shows for no more frames than the first, with the second without it on both sides, is a glimpse.
GLIMPSE, AWAY = 2, 8


@dataclass(frozen=True)
class TrackSample:
    """A face at F times: landmarks (F,N,3) frame px, similarity (F,2,3), distance_s (F,) to a frame seen."""

    landmarks: np.ndarray
    similarity: np.ndarray
    distance_s: np.ndarray


@dataclass(frozen=True)
class FaceTrack:
    """One face's landmarks for each of T frames.

    landmarks: (T,N,3) frame px, z in the same unit; packed: float32 when indexed by frame, zeros where
    absent; present: (T,) bool; similarity: (T,2,3) float32, frame px -> canonical square, smoothed in time;
    times_s: (T,) seconds from the first frame; shots: (T,) int32, a new number after each cut; layout:
    the topology's name.
    """

    landmarks: PackedLandmarks
    present: np.ndarray
    similarity: np.ndarray
    times_s: np.ndarray
    shots: np.ndarray
    layout: str = "mesh478"

    def __len__(self) -> int:
        return len(self.present)

    @property
    def canonical(self) -> Mapped:
        """Landmarks in canonical units: (rows,N,2) float32 when indexed by frame."""
        return Mapped(
            len(self), lambda rows: alignment.apply(self.similarity[rows], self.landmarks[rows][..., :2])
        )

    def seen_rows(self, most: int) -> np.ndarray:
        """Frames that show the face, (n,) int: all, or of more than `most` an even sample."""
        rows = np.flatnonzero(self.present)
        return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).astype(int)]

    def at(self, times_s: np.ndarray) -> TrackSample:
        """The face at any times (F,), interpolated between the nearest frames that show it.

        Raises NoFaceError if no frame does.
        """
        rows = np.flatnonzero(self.present)
        if not len(rows):
            raise NoFaceError(f"a face is needed in at least one frame; none of {len(self)} frames has one")
        seen_s = self.times_s[rows]
        after = np.searchsorted(seen_s, times_s).clip(0, len(rows) - 1)
        before = np.where(seen_s[after] > times_s, (after - 1).clip(0), after)
        gap = seen_s[after] - seen_s[before]
        share = np.where(gap > 0, (times_s - seen_s[before]) / np.where(gap > 0, gap, 1), 0).clip(0, 1)
        share = share.astype(np.float32)[:, None, None]
        left, right = rows[before], rows[after]
        distance_s = np.minimum(np.abs(times_s - seen_s[before]), np.abs(seen_s[after] - times_s))
        return TrackSample(
            self.landmarks[left] * (1 - share) + self.landmarks[right] * share,
            self.similarity[left] * (1 - share) + self.similarity[right] * share,
            distance_s,
        )

    def take(self, index: np.ndarray, times_s: np.ndarray) -> FaceTrack:
        """The track of a video made of this one's frames `index` (T_out,) shown at `times_s`."""
        if len(index) == len(self) and (index == np.arange(len(self))).all():
            return replace(self, times_s=times_s)
        return FaceTrack(
            self.landmarks.select(index),
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
        return replace(
            self, landmarks=PackedLandmarks.pack(layout.from_source(self.landmarks[:])), layout=name
        )

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all; errors as `replacing`."""
        tensors = {name: getattr(self, name) for name in ("similarity", "times_s", "shots")}
        tensors |= {"landmarks": self.landmarks[:], "present": self.present.astype(np.uint8)}
        write_tensors(path, tensors, {"format": FORMAT, "layout": self.layout})

    @staticmethod
    def load(path: str | Path) -> FaceTrack:
        """Read what `save` wrote.

        Raises: FileNotFoundError; MediaError for a damaged file or one that is no face track.
        """
        path = Path(path)
        metadata = read_metadata(path, KIND)
        if metadata.get("format") != FORMAT:
            raise MediaError(
                f"{path}: a face track was expected (mytalk landmarks writes one); got another file"
            )
        tensors = read_tensors(path, KIND)
        count = named_layout(path, metadata.get("layout"), KIND).points
        frames, points, _ = tensors["landmarks"].shape
        if points != count or frames == 0:
            raise KIND.refusal(
                path, f"it has {frames} frames of {points} points; the layout has {count} points"
            )
        present = tensors.pop("present").astype(bool)
        landmarks = PackedLandmarks.pack(tensors.pop("landmarks"))
        return FaceTrack(landmarks, present, layout=metadata["layout"], **tensors)


def build_track(
    landmarks: PackedLandmarks,
    present: np.ndarray,
    times_s: np.ndarray,
    shots: np.ndarray,
    layout: str = "mesh478",
) -> FaceTrack:
    """A track from raw landmarks (T,N,3): similarity fitted and smoothed; absent frames get a neighbour's."""
    info = LandmarkLayout.load(layout)
    similarity = np.tile(np.eye(2, 3), (len(present), 1, 1))
    if present.any():
        rows = np.flatnonzero(present)
        anchors = landmarks.of(info.anchors, rows)[..., :2]
        similarity[rows] = alignment.fit_similarity(anchors, info.template[info.anchors, :2])
        # A gap in the face ends a run just as a cut does: nothing is smoothed across it.
        breaks = np.diff(np.flatnonzero(present), prepend=rows[0]) > 1
        segment = np.full(len(present), -1)
        segment[rows] = np.cumsum(breaks | (np.diff(shots[rows], prepend=shots[rows[0]]) != 0))
        similarity = alignment.smooth_similarity(similarity, times_s, segment)
        similarity = similarity[_nearest(rows, len(present))]
    return FaceTrack(
        landmarks,
        present,
        similarity.astype(np.float32),
        times_s,
        shots.astype(np.int32),
        layout,
    )


def glimpses(present: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """Which frames of a track, present bool (T,), shots int (T,), show the face only in passing: bool (T,).

    A mouth that is made anew for one frame of many that show the source's own is worse than none, and such a
    frame is often read wrongly.
    """
    passing = np.zeros(len(present), bool)
    edges = np.diff(np.r_[False, present, False].astype(np.int8))
    for begin, end in zip(np.flatnonzero(edges > 0), np.flatnonzero(edges < 0), strict=True):
        sides = slice(begin - AWAY, begin), slice(end, end + AWAY)
        if end - begin > GLIMPSE or sides[0].start < 0 or sides[1].stop > len(present):
            continue
        alone = not any(present[side].any() for side in sides)
        passing[begin:end] = alone and (shots[begin - AWAY : end + AWAY] == shots[begin]).all()
    return passing


def _nearest(rows: np.ndarray, length: int) -> np.ndarray:
    """For each of `length` frames the nearest of the sorted `rows`."""
    frames = np.arange(length)
    after = np.searchsorted(rows, frames).clip(0, len(rows) - 1)
    before = (after - 1).clip(0)
    return np.where(frames - rows[before] < rows[after] - frames, rows[before], rows[after])


@dataclass(frozen=True)
class Faces:
    """All faces of a video of T frames; times_s (T,), shots (T,) as in FaceTrack."""

    tracklets: list[Tracklet]
    times_s: np.ndarray
    shots: np.ndarray
    layout: str = "mesh478"

    def choose(self, which: FaceChoice = "largest") -> FaceTrack:
        """One person's track through the whole video, which ends where it is in doubt who it is.

        which: see `check_choice`; a mask, a photo or who speaks are chosen by `choosing.choose`, a `Look`
        here. Raises NoFaceError if no frame has such a face, ValueError for another word.
        """
        return self.track_of(self.choose_person(which))

    def choose_person(self, which: FaceChoice = "largest") -> PersonTracklets:
        """Who is meant, as in `choose`."""
        self._check_seen()
        return choose_person(self.people, check_choice(which), self.times_s)

    @cached_property
    def people(self) -> list[PersonTracklets]:
        """Who is in the video, the largest first, without those seen only in passing."""
        return find_people(people_of_shots(self.tracklets))

    def track_of(self, person: PersonTracklets) -> FaceTrack:
        """A person's track through the whole video."""
        return self._track([tracklet for group in person.values() for tracklet in group])

    def choose_in_each_shot(self) -> FaceTrack:
        """The largest face of each shot, whoever's it is. Raises NoFaceError as `choose`."""
        self._check_seen()
        groups = people_of_shots(self.tracklets).values()
        return self._track([t for people in groups for t in largest_first(people)[0]])

    def _check_seen(self) -> None:
        if not self.tracklets:
            frames = len(self.times_s)
            raise NoFaceError(
                f"a video with a visible face is needed; none was found in any of the {frames} frames: "
                "choose another, or a part of it where the face is larger"
            )

    def _track(self, tracklets: Sequence[Tracklet]) -> FaceTrack:
        length, points = len(self.times_s), tracklets[0].landmarks.shape[1]
        landmarks, present = PackedLandmarks(length, points), np.zeros(length, bool)
        for tracklet in tracklets:
            landmarks.copy_rows(tracklet.rows, tracklet.landmarks)
            present[tracklet.rows] = True
        passing = glimpses(present, self.shots)
        if (present & ~passing).any():
            present &= ~passing
        return build_track(landmarks, present, self.times_s, self.shots, self.layout)

    def numbered(self, shot: int) -> list[list[Tracklet]]:
        """Each person's tracklets in a shot, in the order of the numbers; none of who is not in it."""
        return [person.get(shot, []) for person in self.people]

    def dominance(self, shot: int) -> float:
        """How much of a shot's faces the largest one makes up, 0 to 1; each counts by area times frames."""
        people = people_of_shots(self.tracklets).get(shot)
        if not people:
            return 0.0
        weight = [sum(s.size_px**2 * len(s.rows) for s in person) for person in people]
        largest = largest_first(people)[0]
        return sum(w for w, person in zip(weight, people, strict=True) if person is largest) / sum(weight)
