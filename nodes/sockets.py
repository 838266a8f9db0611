"""Socket types, and what travels on them."""

from __future__ import annotations

from dataclasses import dataclass

from comfy_api.latest import io

from ..mytalk_core.face.track import FaceTrack
from ..mytalk_core.media.audio import Speech
from ..mytalk_core.media.clip import Clip
from ..mytalk_core.media.timeline import Timeline
from ..mytalk_core.motion.motion import Motion

ModelSocket = io.Custom("MYTALK_MODEL")
TrackSocket = io.Custom("MYTALK_TRACK")
IdentitySocket = io.Custom("MYTALK_IDENTITY")
MotionSocket = io.Custom("MYTALK_MOTION")
# Types of newer cores; an older one passes them on by their name.
FaceLandmarksSocket = io.Custom("FACE_LANDMARKS")
BoundingBoxSocket = io.Custom("BOUNDING_BOX")


@dataclass(frozen=True)
class TrackedFace:
    """MYTALK_TRACK: one face and the clip it was found in, whose lips it can lend."""

    clip: Clip
    track: FaceTrack


@dataclass(frozen=True)
class Performance:
    """MYTALK_MOTION: a motion, and the timeline, speech and clip it was made for, None from a file."""

    motion: Motion
    timeline: Timeline | None = None
    speech: Speech | None = None
    clip: Clip | None = None
