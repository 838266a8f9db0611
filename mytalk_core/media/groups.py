"""Where an H.264 or HEVC stream can be parted: its groups of pictures, and what each needs to be copied."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import av
import numpy as np
from av.container import InputContainer

from ..errors import MediaError
from .container import open_media, video_stream
from .file_clip import FileClip
from .nal_units import SYNTAXES, Header, Syntax, set_number, split


@dataclass(frozen=True)
class Group:
    """Pictures that need no others before them.

    packets: numbers of the first and behind the last, in the file's order; frames: likewise, in the order
    they are shown, of those that are no leading ones; lead: frames right before these that belong to it and
    are made from the group before, too; is_open: it does not make a decoder forget what was before; is_whole:
    all its packets are frames of the clip.
    """

    packets: tuple[int, int]
    frames: tuple[int, int]
    lead: int = 0
    is_open: bool = False
    is_whole: bool = True


@dataclass(frozen=True, eq=False)
class Groups:
    """A file's groups, one behind the other.

    header: of the stream; delay: frames that a decoder holds back until they are shown; frame_of: int64 (P,)
    each packet's frame, -1 for one that is not shown; leading: bool (P,), which are made from the group
    before; sizes: int64 (T,) bytes of each frame; has_inner_sets: parameter sets stand among the pictures.
    """

    header: Header
    groups: tuple[Group, ...]
    delay: int
    frame_of: np.ndarray
    leading: np.ndarray
    sizes: np.ndarray
    has_inner_sets: bool

    @classmethod
    def of(cls, clip: FileClip) -> Groups:
        """Read a file's packets once. Raises MediaError where it is no such stream, or cannot be parted."""
        with open_media(clip.path, "a video") as container:
            stream = video_stream(container, clip.path)
            scan = _Scan.of(container, stream, clip)
        frame_of = _frames_of(scan.stamps, clip)
        known = frame_of >= 0
        order = frame_of[known]
        sizes = np.zeros(len(clip), np.int64)
        sizes[order] = np.asarray(scan.sizes, np.int64)[known]
        leading = np.asarray(scan.leading, bool)
        return cls(
            scan.header,
            tuple(_joined_groups(scan, frame_of, leading)),
            int((np.arange(len(order)) - order).max()),
            frame_of,
            leading,
            sizes,
            scan.has_inner_sets,
        )


@dataclass
class _Scan:
    """What the packets say, in the file's order; starts: packets at which a group begins, and whether those
    are open."""

    header: Header
    stamps: list[int | None] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    leading: list[bool] = field(default_factory=list)
    starts: dict[int, bool] = field(default_factory=dict)
    has_inner_sets: bool = False

    @classmethod
    def of(cls, container: InputContainer, stream: av.video.stream.VideoStream, clip: FileClip) -> _Scan:
        name = stream.codec_context.name
        if name not in SYNTAXES:
            raise _refusal(clip, f"its pictures are {name}, not h264 or hevc")
        syntax = SYNTAXES[name]
        try:
            scan = cls(Header.of(stream.codec_context.extradata or b"", syntax))
            known = {_key(unit, syntax): unit for unit in scan.header.sets}
            for packet in shown_packets(container, stream):
                scan._take(packet, split(bytes(packet), scan.header.length_bytes), known)
        except (ValueError, av.error.FFmpegError) as error:
            raise _refusal(clip, str(error)) from None
        return scan

    def _take(self, packet: av.Packet, units: list[bytes], known: dict[tuple[int, int], bytes]) -> None:
        syntax = self.header.syntax
        pictures = []
        for unit in units:
            kind = syntax.type_of(unit)
            if kind in syntax.sets:
                self.has_inner_sets = True
                if known.get(_key(unit, syntax)) != unit:
                    raise ValueError("its parameter sets change on the way")
            elif kind in syntax.slices:
                pictures.append(kind)
        if pictures and pictures[0] in syntax.closed + syntax.open:
            self.starts[len(self.stamps)] = pictures[0] in syntax.open
        self.leading.append(bool(pictures) and pictures[0] in syntax.leading)
        # What an edit list leaves out is decoded, but not shown.
        self.stamps.append(None if packet.is_discard else packet.pts)
        self.sizes.append(packet.size)


def shown_packets(container: InputContainer, stream: av.video.stream.VideoStream) -> Iterator[av.Packet]:
    """The stream's packets that hold anything; others only flush a decoder."""
    return (packet for packet in container.demux(stream) if packet.size)


def decoding_stamps(pts: np.ndarray, delay: int, last_duration: int) -> np.ndarray:
    """When frames that are shown at `pts` are decoded, in the order they are: as late as `delay` allows."""
    if not delay:
        return pts
    step = int(np.diff(pts).min()) if len(pts) > 1 else last_duration
    return np.concatenate([pts[0] - step * np.arange(delay, 0, -1), pts])[: len(pts)]


def _frames_of(stamps: list[int | None], clip: FileClip) -> np.ndarray:
    """Each packet's frame, -1 where it is none. Raises MediaError where frames have no packet of theirs."""
    decoded = clip.table.decoder_pts
    if decoded is None:
        raise _refusal(clip, "its time stamps are missing or doubled")
    numbers = {int(stamp): number for number, stamp in enumerate(decoded)}
    frames = np.array([-1 if stamp is None else numbers.get(stamp, -1) for stamp in stamps], np.int64)
    if not np.array_equal(np.sort(frames[frames >= 0]), np.arange(len(clip))):
        raise _refusal(clip, "its packets are not one for each frame")
    return frames


def _joined_groups(scan: _Scan, frame_of: np.ndarray, leading: np.ndarray) -> Iterator[Group]:
    """The groups; what is not in one piece, or is not shown as it is stored, is one group with its
    neighbours."""
    starts = sorted({0, *scan.starts})
    shown = 0
    begin = starts[0]
    for stop in [*starts[1:], len(frame_of)]:
        frames = frame_of[begin:stop]
        known = frames[frames >= 0]
        # All that was stored so far has been shown so far, and nothing else.
        if stop < len(frame_of) and (len(known) == 0 or known.max() != shown + len(known) - 1):
            continue
        is_open, is_whole = scan.starts.get(begin, False) and begin > 0, bool((frames >= 0).all())
        lead = int(leading[begin:stop].sum()) if is_open else 0
        if is_whole and frames[0] != shown + lead and is_open:
            is_whole, lead = False, 0
        yield Group((begin, stop), (shown + lead, shown + len(known)), lead, is_open, is_whole)
        shown += len(known)
        begin = stop


def _key(unit: bytes, syntax: Syntax) -> tuple[int, int]:
    return syntax.type_of(unit), set_number(unit, syntax)


def _refusal(clip: FileClip, why: str) -> MediaError:
    return MediaError(
        f"a video whose groups of pictures can be copied was required (H.264 or HEVC), but of {clip.path} "
        f"{why}: leave codec copy out, or name another codec"
    )
