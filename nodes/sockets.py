"""Socket types, what travels on them, and VIDEO or IMAGE as the core's clip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import comfy.model_management
import folder_paths
import numpy as np
import torch
from comfy_api.latest import Input, io

from ..mytalk_core.face.track import FaceTrack
from ..mytalk_core.files import replacing
from ..mytalk_core.media.arranged import DerivedClip, part_of
from ..mytalk_core.media.audio import Speech
from ..mytalk_core.media.clip import Clip
from ..mytalk_core.media.cut import cut_speech
from ..mytalk_core.media.file_clip import FileClip
from ..mytalk_core.media.image_clip import ImageClip
from ..mytalk_core.media.picture import Picture
from ..mytalk_core.media.timeline import Timeline
from ..mytalk_core.motion.motion import Motion
from .sound import to_speech
from .video import ClipVideo

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
    """MYTALK_MOTION: a motion, and the timeline and speech it was made for, None for one from a file."""

    motion: Motion
    timeline: Timeline | None = None
    speech: Speech | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class CancellableClip(DerivedClip):
    """The source itself, but Cancel stops whoever reads it, at the next picture."""

    def _read(self, rows: np.ndarray) -> Iterator[Picture]:
        for picture in super()._read(rows):
            comfy.model_management.throw_exception_if_processing_interrupted()
            yield picture


def to_clip(video: Input.Video | torch.Tensor, frame_rate: float | Fraction) -> Clip:
    """A VIDEO or IMAGE (T,H,W,C) as a clip; frame_rate, frames a second, is for an IMAGE only.

    A VIDEO in a file is read from there by our own reader, frame by frame; one held in memory is used in
    place.
    """
    if isinstance(video, ClipVideo):
        return video.clip
    clip: Clip
    if isinstance(video, torch.Tensor):
        clip = ImageClip.from_frames(video.float().cpu().numpy(), as_rate(frame_rate))
    elif type(video).get_stream_source is Input.Video.get_stream_source:
        # The default would encode the frames, with loss, to make a stream of them.
        parts = video.get_components()
        speech = to_speech(parts.audio) if parts.audio else None
        clip = ImageClip.from_frames(parts.images.float().cpu().numpy(), parts.frame_rate, speech)
    else:
        clip = FileClip.open(stream_path(video.get_stream_source()))
    return trimmed(CancellableClip.of(clip), *trim_window(video))


def sources(clip: Clip) -> Iterator[Clip]:
    """The clip and, one after the other, those that it is made of; the last one reads its own pictures."""
    yield clip
    while isinstance(clip, DerivedClip):
        clip = clip.source
        yield clip


def alpha_lost(video: Input.Video | torch.Tensor) -> list[str]:
    """A line for the user where an IMAGE's transparency is not kept."""
    if isinstance(video, torch.Tensor) and video.shape[-1] == 4 and bool((video[..., 3] < 1).any()):
        return ["the images' transparency is not kept: their colours alone are used"]
    return []


def as_rate(frame_rate: float | Fraction) -> Fraction | int | float:
    """A widget's decimal as it was meant: 25.0 is 25, 29.97 stays for the core to make 30000/1001."""
    return int(frame_rate) if frame_rate == int(frame_rate) else frame_rate


def stream_path(source: str | Path | BytesIO) -> Path:
    """The file of a stream source; a stream in memory is laid into ComfyUI's temp folder, once."""
    if isinstance(source, str | Path):
        return Path(source)
    data = source.getvalue()
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"mytalk_{hashlib.sha256(data).hexdigest()[:24]}.mkv"
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    return path


def trim_window(video: object) -> tuple[float, float]:
    """(start_s, duration_s) of a VIDEO that a newer core has trimmed; duration 0 is to the end."""
    window = getattr(video, "get_active_trim_window", None)
    return window() if window is not None else (0.0, 0.0)


def trimmed(clip: Clip, start_s: float, duration_s: float) -> Clip:
    """A part of a clip with that part of its sound; duration_s 0 is to the end."""
    if start_s == 0 and duration_s == 0:
        return clip
    speech = cut_speech(clip.speech(), start_s, duration_s or None) if clip.has_audio else None
    return part_of(clip, start_s, duration_s or None, speech)
