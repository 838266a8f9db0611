"""What a face looks like at rest, and its speech-made movement without the head's pose.

Displacements from a person's own rest shape transfer between people where absolute points do not; taking the
rigid pose out in three dimensions keeps a turning head from looking like a moving mouth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ..errors import NoFaceError
from ..face import alignment
from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from ..face.track import FaceTrack

if TYPE_CHECKING:
    from torch import Tensor

RATE_HZ = 25.0
# Lip pairs, upper and lower, whose distances make the opening ratio.
OPENING_PAIRS = np.array([[13, 14], [82, 87], [312, 317], [81, 178], [311, 402]])
MOUTH_CORNERS = (61, 291)
EYE_CORNERS = ((33, 133), (362, 263))
# The share of frames, those with the mouth most closed, that show the rest shape.
REST_SHARE = 0.2
SAMPLE_FRAMES = 500
# The face is present in a motion frame if the video shows the face this close to it.
PRESENT_WITHIN_S = 0.06


def opening_ratio(landmarks: np.ndarray) -> np.ndarray:
    """Mean distance of the inner lips over the inter-ocular distance; landmarks (...,N,2 or 3) -> (...)."""
    upper, lower = (landmarks[..., OPENING_PAIRS[:, i], :] for i in (0, 1))
    return np.linalg.norm(upper - lower, axis=-1).mean(-1) / interocular(landmarks)


def interocular(landmarks: np.ndarray) -> np.ndarray:
    """Distance of the eyes' centres (means of their corners), landmarks (...,N,C) -> (...)."""
    right, left = (landmarks[..., list(eye), :].mean(-2) for eye in EYE_CORNERS)
    return np.linalg.norm(right - left, axis=-1)


Shape = TypeVar("Shape", np.ndarray, "Tensor")


def identity_channels(landmarks: Shape) -> Shape:
    """Frontal landmarks (...,N,2) canonical units, array or tensor -> (...,2N) of about unit size for M."""
    return ((landmarks - UNITS / 2) / (UNITS / 4)).reshape(*landmarks.shape[:-2], -1)


@dataclass(frozen=True)
class Person:
    """A person's rest shape (N,3), frontal, in canonical units, in the named layout."""

    rest: np.ndarray
    layout: str

    @property
    def mouth_width(self) -> float:
        """Distance of the mouth's corners at rest, canonical units: the unit of displacements."""
        return float(np.linalg.norm(self.rest[MOUTH_CORNERS[0]] - self.rest[MOUTH_CORNERS[1]]))


def shown_landmarks(track: FaceTrack) -> np.ndarray:
    """Landmarks (K,N,3) of frames that show the face, K <= `SAMPLE_FRAMES`, evenly: means need no more.

    Raises NoFaceError if there is none.
    """
    if not track.present.any():
        raise NoFaceError(f"a face is needed to learn its rest shape; none of {len(track)} frames has one")
    return track.landmarks[track.seen_rows(SAMPLE_FRAMES)]


def find_rest(track: FaceTrack) -> Person:
    """The rest shape of the person in a track: the mean frontal shape of frames with a closed mouth.

    Raises NoFaceError if the track has no frame with a face.
    """
    layout, landmarks = LandmarkLayout.load(track.layout), shown_landmarks(track)
    template = layout.template
    frontal = alignment.fit_pose(landmarks, template, layout.anchors).to_frontal(landmarks)
    own = frontal.mean(0)
    frontal = alignment.fit_pose(landmarks, own, layout.anchors).to_frontal(landmarks)
    opening = opening_ratio(frontal)
    closed = opening <= np.quantile(opening, REST_SHARE)
    rest = frontal[closed].mean(0)
    pose = alignment.fit_pose(rest[None], template, layout.anchors)
    return Person(pose.to_frontal(rest[None])[0].astype(np.float32), track.layout)


@dataclass(frozen=True)
class PoseFreeTrack:
    """A track at 25 Hz without its pose.

    displacement: (F,N,3) from rest, in mouth widths; pose: of each frame; similarity: (F,2,3) frame px ->
    canonical square; present: (F,) bool, whether the video shows the face about then.
    """

    displacement: np.ndarray
    pose: alignment.Pose
    similarity: np.ndarray
    present: np.ndarray

    def to_canonical(self, displacement: np.ndarray, person: Person) -> np.ndarray:
        """Displacements (F,N,3) -> landmarks (F,N,2) canonical units under these poses."""
        frames = self.pose.to_frame(person.rest + displacement * person.mouth_width)
        return alignment.apply(self.similarity, frames[..., :2]).astype(np.float32)


def remove_pose(track: FaceTrack, person: Person, start: int, stop: int) -> PoseFreeTrack:
    """Motion frames start..stop of a track, at 25 Hz, pose taken out; frames without a face are bridged.

    Raises NoFaceError if the track shows no face at all.
    """
    sample = track.at(np.arange(start, stop) / RATE_HZ)
    pose = alignment.fit_pose(sample.landmarks, person.rest, LandmarkLayout.load(track.layout).anchors)
    displacement = (pose.to_frontal(sample.landmarks) - person.rest) / person.mouth_width
    present = sample.distance_s < PRESENT_WITHIN_S
    return PoseFreeTrack(displacement.astype(np.float32), pose, sample.similarity, present)
