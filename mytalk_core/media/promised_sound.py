"""How long a file of sound says that it is, to tell one that breaks off."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import av

from .container import seconds_a_tick

# A WAV that is written into a pipe has this size, or more, for one that is not known.
UNSAID_BYTES = 0x7FFF_0000
FMT_BYTES = 64  # of a WAV's description, which are enough
MP3_FRAME_BYTES = 1 << 11  # of one frame and more
# Formats whose first bytes say how long they are, by FFmpeg's names.
PROMISING = ("matroska,webm", "aiff", "au")
# A WAV's kinds of samples that are all of one size: integers, floats, A-law, mu-law, or named further on.
EVEN = (1, 3, 6, 7, 0xFFFE)


def promised_length_s(container: av.container.InputContainer, stream: av.AudioStream, path: Path) -> float:
    """How long a file of nothing but sound says that it is; 0 where it says nothing, or only roughly."""
    kind = container.format.name
    if len(container.streams) > 1:
        return 0.0
    if kind == "flac" and stream.duration:
        return float(stream.duration * seconds_a_tick(stream))
    if kind == "wav":
        return _wav_length_s(path)
    if kind in PROMISING or (kind == "mp3" and _counts_frames(path)):
        return (container.duration or 0) / av.time_base
    return 0.0


def _wav_length_s(path: Path) -> float:
    """How long a WAV says that it is; 0 where it doesn't. FFmpeg says what there is, and Python's own reader
    knows integers only."""
    a_second = size = 0
    with path.open("rb") as file:
        wide = file.read(12)[:4] == b"RF64"
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            if name == b"data":
                size = size if wide else length
                break
            body = file.read(min(length + length % 2, FMT_BYTES))
            file.seek(max(length + length % 2 - FMT_BYTES, 0), os.SEEK_CUR)
            if name == b"fmt " and len(body) >= 12:
                samples, a_second = struct.unpack_from("<H6xI", body)
                a_second *= samples in EVEN
            if name == b"ds64" and len(body) >= 16:
                (size,) = struct.unpack_from("<8xQ", body)
    said = size < UNSAID_BYTES or wide
    return size / a_second if a_second and said else 0.0


def _counts_frames(path: Path) -> bool:
    """Whether an MP3 begins with a frame that says how many there are: without, its length is a guess."""
    with path.open("rb") as file:
        begin = file.read(10)
        if begin[:3] == b"ID3" and len(begin) == 10:
            # A tag's size is in bytes of seven bits.
            file.seek(sum(byte << shift for byte, shift in zip(begin[6:], (21, 14, 7, 0), strict=True)), 1)
        first = begin + file.read(MP3_FRAME_BYTES)
    return any(name in first for name in (b"Xing", b"Info", b"VBRI"))
