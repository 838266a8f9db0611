"""What a decoded frame carries beside its samples: how it is turned, which display it was graded on."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import av
from av.sidedata import sidedata

# What outputs do not carry on, in words.
CARRIED = {"A53_CC": "closed captions", "STEREO3D": "stereo 3D", "SPHERICAL": "spherical video"}
# X, Y and Z of sRGB's primaries under D50, by the tags in which an ICC profile has them (ICC.1:2022, 9.2).
SRGB_PRIMARIES = {
    b"rXYZ": (0.436, 0.222, 0.014),
    b"gXYZ": (0.385, 0.717, 0.097),
    b"bXYZ": (0.143, 0.061, 0.714),
}
# With what captions begin in a packet of MPEG-2, H.264 and HEVC (ATSC A/53 part 4, 6.2.3).
CAPTIONS = b"GA94\x03"


def side_data(frame: av.VideoFrame) -> Any:
    """A frame's side data by FFmpeg's names, buffers; empty where it carries none."""
    # PyAV names FFmpeg's kinds one by one and refuses a frame with a newer one, such as a photo's Exif.
    # Python's type checker does not know that enumerations are open this way.
    sidedata.Type._missing_ = classmethod(_unnamed)  # type: ignore[assignment,method-assign]
    sides: Any = frame.side_data or {}
    for side in sides:
        _leave_words_to_frame(side)
    return sides


def carried(first: av.VideoFrame, has_captions: bool = False) -> tuple[str, ...]:
    """What of a video's side data no output here keeps, in words; first: its first frame; has_captions:
    whether any packet has `CAPTIONS`, which may begin later.
    """
    sides = side_data(first)
    names = {name for name in CARRIED if name in sides} | ({"A53_CC"} if has_captions else set())
    words = [word for name, word in CARRIED.items() if name in names]
    if "ICC_PROFILE" in sides and not is_srgb(bytes(sides["ICC_PROFILE"])):
        words.append("a colour profile (ICC) other than sRGB")
    return tuple(words)


def is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile's primaries are sRGB's: what is shown without it, and what most photos have."""

    def number(at: int) -> int:
        return int.from_bytes(profile[at : at + 4], "big", signed=True)

    entries = range(132, min(132 + 12 * number(128), len(profile)), 12)
    places = {profile[at : at + 4]: number(at + 4) for at in entries}
    return all(
        abs(number(places.get(tag, len(profile)) + 8 + 4 * axis) / 65536 - value) < 0.003
        for tag, primary in SRGB_PRIMARIES.items()
        for axis, value in enumerate(primary)
    )


def _leave_words_to_frame(side: object) -> None:
    """What a kind says in words, as a PNG's colour profile its name, PyAV frees with it and again with the
    frame, which ends the process: so the holder of the words is never let go, which costs some bytes.
    """
    for part in gc.get_referents(side):
        if type(part).__module__ == "av.dictionary" and len(part):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(part))


def _unnamed(kinds: type[sidedata.Type], number: object) -> sidedata.Type:
    """A kind that PyAV has no name for."""
    kind: Any = object.__new__(kinds)
    kind._name_, kind._value_ = f"UNNAMED_{number}", number
    return kind
