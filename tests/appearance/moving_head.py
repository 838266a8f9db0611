"""A head that moves, on which something is painted, and what the cover detector finds before its mouth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from repository import EXAMPLES

from mytalk_core.appearance.covers.cover import Cover
from mytalk_core.appearance.covers.cover_detector import CoverDetector
from mytalk_core.appearance.references.references import References
from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import load_face_reader
from mytalk_core.face.tracker import track_faces
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.picture import Picture

LAYOUT = LandmarkLayout.load("mesh478")
SIZE, STEP, FRAMES = 256, 4, 20
# Painted on a frame uint8 (H, W, 3) in place, whose face has landmarks (N, 2) px and a mouth so many px wide.
Painter = Callable[[np.ndarray, np.ndarray, float], None]


@dataclass(frozen=True)
class Scene:
    """Frames (T,H,W,3) of a head that moves, and where its landmarks (T,N,2) px are."""

    frames: np.ndarray
    landmarks: np.ndarray
    similarity: np.ndarray
    canonical: np.ndarray

    def painted(self, painter: Painter, on: range = range(FRAMES)) -> np.ndarray:
        """The frames with something painted on some of them."""
        frames = self.frames.copy()
        for number in on:
            landmarks = self.landmarks[number]
            width = float(np.ptp(landmarks[LAYOUT.lips_outer, 0]))
            painter(frames[number], landmarks, width)
        return frames

    def about_lips(self, number: int) -> np.ndarray:
        """Where the lips of a frame's crop are, and some units about them: bool (256,256)."""
        lips, near = self.canonical[number][LAYOUT.lips_outer], np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillConvexPoly(near, cv2.convexHull(lips.astype(np.int32)), 1)
        return cv2.dilate(near, np.ones((25, 25), np.uint8)) > 0

    def references(self, frames: np.ndarray) -> References:
        crops = np.stack([cut_crop(*pair, SIZE) for pair in zip(frames, self.similarity, strict=True)])
        every = np.arange(len(frames))
        ones = np.ones(len(frames), np.float32)
        return References(crops, self.canonical.astype(np.float32), every, ones, np.zeros_like(every))

    def covers(self, frames: np.ndarray) -> list[Cover]:
        references = self.references(frames)
        cover_detector = CoverDetector(references, LAYOUT, self.similarity)
        triples = zip(references.crops, references.landmarks, self.similarity, strict=True)
        return [cover_detector.cover(*triple) for triple in triples]

    def changed(self, frames: np.ndarray, share: float = 0.5) -> np.ndarray:
        """Where more than a share of each place differs from the plain frames, on the crops: bool
        (T,256,256)."""
        different = (frames != self.frames).any(-1).astype(np.uint8) * 255
        pairs = zip(different, self.similarity, strict=True)
        return np.stack(
            [cut_crop(np.repeat(one[..., None], 3, -1), at, SIZE)[..., 0] > 255 * share for one, at in pairs]
        )


def moving_head() -> Scene:
    """The head of an example, every few frames."""
    clip = FileClip.open(EXAMPLES / "ai_woman.mp4")
    frames = np.concatenate(list(clip.frames(0, STEP * FRAMES)))[::STEP]
    pictures = [Picture.from_rgb(*numbered) for numbered in enumerate(frames)]
    track = track_faces([pictures], clip.times_s[: STEP * FRAMES : STEP], load_face_reader()).choose()
    every = np.arange(FRAMES)
    return Scene(frames, track.landmarks[every][..., :2], track.similarity[every], track.canonical[every])
