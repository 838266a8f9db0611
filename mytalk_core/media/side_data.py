"""What a decoded frame carries beside its samples: how it is turned, which display it was graded on."""

from __future__ import annotations

from typing import Any

import av
from av.sidedata import sidedata

# What outputs do not carry on, in words.
CARRIED = {"A53_CC": "closed captions", "STEREO3D": "stereo 3D", "SPHERICAL": "spherical video"}
# With what captions begin in a packet of MPEG-2, H.264 and HEVC (ATSC A/53 part 4, 6.2.3).
CAPTIONS = b"GA94\x03"


def side_data(frame: av.VideoFrame) -> Any:
    """A frame's side data by FFmpeg's names, buffers; empty where it carries none."""
    try:
        return frame.side_data or {}
    except ValueError:
        # PyAV names FFmpeg's kinds one by one and refuses a frame with a newer one, such as a photo's Exif.
        # Python's type checker does not know that enumerations are open this way.
        sidedata.Type._missing_ = classmethod(_unnamed)  # type: ignore[assignment,method-assign]
        return frame.side_data or {}


def carried(first: av.VideoFrame, has_captions: bool) -> tuple[str, ...]:
    """What of a video's side data no output here keeps, in words; first: its first frame; has_captions:
    whether any packet has `CAPTIONS`, which may begin later.
    """
    names = {name for name in CARRIED if name in side_data(first)} | ({"A53_CC"} if has_captions else set())
    return tuple(word for name, word in CARRIED.items() if name in names)


def _unnamed(kinds: type[sidedata.Type], number: object) -> sidedata.Type:
    """A kind that PyAV has no name for."""
    kind: Any = object.__new__(kinds)
    kind._name_, kind._value_ = f"UNNAMED_{number}", number
    return kind
