"""Clips made of another clip, read from it when asked for: changed picture by picture, or rearranged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import MediaError
from .audio import Speech
from .clip import Clip
from .picture import Picture
from .timeline import Timeline, begins_alike

Derived = TypeVar("Derived", bound="DerivedClip")
Arranged = TypeVar("Arranged", bound="ArrangedClip")


@dataclass(frozen=True, eq=False, kw_only=True)
class DerivedClip(Clip):
    """A clip frame by frame, with its times and sound; a subclass changes the pictures."""

    source: Clip = field(repr=False)

    @classmethod
    def of(cls: type[Derived], source: Clip, **parts: Any) -> Derived:
        """Describe it; nothing is read. parts: a subclass's own fields, and facts that differ."""
        facts: dict[str, Any] = {
            "height": source.height,
            "width": source.width,
            "pts": source.pts,
            "time_base": source.time_base,
            "last_duration": source.last_duration,
            "fps": source.fps,
            "colour": source.colour,
            "format_name": source.format_name,
            "rotation": source.rotation,
            "sample_aspect_ratio": source.sample_aspect_ratio,
            "field_order": source.field_order,
            "mastering": source.mastering,
            "carried": source.carried,
            "has_audio": source.has_audio,
        }
        return cls(**(facts | parts), source=source)

    @property
    def files(self) -> tuple[Path, ...]:
        """See `Clip.files`."""
        return self.source.files

    @property
    def origin(self) -> Clip | None:
        """See `Clip.origin`."""
        return self.source.origin

    @property
    def tags(self) -> dict[str, str]:
        """See `Clip.tags`."""
        return self.source.tags

    def speech(self) -> Speech:
        """See `Clip.speech`."""
        return self.source.speech()

    def _read(self, rows: np.ndarray) -> Iterator[Picture]:
        return self.source.pictures(rows)


@dataclass(frozen=True, eq=False, kw_only=True)
class ArrangedClip(DerivedClip):
    """The frames `timeline.source_index` of the source, shown at the timeline's times; sound: its own."""

    timeline: Timeline = field(repr=False)
    sound: Speech | None = field(default=None, repr=False)

    @classmethod
    def arrange(
        cls: type[Arranged], source: Clip, timeline: Timeline, sound: Speech | None = None, **parts: Any
    ) -> Arranged:
        """Describe the arrangement; nothing is read. parts: a subclass's own fields."""
        return cls.of(
            source,
            pts=timeline.pts,
            time_base=timeline.time_base,
            last_duration=timeline.last_duration,
            has_audio=sound is not None,
            timeline=timeline,
            sound=sound,
            **parts,
        )

    @property
    def origin(self) -> Clip | None:
        """See `Clip.origin`."""
        return self.source.origin if begins_alike(self.source, self.timeline) else None

    def speech(self) -> Speech:
        """See `Clip.speech`."""
        if self.sound is None:
            raise MediaError("speech was required, but these frames came without sound: give a sound file")
        return self.sound

    def _read(self, rows: np.ndarray) -> Iterator[Picture]:
        """A picture's index counts in this clip."""
        last = None
        for row, picture in zip(rows, self.source.pictures(self.timeline.source_index[rows]), strict=True):
            numbered = picture.numbered(int(row))
            if picture is last and picture.converted is None:
                # One that is shown again and again, as a still is, becomes RGB once.
                numbered = replace(numbered, converted=picture.rgb)
            last = picture
            yield numbered


def part_of(
    clip: Clip, start_s: float, duration_s: float | None, sound: Speech | None = None
) -> ArrangedClip:
    """The frames that begin in start_s .. start_s + duration_s (to the end where None), from time 0 on.

    Raises: ValueError where there are none.
    """
    stop_s = np.inf if duration_s is None else start_s + duration_s
    # A frame is chosen by its rounded time: 0.04 * 25 is not 1 in floating point.
    rows = np.flatnonzero((clip.times_s >= start_s - 1e-6) & (clip.times_s < stop_s - 1e-6))
    if not len(rows):
        end = "the end" if duration_s is None else f"{start_s + duration_s:g} s"
        raise ValueError(
            f"a part with frames in it was required, but {start_s:g} s to {end} of a video of "
            f"{clip.duration_s:.2f} s arrived: choose another part"
        )
    ends = clip.pts + clip.durations
    timeline = Timeline(
        rows,
        clip.pts[rows] - clip.pts[rows[0]],
        clip.time_base,
        int(ends[rows[-1]] - clip.pts[rows[-1]]),
        float((ends[rows[-1]] - clip.pts[rows[0]]) * clip.time_base),
    )
    return ArrangedClip.arrange(clip, timeline, sound)
