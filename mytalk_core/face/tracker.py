"""Finds every face of a video and follows it: detection, mesh, loss and re-detection, cuts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from .detector import BlazeFace, FaceDetector
from .mesh import POINTS, FaceMesh, region_from_box, region_from_landmarks
from .mesh_reader import FaceMeshReader
from .packed import PackedLandmarks
from .track import Faces, Tracklet

WEIGHTS = Path(__file__).parents[1] / "weights" / "face"
PRESENCE_THRESHOLD = 0.5
# New faces are looked for this often; a lost one is looked for in every frame.
REDETECT_FRAMES = 30
# A region further off than this share of its side is read again from its own landmarks.
DRIFT = 0.08
# Two pictures of a cut differ more than this in mean luminance (0..255) and in histogram (share of pixels).
CUT_LUMINANCE, CUT_HISTOGRAM = 18.0, 0.3


@dataclass(frozen=True)
class FaceReader:
    """The two face networks, ready on a device."""

    detector: FaceDetector
    mesh: FaceMeshReader

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Both networks by name."""
        return {"face detector": self.detector.network, "face mesh": self.mesh.network}


def load_face_reader(device: torch.device | str = "cpu") -> FaceReader:
    """The bundled detector and mesh (float32) on `device`."""
    detector, mesh = BlazeFace(), FaceMesh()
    networks: dict[str, nn.Module] = {"detector": detector, "mesh": mesh}
    for name, network in networks.items():
        weights = load_file(WEIGHTS / f"{name}.safetensors")
        network.load_state_dict({key: value.float() for key, value in weights.items()})
    return FaceReader(FaceDetector(detector, device), FaceMeshReader(mesh, device))


@dataclass
class _Follower:
    """A face being followed: its last region, and what was seen of it."""

    shot: int
    region: np.ndarray
    landmarks: PackedLandmarks
    rows: list[int] = field(default_factory=list)
    lost: int = 0

    def see(self, row: int, landmarks: np.ndarray) -> None:
        self.landmarks[len(self.rows)] = landmarks
        self.rows.append(row)
        self.region = region_from_landmarks(landmarks)

    def tracklet(self) -> Tracklet:
        return Tracklet(self.shot, np.array(self.rows), self.landmarks)


def track_faces(
    batches: Iterable[np.ndarray],
    times_s: np.ndarray,
    reader: FaceReader,
    progress: Callable[[int], None] | None = None,
) -> Faces:
    """Follow every face through a video.

    batches: arrays (B,H,W,3) uint8 RGB that together are the T frames shown at times_s (T,) seconds, as
    `Clip.frames()` yields them; they are not kept. progress is called with each batch's number of frames.
    """
    tracker = _Tracker(reader, len(times_s))
    for frames in batches:
        tracker.read(frames)
        if progress:
            progress(len(frames))
    shots = np.array(tracker.shots, np.int32)
    return Faces(
        [f.tracklet() for f in tracker.done + tracker.active if f.rows], times_s[: len(shots)], shots
    )


class _Tracker:
    def __init__(self, reader: FaceReader, length: int) -> None:
        self.reader, self.length = reader, length
        self.active: list[_Follower] = []
        self.done: list[_Follower] = []
        self.shots: list[int] = []
        self.last_view: np.ndarray | None = None

    def read(self, frames: np.ndarray) -> None:
        start = len(self.shots)
        for run in self._runs(frames):
            self._read_run(frames[run], start + run.start)

    def _runs(self, frames: np.ndarray) -> Iterator[slice]:
        """Parts of a batch without a cut and not longer than the interval of detection."""
        begin, count = 0, len(self.shots)
        for i, frame in enumerate(frames):
            view = small_view(frame)
            cut = self.last_view is None or is_cut(self.last_view, view)
            self.last_view = view
            if cut or (count + i) % REDETECT_FRAMES == 0:
                if i > begin:
                    yield slice(begin, i)
                begin = i
                if cut:
                    self.done += self.active
                    self.active = []
            self.shots.append((self.shots[-1] if self.shots else -1) + int(cut))
        yield slice(begin, len(frames))

    def _read_run(self, frames: np.ndarray, start: int) -> None:
        if not self.active or start % REDETECT_FRAMES == 0:
            self._look_for_new(frames[0], start)
        done = 0
        while done < len(frames) and not self.active:
            # Nothing to follow: detection alone, frame by frame, until a face shows.
            done += 1
            if done < len(frames):
                self._look_for_new(frames[done], start + done)
        for follower in list(self.active):
            self._follow(follower, frames[done:], start + done)
        self._drop_lost_and_doubled()

    def _look_for_new(self, frame: np.ndarray, row: int) -> None:
        known = [f.region for f in self.active]
        faces = self.reader.detector.detect(frame)
        if not faces and not known:
            faces = self.reader.detector.detect(frame, tiles=True)
        for face in faces:
            region = region_from_box(face.box, *face.key_points[:2])
            if not any(_close(region, other) for other in known):
                landmarks = PackedLandmarks(self.length - row, POINTS)
                self.active.append(_Follower(self.shots[row], region, landmarks))

    def _follow(self, follower: _Follower, frames: np.ndarray, start: int) -> None:
        if not len(frames):
            return
        landmarks, presence = self._read_steady(list(frames), follower.region)
        for i, frame in enumerate(frames):
            points, seen = landmarks[i], presence[i] > PRESENCE_THRESHOLD
            if not seen:
                region = self._refind(frame, follower.region)
                if region is not None:
                    again, there = self.reader.mesh.read([frame], [region])
                    points, seen = again[0], there[0] > PRESENCE_THRESHOLD
            follower.lost = 0 if seen else follower.lost + 1
            if seen:
                follower.see(start + i, points)

    def _read_steady(self, frames: list[np.ndarray], region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Read all frames with one region, then those that moved away from it with regions of their own."""
        landmarks, presence = self.reader.mesh.read(frames, [region] * len(frames))
        used = [region] * len(frames)
        for _ in range(3):
            wanted = [region_from_landmarks(points) for points in landmarks]
            moved = [i for i in range(len(frames)) if not _close(used[i], wanted[i], DRIFT)]
            if not moved:
                break
            again, there = self.reader.mesh.read([frames[i] for i in moved], [wanted[i] for i in moved])
            for k, i in enumerate(moved):
                if there[k] >= presence[i] or there[k] > PRESENCE_THRESHOLD:
                    landmarks[i], presence[i] = again[k], there[k]
                used[i] = wanted[i]
        return landmarks, presence

    def _refind(self, frame: np.ndarray, region: np.ndarray) -> np.ndarray | None:
        """The detected face nearest to a lost one, if it is less than a face away."""
        faces = self.reader.detector.detect(frame)
        regions = [region_from_box(f.box, *f.key_points[:2]) for f in faces]
        taken = [f.region for f in self.active if f.region is not region]
        free = [r for r in regions if _close(r, region, 0.7) and not any(_close(r, t) for t in taken)]
        return min(free, key=lambda r: np.hypot(*(r[:2] - region[:2])), default=None)

    def _drop_lost_and_doubled(self) -> None:
        keep: list[_Follower] = []
        for follower in sorted(self.active, key=lambda f: -len(f.rows)):
            doubled = any(_close(follower.region, other.region, 0.25) for other in keep)
            if follower.lost > REDETECT_FRAMES or doubled or not follower.rows:
                self.done.append(follower)
            else:
                keep.append(follower)
        self.active = keep


def small_view(frame: np.ndarray) -> np.ndarray:
    """A frame (H,W,3) uint8 as `is_cut` wants it: (36,64,3), each pixel the mean of sixteen samples."""
    # The mean of all pixels would take longer than reading the face.
    samples = cv2.resize(frame, (128, 72), interpolation=cv2.INTER_LINEAR)
    return cv2.resize(samples, (64, 36), interpolation=cv2.INTER_AREA)


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two small views (h,w,3) uint8 belong to different shots: luminance and histogram both jump."""
    if cv2.norm(before, after, cv2.NORM_L1) <= CUT_LUMINANCE * before.size:
        return False
    counts = [np.histogram(view, bins=32, range=(0, 256))[0] / view.size for view in (before, after)]
    return bool(np.abs(counts[0] - counts[1]).sum() / 2 > CUT_HISTOGRAM)


def _close(a: np.ndarray, b: np.ndarray, share: float = 0.3) -> bool:
    """Whether two regions nearly coincide: centre, size and angle within `share`."""
    side = max(a[2], b[2])
    turn = abs((a[3] - b[3] + np.pi) % (2 * np.pi) - np.pi)
    return bool(
        np.hypot(*(a[:2] - b[:2])) < share * side
        and min(a[2], b[2]) > (1 - 2 * share) * side
        and turn < 2 * share
    )
