"""A video with the mesh drawn over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..media.picture import Picture
from ..media.video import Clip
from ..media.writer import VideoWriter
from .draw import draw_landmarks
from .layout import LandmarkLayout
from .track import FaceTrack


def write_preview(
    clip: Clip, track: FaceTrack, path: Path, progress: Callable[[int], None] = lambda done: None
) -> None:
    """Write `clip` with the mesh and contours of `track`; frames without the face stay as they are."""
    layout = LandmarkLayout.load(track.layout)
    with VideoWriter(path, clip) as writer:
        for index, picture in enumerate(clip.pictures()):
            if track.present[index]:
                picture = Picture.from_rgb(index, draw_landmarks(picture.rgb, track.landmarks[index], layout))
            writer.write(picture)
            progress(index + 1)
