"""A shot of a video as a sample: its movement and speech at 25 Hz, its track, its crops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from safetensors.numpy import save

from mytalk_core.appearance.references.pool import even_sample
from mytalk_core.appearance.references.references import mouth_detail
from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.audio import MODEL_RATE_HZ
from mytalk_core.media.clip import Clip
from mytalk_core.motion.person import RATE_HZ, Person, remove_pose
from mytalk_core.speech.features import SAMPLES_PER_FRAME

# Sharpness is measured in this many frames of a shot at least, even spread over it.
SHARPNESS_FRAMES = 24


@dataclass(frozen=True)
class Shot:
    """Frames start..stop-1 of a clip without a cut; track: theirs, times from the shot's first frame;
    start_s, seconds: of its picture."""

    number: int
    start: int
    stop: int
    start_s: float
    seconds: float
    track: FaceTrack


@dataclass(frozen=True)
class SpokenMotion:
    """A shot's movement at 25 Hz and the sound that goes with it, equally long.

    displacement (F,N,3) float32 in mouth widths; present (F,) bool; speech (640 F,) float32 at 16 kHz.
    """

    displacement: np.ndarray
    present: np.ndarray
    speech: np.ndarray


def split_shots(track: FaceTrack, duration_s: float) -> Iterator[Shot]:
    """The shots of a clip's track, in order; duration_s: to the end of the clip's last frame."""
    edges = np.flatnonzero(np.diff(track.shots, prepend=track.shots[0] - 1))
    for number, (start, stop) in enumerate(zip(edges, [*edges[1:], len(track)], strict=True)):
        start_s = float(track.times_s[start])
        end_s = duration_s if stop == len(track) else float(track.times_s[stop])
        own = track.take(np.arange(start, stop), track.times_s[start:stop] - start_s)
        yield Shot(number, int(start), int(stop), start_s, end_s - start_s, own)


def shift(speech: np.ndarray, lag_s: float) -> np.ndarray:
    """Speech (S,) delayed by lag_s seconds (cut in front where negative), so that the lips agree with it."""
    samples = round(lag_s * MODEL_RATE_HZ)
    return np.concatenate([np.zeros(samples, speech.dtype), speech]) if samples > 0 else speech[-samples:]


def spoken_motion(shot: Shot, person: Person, speech: np.ndarray, lag_s: float) -> SpokenMotion:
    """A shot's movement and speech; speech: the clip's whole (S,) at 16 kHz, its lips lag_s late."""
    own = shift(speech, lag_s)[round(shot.start_s * MODEL_RATE_HZ) :]
    frames = min(int(shot.seconds * RATE_HZ), len(own) // SAMPLES_PER_FRAME)
    motion = remove_pose(shot.track, person, 0, frames)
    return SpokenMotion(motion.displacement, motion.present, own[: frames * SAMPLES_PER_FRAME])


def spoken_seconds(shot: Shot, speech: np.ndarray) -> float:
    """How long a shot has both picture and sound."""
    return max(0.0, min(shot.seconds, len(speech) / MODEL_RATE_HZ - shot.start_s))


def motion_member(motion: SpokenMotion, person: Person) -> bytes:
    """KEY.motion.safetensors: displacement float16, present uint8, rest (N,3), speech int16."""
    tensors: dict[str, np.ndarray] = {
        "displacement": motion.displacement.astype(np.float16),
        "present": motion.present.astype(np.uint8),
        "rest": person.rest,
        "speech": np.round(motion.speech.clip(-1, 1) * 32767).astype(np.int16),
    }
    # One entry only: the order of several differs from run to run, and with it the bytes.
    return save(tensors, {"layout": person.layout})


def track_member(track: FaceTrack, detail: np.ndarray, embedding: np.ndarray | None) -> bytes:
    """KEY.track.safetensors of T frames: canonical landmarks float16 (T,N,2), similarity (T,2,3) frame px to
    canonical, present, shots, times_s, sharpness (T,), NaN where not measured; embedding (E,) where the
    sample has no label of its own."""
    tensors = {
        "landmarks": track.canonical[:].astype(np.float16),
        "similarity": track.similarity.astype(np.float32),
        "present": track.present.astype(np.uint8),
        "shots": track.shots,
        "times_s": track.times_s.astype(np.float64),
        "sharpness": detail,
    }
    if embedding is not None:
        tensors["embedding"] = embedding.astype(np.float32)
    return save(
        {name: np.ascontiguousarray(value) for name, value in tensors.items()}, {"layout": track.layout}
    )


@dataclass(frozen=True)
class Crop:
    """A frame's canonical crop uint8 RGB (S,S,3), the frame's number in its shot; units: the crop at one
    pixel a unit (256,256,3), whose detail it is; kept: whether it belongs into the dataset; sampled: whether
    it stands for the shot in its figures."""

    frame: int
    rgb: np.ndarray
    units: np.ndarray
    detail: float
    kept: bool
    sampled: bool


def read_crops(clip: Clip, shot: Shot, every: int, size: int) -> Iterator[Crop]:
    """Crops of a shot, of side `size`, in order: of each `every`-th frame with the face (0: of none) to keep,
    and of some more to measure."""
    layout = LandmarkLayout.load(shot.track.layout)
    present = np.flatnonzero(shot.track.present)
    kept = present[present % every == 0] if every else present[:0]
    sampled = even_sample(present, SHARPNESS_FRAMES)
    frames, keep, sample = np.union1d(kept, sampled), set(kept.tolist()), set(sampled.tolist())
    for frame, picture in zip(frames, clip.pictures(frames + shot.start), strict=True):
        rgb = cut_crop(picture.rgb, shot.track.similarity[frame], size)
        landmarks = shot.track.canonical[frame : frame + 1][0]
        units = rgb if size == UNITS else cv2.resize(rgb, (UNITS, UNITS), interpolation=cv2.INTER_AREA)
        detail = mouth_detail(units, landmarks, layout)
        yield Crop(int(frame), rgb, units, detail, frame in keep, frame in sample)


def jpeg(rgb: np.ndarray, quality: int) -> bytes:
    """A picture uint8 RGB as JPEG with full colour resolution: lips are told from skin by colour."""
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        quality,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    ]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    if not done:
        raise ValueError(f"OpenCV could not write a JPEG of quality {quality}: 1 to 100 is required")
    return data.tobytes()
