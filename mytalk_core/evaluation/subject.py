"""A video with its face followed: what is read once and used by every comparison."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import NoFaceError
from ..face.reader import FaceReader
from ..face.track import FaceTrack
from ..media.clip import Clip
from ..pipeline.stages import Progress, track


@dataclass(frozen=True, eq=False)
class Subject:
    """clip; track: its face; embeddings: by metric and frame number, kept for the next comparison."""

    clip: Clip
    track: FaceTrack
    embeddings: dict[str, dict[int, np.ndarray]] = field(default_factory=dict, repr=False)


def read_subject(
    clip: Clip,
    reader: FaceReader,
    face: str | int | tuple[float, float] = "largest",
    progress: Progress | None = None,
) -> Subject:
    """Follow a face through a clip in one pass; `face` as in `Faces.choose`.

    Raises NoFaceError, which names the file, if there is none.
    """
    try:
        return Subject(clip, track(reader, clip, progress).choose(face))
    except NoFaceError as error:
        raise NoFaceError(f"{name_of(clip)}: {error}") from error


def same_face(reference: Subject, clip: Clip) -> tuple[float, float]:
    """Where in `clip`'s pixels to look for the reference's face: the median point of its landmarks."""
    landmarks = reference.track.landmarks[reference.track.seen_rows(50)]
    x, y = np.median(landmarks[..., :2].mean(1), axis=0)
    return float(x * clip.width / reference.clip.width), float(y * clip.height / reference.clip.height)


def name_of(clip: Clip) -> str:
    """The file's name, or what frames in memory are called."""
    return clip.files[0].name if clip.files else "frames"
