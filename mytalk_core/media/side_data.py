"""What a decoded frame carries beside its samples: how it is turned, which display it was graded on."""

from __future__ import annotations

from typing import Any

import av
from av.sidedata import sidedata

# What outputs do not carry on, in words.
CARRIED = {"A53_CC": "closed captions", "STEREO3D": "stereo 3D", "SPHERICAL": "spherical video"}


def side_data(frame: av.VideoFrame) -> Any:
    """A frame's side data by FFmpeg's names, buffers; empty where it carries none."""
    try:
        return frame.side_data or {}
    except ValueError:
        # PyAV names FFmpeg's kinds one by one and refuses a frame with a newer one, such as a photo's Exif.
        # Python's type checker does not know that enumerations are open this way.
        sidedata.Type._missing_ = classmethod(_unnamed)  # type: ignore[assignment,method-assign]
        return frame.side_data or {}


def carried(frame: av.VideoFrame) -> tuple[str, ...]:
    """What of a frame's side data no output here keeps, in words."""
    sides = side_data(frame)
    return tuple(word for name, word in CARRIED.items() if name in sides)


def _unnamed(kinds: type[sidedata.Type], number: object) -> sidedata.Type:
    """A kind that PyAV has no name for."""
    kind: Any = object.__new__(kinds)
    kind._name_, kind._value_ = f"UNNAMED_{number}", number
    return kind
