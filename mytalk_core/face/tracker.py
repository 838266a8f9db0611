"""Finds every face of a video and follows it: detection, mesh, loss and re-detection, cuts.

A face that is followed stays the same person's: where another is seen in its place it counts as lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..media.picture import Picture
from .look import Look, difference, difference_in_any_light, least_difference, still_points
from .mesh import POINTS, region_box, region_from_box, region_from_landmarks
from .packed import PackedLandmarks
from .reader import PRESENCE_THRESHOLD, FaceReader
from .shots import ShotFinder
from .track import Faces
from .tracklet import Tracklet

# New faces are looked for this often; a lost one is looked for in every frame.
REDETECT_FRAMES = 30
# Where no face is in the picture only every such frame is searched, and those between once one has shown.
SEARCH_FRAMES = 8
# A region further off than this share of its side is read again from its own landmarks.
DRIFT = 0.08
# A face further than this share away from the frame before, and nearer by more than half where it is read
# again from there, was read wrongly.
JUMP = 0.05
# A lost face is expected less than this share of a face away from where it was, unless its looks tell it.
REACH = 0.7
# So many detected faces are looked at for a lost one, the nearest first.
CANDIDATES = 3
# A face's looks are remembered this often at first, and more rarely as they grow many.
LOOK_FRAMES, MOST_LOOKS = 8, 12
# A face that differs by less than this from the frame before is the same, however it turns, fades or is lit.
STEADY = 0.5
# Nor does it matter how it is lit where it has not moved further than this share of a face.
IN_PLACE = 0.05
# A face that is this unlike itself, and much more like another that is followed, is the other.
UNLIKE, MORE_LIKE = 0.35, 0.8


@dataclass
class _Follower:
    """A face being followed: its last region, and what was seen of it."""

    shot: int
    region: np.ndarray
    landmarks: PackedLandmarks
    rows: list[int] = field(default_factory=list)
    looks: dict[int, Look] = field(default_factory=dict)
    look_frames: int = LOOK_FRAMES
    last: Look | None = None
    lost: int = 0

    def see(self, row: int, landmarks: np.ndarray) -> None:
        self.landmarks[len(self.rows)] = landmarks
        self.rows.append(row)
        self.region, self.lost = region_from_landmarks(landmarks), 0

    def unlike(self, look: Look, enough: float = 0.0) -> float:
        """How much a look differs from the face's own, see `least_difference`; 0 for its first."""
        if not self.looks:
            return 0.0
        return least_difference(look, reversed(self.looks.values()), enough)

    def lit_otherwise(self, look: Look, landmarks: np.ndarray) -> bool:
        """Whether a look and landmarks (478,3) are the face's own, where it was last, in some other light: a
        flash, a coloured lamp."""
        if not self.rows:
            return False
        moved = (landmarks - self.landmarks[len(self.rows) - 1])[still_points(), :2]
        return np.median(np.hypot(*moved.T)) <= IN_PLACE * self.region[2] and self._of_one_pattern(look)

    def _of_one_pattern(self, look: Look) -> bool:
        return any(difference_in_any_light(look, known) < STEADY for known in self.looks.values())

    def wants_look(self, row: int) -> bool:
        """Whether none of late is remembered, or none in the light of the last."""
        if not self.looks or row - max(self.looks) >= self.look_frames:
            return True
        last = self.last
        return last is not None and self.unlike(last, 1.0) > 1 and self._of_one_pattern(last)

    def remember(self, row: int, look: Look) -> None:
        """Keep a look; those kept are spread over the face's time."""
        self.looks[row] = look
        if len(self.looks) > MOST_LOOKS:
            self.look_frames *= 2
            self.looks = {row: look for i, (row, look) in enumerate(self.looks.items()) if i % 2 == 0}

    def was_at(self, row: int, region: np.ndarray) -> bool:
        """Whether the face was seen in a region of a frame."""
        if row not in self.rows[-REDETECT_FRAMES:]:
            return False
        return _close(region, region_from_landmarks(self.landmarks[self.rows.index(row)]))

    def met(self, other: _Follower) -> bool:
        """Whether both were followed at one time: then they are two people."""
        if not self.rows or not other.rows:
            return False
        return self.rows[0] <= other.rows[-1] and other.rows[0] <= self.rows[-1]

    def tracklet(self) -> Tracklet:
        return Tracklet(self.shot, np.array(self.rows), self.landmarks, self.looks)


def track_faces(
    batches: Iterable[Sequence[Picture]],
    times_s: np.ndarray,
    reader: FaceReader,
    progress: Callable[[int], None] | None = None,
) -> Faces:
    """Follow every face through a video.

    batches: that together are the T frames shown at times_s (T,) seconds; they are not kept, and of most only
    the faces become RGB. progress is called with each batch's number of frames. In the blended frames of a
    dissolve no face is seen.
    """
    tracker = _Tracker(reader, len(times_s))
    for frames in batches:
        tracker.read(frames)
        if progress:
            progress(len(frames))
    shots = tracker.shots.finish()
    tracklets = [f.tracklet() for f in tracker.done + tracker.active if f.rows]
    if shots.blended.any():
        tracklets = [part for tracklet in tracklets for part in tracklet.parts(shots)]
    return Faces(tracklets, times_s[: len(shots.numbers)], shots.numbers)


class _Tracker:
    def __init__(self, reader: FaceReader, length: int) -> None:
        self.reader, self.length = reader, length
        self.active: list[_Follower] = []
        self.done: list[_Follower] = []
        self.shots = ShotFinder()
        # Frames that show a face in the place of another: (row, region).
        self.strangers: list[tuple[int, np.ndarray]] = []

    def read(self, frames: Sequence[Picture]) -> None:
        start = len(self.shots.numbers)
        for run, cut in self._runs(frames):
            self._read_run(frames[run], start + run.start, cut)

    def _runs(self, frames: Sequence[Picture]) -> Iterator[tuple[slice, bool]]:
        """Parts of a batch without a cut and not longer than the interval of detection, and whether a shot
        begins with each."""
        begin, count, begins_shot = 0, len(self.shots.numbers), False
        for i, frame in enumerate(frames):
            cut = self.shots.add(frame)
            if cut or (count + i) % REDETECT_FRAMES == 0:
                if i > begin:
                    yield slice(begin, i), begins_shot
                begin, begins_shot = i, cut
                if cut:
                    self.done += self.active
                    self.active = []
        yield slice(begin, len(frames)), begins_shot

    def _read_run(self, frames: Sequence[Picture], start: int, begins_shot: bool) -> None:
        done = 0
        if self.active:
            if start % REDETECT_FRAMES == 0:
                self._look_for_new(frames[0].rgb, start)
        else:
            done = self._search(frames, start, begins_shot)
        for follower in list(self.active):
            self._follow(follower, frames[done:], start + done)
        for row, region in self.strangers:
            if not any(f.was_at(row, region) for f in self.active):
                self._begin(row, region)
                self._follow(self.active[-1], frames[row - start :], row)
        self.strangers.clear()
        self._drop_lost_and_doubled()

    def _search(self, frames: Sequence[Picture], start: int, begins_shot: bool) -> int:
        """Begin to follow the faces of the first frame that shows one; its number, all where none does.

        Frames are tried every so often and at the run's end, and then those that were left out.
        """
        tried = 0
        if begins_shot and self._find_new(frames[0].rgb, start):
            return 0
        if begins_shot:
            tried = 1
        while tried < len(frames):
            probe = min(tried + SEARCH_FRAMES, len(frames)) - 1
            if self._find_new(frames[probe].rgb, start + probe):
                found, self.active = self.active, []
                for i in range(tried, probe):
                    if self._find_new(frames[i].rgb, start + i):
                        return i
                self.active = found
                return probe
            tried = probe + 1
        return len(frames)

    def _find_new(self, frame: np.ndarray, row: int) -> bool:
        """Begin to follow every face of a frame in which none is known; whether there is any."""
        for faces in self.reader.searches(frame):
            for face in faces:
                region = self.reader.upright_region(frame, face)
                if self.reader.read_face(frame, region) is not None:
                    self._begin_unknown(row, region)
            if self.active:
                return True
        return False

    def _look_for_new(self, frame: np.ndarray, row: int) -> None:
        """Begin to follow faces that a frame shows beside those that are known."""
        for face in self.reader.detector.detect(frame):
            if any(_close(region_from_box(face.box, *face.key_points[:2]), f.region) for f in self.active):
                continue
            self._begin_unknown(row, self.reader.upright_region(frame, face))

    def _begin_unknown(self, row: int, region: np.ndarray) -> None:
        if not any(_close(region, follower.region) for follower in self.active):
            self._begin(row, region)

    def _begin(self, row: int, region: np.ndarray) -> None:
        landmarks = PackedLandmarks(self.length - row, POINTS)
        self.active.append(_Follower(self.shots.numbers[row], region, landmarks))

    def _follow(self, follower: _Follower, frames: Sequence[Picture], start: int) -> None:
        if not len(frames):
            return
        landmarks, presence = self._read_steady(frames, follower.region)
        rivals = [f for f in self.active + self.done if f.shot == follower.shot and f is not follower]
        for i, frame in enumerate(frames):
            row = start + i
            points = landmarks[i] if presence[i] > PRESENCE_THRESHOLD else None
            met = [f for f in rivals if f.met(follower)]
            if points is None or not self._same(follower, frame, points, met):
                points = self._refind(frame, row, follower, met)
            if points is None:
                follower.lost += 1
                continue
            follower.see(row, points)
            if follower.wants_look(row):
                follower.remember(row, self._look(frame, points))

    def _same(self, follower: _Follower, frame: Picture, points: np.ndarray, rivals: list[_Follower]) -> bool:
        """Whether landmarks (478,3) are the followed face's, by the looks of it and of its rivals."""
        look = self._look(frame, points, embed=False)
        own = follower.unlike(look, UNLIKE)  # how far below that makes no difference
        if own > 1 and self.reader.recogniser is not None:
            look = self._look(frame, points)
            own = follower.unlike(look)
        steady = follower.last is not None and difference(follower.last, look) < STEADY
        known = own <= 1 or (steady and not follower.lost) or follower.lit_otherwise(look, points)
        if known and own >= UNLIKE:
            known = not any(f.unlike(look) < MORE_LIKE * own for f in rivals if f.looks)
        if known:
            follower.last = look
        return known

    def _look(self, frame: Picture, points: np.ndarray, embed: bool = True) -> Look:
        """See `FaceReader.look`."""
        if embed and self.reader.recogniser is not None:
            return self.reader.look(frame.rgb, points)
        return self.reader.look(_region_of(frame, region_from_landmarks(points)), points, embed=False)

    def _read(
        self, frames: Sequence[Picture], regions: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `FaceMeshReader.read`."""
        parts = [_region_of(frame, region) for frame, region in zip(frames, regions, strict=True)]
        return self.reader.mesh.read(parts, list(regions))

    def _read_steady(self, frames: Sequence[Picture], region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read all frames with one region, then those that moved away from it with regions of their own."""
        landmarks, presence = self._read(frames, [region] * len(frames))
        used = [region] * len(frames)
        for _ in range(3):
            wanted = [region_from_landmarks(points) for points in landmarks]
            moved = [i for i in range(len(frames)) if not _close(used[i], wanted[i], DRIFT)]
            if not moved:
                break
            again, there = self._read([frames[i] for i in moved], [wanted[i] for i in moved])
            for k, i in enumerate(moved):
                if there[k] >= presence[i] or there[k] > PRESENCE_THRESHOLD:
                    landmarks[i], presence[i] = again[k], there[k]
                used[i] = wanted[i]
        self._mend_jumps(frames, landmarks, presence, region)
        return landmarks, presence

    def _mend_jumps(
        self, frames: Sequence[Picture], landmarks: np.ndarray, presence: np.ndarray, region: np.ndarray
    ) -> None:
        """Read frames again whose faces jumped: a blurred or dim one may be taken for a place beside it.

        landmarks (F,478,3), presence (F,): of the frames, changed where they were wrong; region: of the frame
        before them.
        """
        for i, frame in enumerate(frames):
            before, region = region, region_from_landmarks(landmarks[i])
            if presence[i] <= PRESENCE_THRESHOLD or _close(before, region, JUMP):
                continue
            again, there = self._read([frame], [before])
            nearer = region_from_landmarks(again[0])
            if there[0] > PRESENCE_THRESHOLD and 2 * _apart(before, nearer) < _apart(before, region):
                landmarks[i], presence[i], region = again[0], there[0], nearer

    def _refind(
        self, frame: Picture, row: int, follower: _Follower, rivals: list[_Follower]
    ) -> np.ndarray | None:
        """A lost face's landmarks (478,3): the nearest detected one with its looks, None if there is none.

        Another's face in its place is noted as a stranger.
        """
        others = [f for f in self.active if f is not follower]
        found = []
        for face in self.reader.detector.detect(frame.rgb):
            region = self.reader.upright_region(frame.rgb, face)
            if not any(other.was_at(row, region) for other in others):
                found.append((_apart(region, follower.region), region))
        found.sort(key=lambda candidate: candidate[0])
        for _, region in found[:CANDIDATES]:
            near = _close(region, follower.region, REACH)
            points = self.reader.read_face(frame.rgb, region)
            if points is None or not (near or follower.looks):
                continue
            if self._same(follower, frame, points, rivals):
                return points
            if near:
                self.strangers.append((row, region_from_landmarks(points)))
        return None

    def _drop_lost_and_doubled(self) -> None:
        keep: list[_Follower] = []
        for follower in sorted(self.active, key=lambda f: -len(f.rows)):
            doubled = not follower.lost and any(
                _close(follower.region, other.region, 0.25) for other in keep if not other.lost
            )
            if follower.lost > REDETECT_FRAMES or doubled or not follower.rows:
                self.done.append(follower)
            else:
                keep.append(follower)
        self.active = keep


def _region_of(frame: Picture, region: np.ndarray) -> np.ndarray:
    """A frame (H,W,3) uint8 RGB for who reads a region of it alone: elsewhere it is undefined."""
    size = frame.height, frame.width
    return frame.rgb_in(region_box(region, *size, room=0.0), region_box(region, *size))


def _apart(a: np.ndarray, b: np.ndarray) -> float:
    """How far the centres of two regions are apart, px."""
    return float(np.hypot(*(a[:2] - b[:2])))


def _close(a: np.ndarray, b: np.ndarray, share: float = 0.3) -> bool:
    """Whether two regions nearly coincide: centre, size and angle within `share`."""
    side = max(a[2], b[2])
    turn = abs((a[3] - b[3] + np.pi) % (2 * np.pi) - np.pi)
    return bool(_apart(a, b) < share * side and min(a[2], b[2]) > (1 - 2 * share) * side and turn < 2 * share)
