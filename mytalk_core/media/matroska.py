"""What FFmpeg's Matroska muxer writes only for streams that PyAV cannot describe to it: the shape of the
pixels, and HDR10 mastering data. Both go into the header of a finished file.

A title longer than needed holds the room: no byte behind the track's description moves.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from .hdr import Mastering

SEGMENT, TRACKS, TRACK, VIDEO, COLOUR = 0x18538067, 0x1654AE6B, 0xAE, 0xE0, 0x55B0
NAME, VOID, CRC = 0x536E, 0xEC, 0xBF
DISPLAY_WIDTH, DISPLAY_HEIGHT, DISPLAY_UNIT = 0x54B0, 0x54BA, 0x54B2
MAX_CLL, MAX_FALL, MASTERING = 0x55BC, 0x55BD, 0x55D0
# Red, green, blue, white as x and y, then the highest and the lowest luminance.
CHROMATICITIES, LUMINANCE_MAX, LUMINANCE_MIN = range(0x55D1, 0x55D9), 0x55D9, 0x55DA
# More than all these elements take together.
ROOM = 250
HEADER_BYTES = 1 << 20


def title_with_room(title: str) -> str:
    """The title to give the video stream, so that `describe_pictures` has room."""
    return title + " " * ROOM


def describe_pictures(
    path: Path, title: str, size: tuple[int, int], aspect: Fraction, mastering: Mastering | None
) -> None:
    """Write pixel shape and mastering data into a Matroska or WebM file made with `title_with_room(title)`.

    size: (height, width) px; aspect: width of a pixel by its height. Raises ValueError where the file has no
    such track.
    """
    with path.open("r+b") as file:
        data = bytearray(file.read(HEADER_BYTES))
        begin, end = find(data, [SEGMENT, TRACKS])
        before = bytes(data[begin:end])
        checksum = None
        at = begin
        while at < end:
            name, body, after = header(data, at)
            if name == TRACK:
                data[body:after] = revised(bytes(data[body:after]), title, size, aspect, mastering)
            elif name == CRC:
                checksum = body, after
            at = after
        if checksum is not None:
            data[slice(*checksum)] = struct.pack("<I", zlib.crc32(data[checksum[1] : end]))
        described = bytes(data[begin:end])
        if len(described) != len(before) or described == before:
            raise ValueError(f"a video track with room in its title was required in {path}")
        file.seek(begin)
        file.write(described)


def revised(
    track: bytes, title: str, size: tuple[int, int], aspect: Fraction, mastering: Mastering | None
) -> bytes:
    """A track entry of the same length with the new elements; one without pictures as it is."""
    parts = list(elements(track))
    if VIDEO not in dict(parts):
        return track
    kept = []
    for name, body in parts:
        if name == VIDEO:
            body = described_video(body, size, aspect, mastering)
        if name != NAME:
            kept.append(element(name, body))
    if title:
        kept.append(element(NAME, title.encode()))
    room = len(track) - sum(map(len, kept))
    # The size takes two bytes, so that any room of three and more can be filled.
    return b"".join(kept) + bytes([VOID]) + struct.pack(">H", 0x4000 | (room - 3)) + bytes(room - 3)


def described_video(
    video: bytes, size: tuple[int, int], aspect: Fraction, mastering: Mastering | None
) -> bytes:
    """The elements of a Video element, with those that FFmpeg left out."""
    parts = dict(elements(video))
    if aspect != 1:
        height, width = size
        # A width for display where that is whole, else the proportion (unit 3).
        whole = (width * aspect).denominator == 1
        shape = Fraction(width, height) * aspect
        shown = (int(width * aspect), height) if whole else (shape.numerator, shape.denominator)
        parts |= {DISPLAY_WIDTH: number(shown[0]), DISPLAY_HEIGHT: number(shown[1])}
        parts.pop(DISPLAY_UNIT, None)
        if not whole:
            parts[DISPLAY_UNIT] = number(3)
    if mastering is not None and mastering.is_static:
        parts[COLOUR] = parts.get(COLOUR, b"") + mastering_elements(mastering)
    return b"".join(element(name, body) for name, body in parts.items())


def mastering_elements(mastering: Mastering) -> bytes:
    """What goes into a Colour element."""
    written = b""
    if mastering.light is not None:
        written += element(MAX_CLL, number(mastering.light[0])) + element(
            MAX_FALL, number(mastering.light[1])
        )
    volume = b""
    for name, value in zip(CHROMATICITIES, mastering.chromaticities or (), strict=False):
        volume += element(name, struct.pack(">d", value))
    if mastering.luminances is not None:
        low, high = mastering.luminances
        volume += element(LUMINANCE_MAX, struct.pack(">d", high)) + element(
            LUMINANCE_MIN, struct.pack(">d", low)
        )
    return written + (element(MASTERING, volume) if volume else b"")


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(name, body) of the elements that follow each other."""
    at = 0
    while at < len(data):
        name, begin, end = header(data, at)
        yield name, data[begin:end]
        at = end


def find(data: bytes | bytearray, names: list[int]) -> tuple[int, int]:
    """Begin and end of the body of the element that lies in the others named before it."""
    begin, end = 0, len(data)
    for wanted in names:
        at = begin
        while True:
            if at >= end:
                raise ValueError(f"a Matroska file with element {wanted:x} was required")
            name, body, after = header(data, at)
            if name == wanted:
                begin, end = body, min(after, end)
                break
            at = after
    return begin, end


def header(data: bytes | bytearray, at: int) -> tuple[int, int, int]:
    """An element's name, and where its body begins and ends; one of unknown size ends with the data."""
    length = 9 - data[at].bit_length()
    name = int.from_bytes(data[at : at + length], "big")
    at += length
    length = 9 - data[at].bit_length()
    size = int.from_bytes(data[at : at + length], "big") & (1 << 7 * length) - 1
    begin = at + length
    unknown = size == (1 << 7 * length) - 1
    return name, begin, len(data) if unknown else begin + size


def element(name: int, body: bytes) -> bytes:
    """Name, shortest size, body."""
    length = next(n for n in range(1, 9) if len(body) < (1 << 7 * n) - 1)
    size = (len(body) | 1 << 7 * length).to_bytes(length, "big")
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + size + body


def number(value: int) -> bytes:
    """An unsigned number, as short as it can be."""
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
