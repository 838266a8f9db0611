"""What every source of video offers: its facts, and its frames on demand. Nothing of it is held."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from .audio import Speech
from .colour import Colour
from .fields import PROGRESSIVE
from .hdr import Mastering
from .picture import Picture


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip(ABC):
    """A video's facts, and its frames when they are asked for, again and again; frames are upright.

    height, width: px, upright; pts: int64 (T,) strictly increasing, in `time_base` seconds; last_duration:
    ticks that the last frame is shown; fps: average rate; colour: the tags that hold for all pictures;
    format_name: planar pixel format of the pictures; rotation: degrees clockwise that were undone;
    field_order: see `fields`, of the upright frames; mastering: HDR10 data; carried: see
    `side_data.carried`; has_audio: whether `speech` has something to give.
    """

    height: int
    width: int
    pts: np.ndarray
    time_base: Fraction
    last_duration: int
    fps: Fraction
    colour: Colour
    format_name: str
    rotation: int = 0
    sample_aspect_ratio: Fraction = Fraction(1)
    field_order: str = PROGRESSIVE
    mastering: Mastering | None = None
    carried: tuple[str, ...] = ()
    has_audio: bool = False

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def times_s(self) -> np.ndarray:
        """float64 (T,): seconds from the first frame."""
        return (self.pts - self.pts[0]) * float(self.time_base)

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame's start to the last frame's end."""
        return float((int(self.pts[-1] - self.pts[0]) + self.last_duration) * self.time_base)

    @property
    def durations(self) -> np.ndarray:
        """int64 (T,): how long each frame is shown, in `time_base` seconds."""
        return np.diff(np.append(self.pts, self.pts[-1] + self.last_duration))

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that are read for it."""
        return ()

    @property
    def origin(self) -> Clip | None:
        """The file's own clip where these are its frames from the first one on, at its own times; else None.

        What else that file holds (subtitles, chapters, further sound) then fits these frames.
        """
        return None

    @property
    def tags(self) -> dict[str, str]:
        """Container tags that a file of this clip must carry."""
        return {}

    @abstractmethod
    def speech(self) -> Speech:
        """The clip's own sound, its time 0 at the first frame. Raises MediaError where there is none."""

    def pictures(self, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[Picture]:
        """Pictures by frame number, in the order asked for, all where None: repeats and backward runs are
        fine, memory stays bounded.

        Raises: IndexError for a number outside the clip; MediaError when the source stops decoding.
        """
        return self._read(self.rows(indices))

    def frames(self, start: int = 0, stop: int | None = None, batch_size: int = 16) -> Iterator[np.ndarray]:
        """Upright RGB in order: uint8 (B, H, W, 3), B <= batch_size; frames start..stop-1."""
        stop = len(self) if stop is None else min(stop, len(self))
        images = self._read_rgb(np.arange(start, stop))
        for first in range(start, stop, batch_size):
            batch = np.empty((min(batch_size, stop - first), self.height, self.width, 3), np.uint8)
            for image in batch:
                image[...] = next(images)
            yield batch

    def rows(self, indices: Sequence[int] | np.ndarray | None) -> np.ndarray:
        """Frame numbers int64, all where None. Raises IndexError for a number outside the clip."""
        wanted = np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(
                f"frame numbers 0..{len(self) - 1} were required, but {wanted.min()}..{wanted.max()} arrived"
            )
        return wanted

    @abstractmethod
    def _read(self, rows: np.ndarray) -> Iterator[Picture]:
        """The pictures of frame numbers that exist."""

    def _read_rgb(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Their RGB, uint8 (H, W, 3)."""
        return (picture.rgb for picture in self._read(rows))
