"""H.264 and HEVC below the packets: NAL units, the parameter sets in a stream's header, and their numbers.

Two encoders can share one stream where their parameter sets have different numbers: all of them then stand in
the header, and every slice names its own. ITU-T H.264 7.3, H.265 7.3, ISO/IEC 14496-15 5.3.3 and 8.3.3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

START = b"\0\0\1"
ESCAPES = re.compile(rb"\0\0(?=[\0-\3])")
# H.264 profiles whose header has four bytes more, and HEVC's fixed part of it.
HIGH_PROFILES, HEVC_FIXED_BYTES = (100, 110, 122, 144, 244, 44, 118, 128), 22
# Of what HEVC's slices name in nine bits: eight more than the number 0 takes, so that the rest of a slice
# stays on its bytes.
NINE_BITS = range(15, 31)
# Pictures that begin a group and have leading ones, and such as forget all before them.
CLEAN_RANDOM_ACCESS, BROKEN_LINK = 21, 18


@dataclass(frozen=True)
class Syntax:
    """Which NAL units are which.

    sets: types of parameter sets, in the header's order; slices: of pictures; closed: of pictures before
    which nothing is needed, and which forget all before them; open: of those that following pictures may be
    shown before, made from pictures before them; leading: of these.
    """

    codec: str
    header_bytes: int
    sets: tuple[int, ...]
    slices: range
    closed: tuple[int, ...]
    open: tuple[int, ...] = ()
    leading: tuple[int, ...] = ()

    def type_of(self, unit: bytes) -> int:
        """The type of a NAL unit."""
        return unit[0] & 31 if self.codec == "h264" else unit[0] >> 1 & 63


H264 = Syntax("h264", 1, sets=(7, 8), slices=range(1, 6), closed=(5,))
HEVC = Syntax(
    "hevc",
    2,
    (32, 33, 34),
    range(32),
    closed=(16, 17, 18, 19, 20),
    open=(CLEAN_RANDOM_ACCESS,),
    leading=(6, 7, 8, 9),
)
SYNTAXES = {syntax.codec: syntax for syntax in (H264, HEVC)}


def split(data: bytes, length_bytes: int) -> list[bytes]:
    """The NAL units of a packet: each behind its length in so many bytes, or behind start codes where 0.

    Raises ValueError for a length that leads out of the packet.
    """
    units = []
    if length_bytes == 0:
        begin = data.find(START)
        while begin >= 0:
            following = data.find(START, begin + 3)
            units.append(data[begin + 3 : following if following >= 0 else len(data)].rstrip(b"\0"))
            begin = following
        return [unit for unit in units if unit]
    at = 0
    while at < len(data):
        begin = at + length_bytes
        at = begin + int.from_bytes(data[at:begin], "big")
        if at > len(data):
            raise ValueError(f"NAL units that fill a packet of {len(data)} bytes were required")
        if at > begin:
            units.append(data[begin:at])
    return units


def joined(units: Iterable[bytes], length_bytes: int) -> bytes:
    """A packet of NAL units, see `split`. Raises OverflowError for a unit whose length takes more bytes."""
    if length_bytes == 0:
        return b"".join(b"\0" + START + unit for unit in units)
    return b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)


@dataclass(frozen=True)
class Header:
    """A stream's header (FFmpeg's extradata). length_bytes: before each NAL unit of its packets, 0 for start
    codes; sets: its parameter sets."""

    data: bytes
    syntax: Syntax
    length_bytes: int
    sets: tuple[bytes, ...]

    @classmethod
    def of(cls, data: bytes, syntax: Syntax) -> Header:
        """Read one. Raises ValueError where it has no parameter sets."""
        try:
            if data[:1] == b"\1":
                length_bytes, units = (data[21 if syntax is HEVC else 4] & 3) + 1, _listed(data, syntax)
            else:
                length_bytes, units = 0, split(data, 0)
        except IndexError:
            units = []
        sets = tuple(unit for unit in units if syntax.type_of(unit) in syntax.sets)
        if {syntax.type_of(unit) for unit in sets} != set(syntax.sets):
            raise ValueError("a stream whose header has its parameter sets was required")
        return cls(data, syntax, length_bytes, sets)

    def with_sets(self, added: Sequence[bytes]) -> bytes:
        """The header with more parameter sets in it."""
        if self.length_bytes == 0:
            return joined([*self.sets, *added], 0)
        return _avc_header(self, added) if self.syntax is H264 else _hevc_header(self, added)


def _listed(data: bytes, syntax: Syntax) -> list[bytes]:
    """The units that a header lists."""
    at, units = (5, []) if syntax is H264 else (HEVC_FIXED_BYTES + 1, [])
    arrays = len(syntax.sets) if syntax is H264 else data[HEVC_FIXED_BYTES]
    for number in range(arrays):
        if syntax is H264:
            count, at = data[at] & (31 if number == 0 else 255), at + 1
        else:
            count, at = int.from_bytes(data[at + 1 : at + 3], "big"), at + 3
        for _ in range(count):
            length = int.from_bytes(data[at : at + 2], "big")
            units.append(data[at + 2 : at + 2 + length])
            at += 2 + length
    return units


def _avc_header(header: Header, added: Sequence[bytes]) -> bytes:
    data, units = header.data, [*header.sets, *added]
    kinds = [[unit for unit in units if H264.type_of(unit) == kind] for kind in H264.sets]
    listed = sum(2 + len(unit) for unit in header.sets)
    # What stands behind the sets, and must stand there for the high profiles.
    rest = data[7 + listed :]
    # Which constraints all meet, and the highest level.
    fits, level = data[2], data[3]
    for unit in added:
        if H264.type_of(unit) == H264.sets[0]:
            fits, level = fits & unit[2], max(level, unit[3])
    made = data[:2] + bytes([fits, level, data[4], 0xE0 | len(kinds[0])])
    made += joined(kinds[0], 2) + bytes([len(kinds[1])]) + joined(kinds[1], 2)
    return made + (rest if data[1] in HIGH_PROFILES else b"")


def _hevc_header(header: Header, added: Sequence[bytes]) -> bytes:
    fixed, units = bytearray(header.data[:HEVC_FIXED_BYTES]), [*header.sets, *added]
    for unit in added:
        if HEVC.type_of(unit) == HEVC.sets[1]:
            fixed[12] = max(fixed[12], unescaped(unit)[HEVC.header_bytes + 12])
    arrays = b""
    for kind in HEVC.sets:
        same = [unit for unit in units if HEVC.type_of(unit) == kind]
        arrays += bytes([0x80 | kind]) + len(same).to_bytes(2, "big") + joined(same, 2)
    return bytes(fixed) + bytes([len(HEVC.sets)]) + arrays


def unescaped(unit: bytes) -> bytes:
    """A NAL unit without the bytes that keep start codes out of it."""
    return unit.replace(b"\0\0\3", b"\0\0")


def escaped(unit: bytes) -> bytes:
    """The inverse of `unescaped`."""
    return ESCAPES.sub(b"\0\0\3", unit)


def unlinked(units: Iterable[bytes]) -> list[bytes]:
    """HEVC units of a picture that begins an open group, marked as one that forgets all before it; its
    leading pictures must not follow. One byte of each slice changes."""
    units = list(units)
    begins = [HEVC.type_of(unit) == CLEAN_RANDOM_ACCESS for unit in units]
    return [
        bytes([unit[0] & 0x81 | BROKEN_LINK << 1]) + unit[1:] if begin else unit
        for unit, begin in zip(units, begins, strict=True)
    ]


def set_number(unit: bytes, syntax: Syntax) -> int:
    """The number by which others name a parameter set. Raises ValueError where it ends before that."""
    bits, kind = _bits(unit, syntax), syntax.sets.index(syntax.type_of(unit))
    if syntax is H264:
        return _golomb(bits, 24 if kind == 0 else 0)[0]
    if kind == 0:
        return int(bits[:4], 2)
    return _golomb(bits, _sps_number_at(bits) if kind == 1 else 0)[0]


def numbered(units: Iterable[bytes], number: int, picture_number: int) -> list[bytes]:
    """HEVC units whose parameter sets all have the number 0, with other numbers.

    number: of the video and the sequence parameter set; picture_number: of the picture's, of `NINE_BITS`.
    Raises ValueError for units with other numbers.
    """
    return [_numbered(unit, number, picture_number) for unit in units]


def _numbered(unit: bytes, number: int, picture_number: int) -> bytes:
    kind = HEVC.type_of(unit)
    if kind not in HEVC.sets and kind not in HEVC.slices:
        return unit
    if kind in HEVC.slices:
        return _slice_numbered(unit, picture_number)
    if set_number(unit, HEVC) != 0:
        raise ValueError("an encoder whose parameter sets have the number 0 was required")
    # Behind the last bit that is 1 there is only padding.
    bits = _bits(unit, HEVC).rstrip("0")[:-1]
    if kind == HEVC.sets[0]:
        bits = f"{number:04b}{bits[4:]}"
    elif kind == HEVC.sets[1]:
        at = _sps_number_at(bits)
        bits = f"{number:04b}{bits[4:at]}{_golomb_code(number)}{bits[at + 1 :]}"
    else:
        bits = _golomb_code(picture_number) + _golomb_code(number) + bits[2:]
    bits += "1"
    bits += "0" * (-len(bits) % 8)
    return unit[:2] + escaped(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def _slice_numbered(unit: bytes, picture_number: int) -> bytes:
    """A slice that names another picture parameter set than 0.

    The number stands behind one flag, two in pictures at which decoding can start. It grows from one bit to
    nine, so all behind it moves by a byte, and need not be understood.
    """
    plain = unescaped(unit)
    at = 2 if HEVC.type_of(unit) in range(16, 24) else 1
    head = f"{plain[2]:08b}"
    if head[at] != "1" or picture_number not in NINE_BITS:
        raise ValueError("a slice that names the parameter set 0 was required")
    head = head[:at] + _golomb_code(picture_number) + head[at + 1 :]
    return unit[:2] + escaped(int(head, 2).to_bytes(2, "big") + plain[3:])


def _bits(unit: bytes, syntax: Syntax) -> str:
    """What follows a unit's own header, as ones and zeros."""
    body = unescaped(unit)[syntax.header_bytes :]
    return "".join(f"{byte:08b}" for byte in body)


def _sps_number_at(bits: str) -> int:
    """Where in an HEVC sequence parameter set its number stands (7.3.2.2.1, 7.3.3)."""
    layers, at = int(bits[4:7], 2), 8 + 96
    if layers == 0:
        return at
    flags, at = bits[at : at + 2 * layers], at + 16
    return at + sum(88 * (flags[2 * n] == "1") + 8 * (flags[2 * n + 1] == "1") for n in range(layers))


def _golomb(bits: str, at: int) -> tuple[int, int]:
    """The Exp-Golomb number there, and where it ends. Raises ValueError where there is none."""
    zeros = bits.find("1", at) - at
    end = at + 2 * zeros + 1
    if zeros < 0 or end > len(bits):
        raise ValueError("a parameter set with a number was required")
    return int(bits[at + zeros : end], 2) - 1, end


def _golomb_code(number: int) -> str:
    code = f"{number + 1:b}"
    return "0" * (len(code) - 1) + code
