"""A video with the mesh drawn over it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from ..media.arranged import DerivedClip
from ..media.clip import Clip
from ..media.picture import Picture, rgb_colour
from .draw import draw_landmarks
from .layout import LandmarkLayout
from .track import FaceTrack


@dataclass(frozen=True, eq=False, kw_only=True)
class MeshClip(DerivedClip):
    """A clip with the mesh and contours of `track`, drawn as it is read; RGB frames."""

    track: FaceTrack = field(repr=False)

    def _read(self, rows: np.ndarray) -> Iterator[Picture]:
        """Frames without the face show no mesh."""
        layout = LandmarkLayout.load(self.track.layout)
        for picture in super()._read(rows):
            rgb = picture.rgb
            if self.track.present[picture.index]:
                rgb = draw_landmarks(rgb, self.track.landmarks[picture.index], layout)
            yield Picture.from_rgb(picture.index, rgb)


def draw_mesh(clip: Clip, track: FaceTrack) -> MeshClip:
    """`clip` with the mesh of `track`, one row a frame, and with the clip's own sound."""
    return MeshClip.of(clip, track=track, format_name="gbrp", colour=rgb_colour(clip.height))
