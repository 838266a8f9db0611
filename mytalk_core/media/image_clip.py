"""A clip of images that are already in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from ..errors import MediaError
from ..limits import FRAME_RATE
from .audio import Speech
from .clip import Clip
from .picture import Picture, rgb_bytes, rgb_colour


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageClip(Clip):
    """Images (T, H, W, C), used in place, a frame at a time; sound: theirs, if any."""

    images: np.ndarray = field(repr=False)
    sound: Speech | None = field(default=None, repr=False)

    @staticmethod
    def from_frames(frames: np.ndarray, fps: Fraction | float, speech: Speech | None = None) -> ImageClip:
        """A clip of images at a constant rate.

        frames: (T, H, W, 3) uint8, or float 0..1 (ComfyUI's IMAGE; 1 and 4 channels too); fps: frames a
        second, exact fractions stay exact, a float within 1e-3 of n * 1000/1001 is taken as that. Raises:
        ValueError for another shape, type or rate.
        """
        frames = np.asarray(frames)
        if frames.ndim == 4 and not len(frames):
            raise ValueError("one frame or more was required, but none arrived")
        if frames.ndim != 4:
            raise ValueError(
                f"frames (T, H, W, 3) were required, but shape {frames.shape} arrived: stack RGB frames"
            )
        rate = exact_rate(fps)
        height, width = rgb_bytes(frames[0]).shape[:2]
        return ImageClip(
            height=height,
            width=width,
            pts=np.arange(len(frames), dtype=np.int64),
            time_base=1 / rate,
            last_duration=1,
            fps=rate,
            colour=rgb_colour(height),
            format_name="gbrp",
            has_audio=speech is not None,
            images=frames,
            sound=speech,
        )

    def speech(self) -> Speech:
        """See `Clip.speech`."""
        if self.sound is None:
            raise MediaError("speech was required, but these frames came without sound: give a sound file")
        return self.sound

    def _read(self, rows: np.ndarray) -> Iterator[Picture]:
        for row in rows:
            yield Picture.from_rgb(int(row), np.asarray(self.images[int(row)]))

    def _read_rgb(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        return (rgb_bytes(self.images[int(row)]) for row in rows)


def exact_rate(fps: Fraction | float) -> Fraction:
    """A frame rate as a fraction; decimals near n * 1000/1001 (29.97, 23.976) become that.

    Raises: ValueError unless it is above 0 and at most `limits.FRAME_RATE`.
    """
    if not 0 < fps <= FRAME_RATE.value:
        raise ValueError(
            f"a frame rate above 0 and at most {FRAME_RATE.value:.15g} was required, but {fps} arrived"
        )
    rate = Fraction(fps).limit_denominator(1_001_000)
    if isinstance(fps, Fraction | int) or rate.denominator == 1:
        return rate
    broadcast = Fraction(round(float(fps) * 1001 / 1000) * 1000, 1001)
    return broadcast if abs(float(broadcast) - float(fps)) < 2e-3 * float(fps) / 24 else rate
