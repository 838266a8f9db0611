"""A video with the mesh drawn over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..media.arranged import ArrangedClip
from ..media.picture import Picture, rgb_colour
from ..media.timeline import plan_timeline
from ..media.video import Clip
from ..media.writer import VideoWriter
from .draw import draw_landmarks
from .layout import LandmarkLayout
from .track import FaceTrack


@dataclass(frozen=True, eq=False, kw_only=True)
class MeshClip(ArrangedClip):
    """A clip with the mesh and contours of `track`, drawn as it is read; RGB frames."""

    track: FaceTrack = field(repr=False)

    def pictures(self, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[Picture]:
        """See `Clip.pictures`; frames without the face show no mesh."""
        layout = LandmarkLayout.load(self.track.layout)
        for picture in super().pictures(indices):
            rgb = picture.rgb
            if self.track.present[picture.index]:
                rgb = draw_landmarks(rgb, self.track.landmarks[picture.index], layout)
            yield Picture.from_rgb(picture.index, rgb)


def draw_mesh(clip: Clip, track: FaceTrack) -> MeshClip:
    """`clip` with the mesh of `track`, one row a frame, and with the clip's own sound."""
    timeline = plan_timeline(clip, clip.duration_s)
    speech = clip.speech() if clip.has_audio else None
    rgb = {"format_name": "gbrp", "colour": rgb_colour(clip.height)}
    return MeshClip.of(clip, timeline, speech, track=track, **rgb)


def write_preview(
    clip: Clip, track: FaceTrack, path: Path, progress: Callable[[int], None] = lambda done: None
) -> None:
    """Write `clip` with the mesh and contours of `track`; frames without the face show none."""
    with VideoWriter(path, clip) as writer:
        for picture in draw_mesh(clip, track).pictures():
            writer.write(picture)
            progress(picture.index + 1)
