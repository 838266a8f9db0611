"""A lip-synced video that is rendered while it is read: a clip like any other, nothing of it is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..appearance.renderer import Renderer
from ..face.packed import Mapped
from ..face.track import FaceTrack
from ..media.arranged import ArrangedClip, renumbered
from ..media.patch import Patch, coverage, paste
from ..media.picture import Picture
from ..media.video import Clip
from .stages import disclosure_tags, render_pictures


@dataclass(frozen=True, eq=False, kw_only=True)
class RenderedClip(ArrangedClip):
    """The source on its timeline with new lips.

    shown, targets: the face and its wanted landmarks on the timeline; renderer: what draws the lips.
    """

    shown: FaceTrack = field(repr=False)
    targets: Mapped = field(repr=False)
    renderer: Renderer = field(repr=False)

    def edits(
        self, indices: Sequence[int] | np.ndarray | None = None
    ) -> Iterator[tuple[int, Picture, list[Patch]]]:
        """Frame number, the source's picture and what replaces parts of it."""
        rows = self.rows(indices)
        rendered = render_pictures(self.source, self.timeline, self.shown, self.targets, self.renderer, rows)
        for row, (picture, patches) in zip(rows, rendered, strict=True):
            yield int(row), picture, patches

    def pictures(self, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[Picture]:
        """See `Clip.pictures`."""
        for row, picture, patches in self.edits(indices):
            yield renumbered(paste(picture, patches), row)

    def masks(self, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[np.ndarray]:
        """For each frame how much of every pixel is new: uint8 (H, W), 0 where the source is untouched."""
        for _, _, patches in self.edits(indices):
            yield coverage(patches, self.height, self.width)


def clip_tags(clip: Clip) -> dict[str, str]:
    """Container tags a file of this clip must carry: the disclosure if any part of it was rendered."""
    while isinstance(clip, ArrangedClip):
        if isinstance(clip, RenderedClip):
            return disclosure_tags()
        clip = clip.source
    return {}
