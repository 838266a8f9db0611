"""Clips made of another clip, read from it when asked for: rearranged, or changed picture by picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np

from .audio import Speech
from .picture import Picture
from .timeline import Timeline
from .video import Clip

Arranged = TypeVar("Arranged", bound="ArrangedClip")


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrangedClip(Clip):
    """The frames `timeline.source_index` of `source`, shown at the timeline's times."""

    source: Clip = field(repr=False)
    timeline: Timeline = field(repr=False)

    @classmethod
    def of(
        cls: type[Arranged], source: Clip, timeline: Timeline, speech: Speech | None = None, **parts: Any
    ) -> Arranged:
        """Describe the arrangement; nothing is read. speech: its sound; parts: a subclass's own fields."""
        described = {entry.name: getattr(source, entry.name) for entry in fields(Clip)}
        described |= {
            "pts": timeline.pts,
            "time_base": timeline.time_base,
            "last_duration": timeline.last_duration,
            "fps": Fraction(len(timeline)) / (ticks(timeline) * timeline.time_base),
            "path": None,
            "table": None,
            "images": None,
            "has_audio": speech is not None,
            "images_speech": speech,
        }
        return cls(**(described | parts), source=source, timeline=timeline)

    def pictures(self, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[Picture]:
        """See `Clip.pictures`; a picture's index counts in this clip."""
        rows = self.rows(indices)
        for row, picture in zip(rows, self.source.pictures(self.timeline.source_index[rows]), strict=True):
            yield renumbered(picture, int(row))

    def rows(self, indices: Sequence[int] | np.ndarray | None) -> np.ndarray:
        """Frame numbers of this clip, int64; all where None."""
        return np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)


def ticks(timeline: Timeline) -> int:
    """The timeline's length in its time base."""
    return int(timeline.pts[-1]) + timeline.last_duration


def renumbered(picture: Picture, index: int) -> Picture:
    """The same picture under another number; its RGB is not made again."""
    if picture.index == index:
        return picture
    other = Picture(index, picture.frame, picture.colour, picture.converter)
    if "rgb" in picture.__dict__:
        other.__dict__["rgb"] = picture.__dict__["rgb"]
    return other


def part_of(clip: Clip, start_s: float, duration_s: float | None, speech: Speech | None = None) -> Clip:
    """The frames that begin in start_s .. start_s + duration_s (to the end where None), from time 0 on.

    Raises: ValueError where there are none.
    """
    stop_s = np.inf if duration_s is None else start_s + duration_s
    # A frame is chosen by its rounded time: 0.04 * 25 is not 1 in floating point.
    rows = np.flatnonzero((clip.times_s >= start_s - 1e-6) & (clip.times_s < stop_s - 1e-6))
    if not len(rows):
        raise ValueError(
            f"a part with frames in it was required, but {start_s} s + {duration_s} s of a video of "
            f"{clip.duration_s:.2f} s arrived: choose another part"
        )
    ends = np.append(clip.pts[1:], clip.pts[-1] + clip.last_duration)
    timeline = Timeline(
        rows,
        clip.pts[rows] - clip.pts[rows[0]],
        clip.time_base,
        int(ends[rows[-1]] - clip.pts[rows[-1]]),
        float((ends[rows[-1]] - clip.pts[rows[0]]) * clip.time_base),
    )
    return ArrangedClip.of(clip, timeline, speech)
