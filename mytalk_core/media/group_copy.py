"""A video stream of which only the groups of pictures with changed frames are encoded, to match the others.

Groups without a change are the source's own packets. The encoder's parameter sets have numbers that the
source does not use, and stand beside the source's in the stream's header: every decoder finds each group's.
Where an HEVC group has leading pictures, made from the group before, and that one is encoded, so are they;
its first picture is then marked as one that forgets all before it, by one byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer

from ..errors import MediaError
from .clip import Clip
from .container import open_media, video_stream
from .encoders import EncodingPlan, plan_copying
from .fields import PROGRESSIVE, FieldMarker
from .file_clip import FileClip
from .groups import Group, Groups, decoding_stamps, shown_packets
from .nal_units import H264, HEVC, NINE_BITS, Syntax, joined, numbered, set_number, split, unlinked
from .picture import Picture
from .pixels import new_frame, oriented_format, planes_of
from .threads import codec_threads
from .timeline import Timeline, begins_alike

# Frames whose size, encoded, says which crf matches the source, and the first crf tried.
TRIAL_FRAMES, TRIAL_CRF = 24, 23.0
# What is encoded a second time, and in haste, needs that much more to look the same.
GENEROSITY = 1.3
# Six steps of crf double or halve what x264 writes, nearly; x265 likewise.
CRF_DOUBLING = 6.0
# What cost the source little may cost an encoder in haste much: no worse than these all the same.
BEST_CRF, WORST_CRF = 1.0, {"libx264": 23.0, "libx265": 26.0}
OLDEST_PYAV = 15  # before, a stream made like another has no time base of its own
H264_PROFILES = {66: "baseline", 77: "main", 88: "main", 100: "high"}


def copied_source(like: Clip, timeline: Timeline) -> FileClip:
    """The file whose packets can be copied for a clip on a timeline. Raises MediaError where there is
    none, or PyAV is too old."""
    if int(av.__version__.split(".")[0]) < OLDEST_PYAV:
        raise MediaError(
            f"codec copy needs PyAV {OLDEST_PYAV} or newer, but {av.__version__} is installed: update the "
            "package av, or name another codec"
        )
    origin = like.origin if begins_alike(like, timeline) else None
    if not isinstance(origin, FileClip):
        raise MediaError(
            "codec copy needs a video file that is shown from its first frame on at its own times, but these "
            "are other frames or other times (a picture, a series, another rate, a loop, a cut beginning): "
            "choose sync mode silence or cut_off, or another codec"
        )
    return origin


class GroupCopy:
    """The packets of a video stream, made of a file's packets and of new ones.

    path: of the output; clip: the file, see `copied_source`; timeline: which of its frames are shown when;
    preset: of the encoder. `plan` says how it encodes, `size` (height, width) px how pictures are stored,
    `copied` counts the frames whose packets are the source's; `groups_copied` their groups; `crf` is that of
    the new packets, None where there are none.
    Raises MediaError where nothing could be copied whatever changes.
    """

    def __init__(self, path: Path, clip: FileClip, timeline: Timeline, preset: str):
        self.copied = self.groups_copied = 0
        self.crf: float | None = None
        self._clip, self._count = clip, len(timeline)
        self._source = Groups.of(clip)
        format_name = oriented_format(clip.format_name, clip.orientation)
        self.plan = plan_copying(path, clip, self._source.header.syntax.codec, format_name, preset)
        self.groups = [_shortened(group, self._count) for group in self._source.groups]
        self.groups = [group for group in self.groups if group.frames[0] - group.lead < self._count]
        self._pts, self._time_base = timeline.pts, timeline.time_base
        self._durations = timeline.durations
        self._dts = decoding_stamps(timeline.pts, self._source.delay, timeline.last_duration)
        self._encoding = _Encoding.of(clip, self.plan, self._source, timeline)
        self._reader: _Reader | None = None
        self._session: _Session | None = None
        self._group = self._next = self._sent = 0
        self._is_changed = False

    @property
    def size(self) -> tuple[int, int]:
        """See the class."""
        clip = self._clip
        return (clip.width, clip.height) if clip.orientation.transpose else (clip.height, clip.width)

    def open(self, container: OutputContainer) -> av.video.stream.VideoStream:
        """Add the stream to an output container."""
        reader = self._reader = _Reader(self._clip.path)
        stream = container.add_stream_from_template(reader.stream, opaque=True)
        stream.metadata.clear()
        context: Any = stream.codec_context
        context.extradata = self._encoding.header
        stream.time_base = self._time_base
        tag = self._tag(reader.stream)
        if tag is not None and container.format.name in ("mp4", "mov"):
            context.codec_tag = tag
        self._stream = stream
        return stream

    def close(self) -> None:
        """Close the source."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def packets(self, picture: Picture, is_changed: bool) -> Iterator[av.Packet]:
        """Take the next frame, and give what can be written by now: nothing, or a group or more at once."""
        group, number = self.groups[self._group], self._next
        self._next += 1
        if number < group.frames[0] and self._session is not None:
            # Made from a group that is encoded anew, so these are, too.
            yield from self._encoded(picture, number)
            return
        if (is_changed or not group.is_whole) and not self._is_changed:
            self._is_changed = True
            first = group.frames[0] - (group.lead if self._session is None else 0)
            if self._session is None:
                if self.crf is None:
                    self.crf = self._encoding.matching_crf(group)
                self._session = _Session(self._encoding, self.crf)
            for earlier in self._clip.pictures(np.arange(first, number)):
                yield from self._encoded(earlier, earlier.index)
        if self._is_changed:
            yield from self._encoded(picture, number)
        if self._next == group.frames[1]:
            if not self._is_changed:
                yield from self._copied(group)
            self._group, self._is_changed = self._group + 1, False

    def finish(self) -> Iterator[av.Packet]:
        """What the encoder still holds."""
        if self._session is None:
            return
        session, self._session = self._session, None
        for packet in session.encode(None):
            yield self._stamped(packet)

    @property
    def summary(self) -> str:
        """What was copied, for the user."""
        how = f" at crf {self.crf:.1f}" if self.crf is not None else ""
        rest = f"; the other groups were encoded anew{how}, to match" if self.copied < self._count else ""
        return (
            f"{self.copied} of {self._count} frames are the source's own packets ({self.groups_copied} of "
            f"{len(self.groups)} groups of pictures){rest}"
        )

    def _encoded(self, picture: Picture, number: int) -> Iterator[av.Packet]:
        assert self._session is not None
        begins = number == self.groups[self._group].frames[0]
        frame = self._encoding.stored(picture, int(self._pts[number]), begins)
        for packet in self._session.encode(frame):
            yield self._stamped(packet)

    def _copied(self, group: Group) -> Iterator[av.Packet]:
        assert self._reader is not None
        is_unlinked = self._session is not None and group.is_open
        yield from self.finish()
        for number, packet in self._reader.between(*group.packets):
            if is_unlinked and self._source.leading[number]:
                continue
            if is_unlinked and number == group.packets[0]:
                packet = self._unlinked(packet)
            packet.pts = int(self._pts[self._source.frame_of[number]])
            packet.time_base = self._time_base
            self.copied += 1
            yield self._stamped(packet)
        self.groups_copied += 1

    def _unlinked(self, packet: av.Packet) -> av.Packet:
        """The packet as one that nothing before it matters to."""
        length_bytes = self._encoding.length_bytes
        made = av.Packet(joined(unlinked(split(bytes(packet), length_bytes)), length_bytes))
        made.is_keyframe = packet.is_keyframe
        return made

    def _stamped(self, packet: av.Packet) -> av.Packet:
        """With the time at which it is decoded, and how long it is shown."""
        assert packet.pts is not None
        number = int(np.searchsorted(self._pts, packet.pts))
        packet.dts, packet.duration = int(self._dts[self._sent]), int(self._durations[number])
        if packet.dts > packet.pts:
            raise MediaError(
                "frames that wait no longer for their turn than the source's were required of the encoder, "
                "but some do: name another codec"
            )
        packet.stream = self._stream
        self._sent += 1
        return packet

    def _tag(self, stream: av.video.stream.VideoStream) -> str | None:
        """How MP4 and MOV call the stream: hvc1 and avc1 have all parameter sets in the header."""
        if self._encoding.syntax is H264:
            return None
        known = stream.codec_context.codec_tag
        return known if known in ("hvc1", "hev1") else "hev1" if self._source.has_inner_sets else "hvc1"


def _shortened(group: Group, count: int) -> Group:
    """A group of which only the frames before `count` are shown."""
    if group.frames[1] <= count:
        return group
    return replace(group, frames=(group.frames[0], count), is_whole=False)


class _Reader:
    """A file's packets, forward only."""

    def __init__(self, path: Path):
        self._container: InputContainer = open_media(path, "a video")
        self.stream = video_stream(self._container, path)
        self._packets = enumerate(shown_packets(self._container, self.stream))

    def close(self) -> None:
        """Close the file."""
        self._packets = enumerate(())
        self._container.close()

    def between(self, first: int, stop: int) -> Iterator[tuple[int, av.Packet]]:
        """Packets by number."""
        if first == stop:
            return
        for number, packet in self._packets:
            if number >= first:
                yield number, packet
            if number == stop - 1:
                return


@dataclass(frozen=True, eq=False)
class _Encoding:
    """How groups are encoded so that they fit between the source's.

    header: the stream's, with the encoder's parameter sets; number, picture_number: of these.
    """

    clip: FileClip
    plan: EncodingPlan
    source: Groups
    time_base: Fraction
    options: dict[str, str]
    number: int
    picture_number: int
    sets: tuple[bytes, ...]
    header: bytes

    @classmethod
    def of(cls, clip: FileClip, plan: EncodingPlan, source: Groups, timeline: Timeline) -> _Encoding:
        """Raises MediaError where no encoder fits."""
        syntax = source.header.syntax
        if source.header.length_bytes in (1, 2):
            raise MediaError(
                f"packets whose NAL units may be of any length were required, but {clip.path} gives that "
                f"{source.header.length_bytes} bytes: name another codec"
            )
        used = {set_number(unit, syntax) for unit in source.header.sets}
        free = [number for number in range(1, 16) if number not in used]
        free_pictures = [number for number in NINE_BITS if number not in used]
        if not free or not free_pictures:
            raise MediaError(
                f"free numbers for parameter sets were required, but {clip.path} uses them all: name "
                "another codec"
            )
        number, picture_number = free[0], free_pictures[0]
        options = _options(plan, source, number)
        made = cls(clip, plan, source, timeline.time_base, options, number, picture_number, (), b"")
        made = replace(made, sets=tuple(made.opened(TRIAL_CRF)[1]))
        return replace(made, header=source.header.with_sets(made.sets))

    @property
    def syntax(self) -> Syntax:
        """The codec's."""
        return self.source.header.syntax

    @property
    def length_bytes(self) -> int:
        """See `Header`."""
        return self.source.header.length_bytes

    def opened(self, crf: float) -> tuple[av.VideoCodecContext, list[bytes]]:
        """An encoder, and its parameter sets with their numbers."""
        clip, plan = self.clip, self.plan
        context = av.CodecContext.create(plan.encoder, "w")
        assert isinstance(context, av.VideoCodecContext)
        turned = clip.orientation.transpose
        context.width, context.height = (clip.height, clip.width) if turned else (clip.width, clip.height)
        context.pix_fmt, context.time_base = plan.format_name, self.time_base
        context.framerate = Fraction(clip.fps).limit_denominator(1_001_000)
        context.sample_aspect_ratio = 1 / clip.sample_aspect_ratio if turned else clip.sample_aspect_ratio
        plan.colour.tag(context)
        context.thread_count = codec_threads()
        context.flags |= Flags.global_header
        context.options = self.options | {"crf": f"{crf:.2f}"}
        context.open()
        syntax = self.syntax
        units = [u for u in split(context.extradata or b"", 0) if syntax.type_of(u) in syntax.sets]
        return context, numbered(units, self.number, self.picture_number) if syntax is HEVC else units

    def stored(self, picture: Picture, pts: int, begins: bool) -> av.VideoFrame:
        """A picture as the file stores it; begins: decoding can start at it."""
        frame, turn = picture.frame, self.clip.orientation
        height, width = (frame.width, frame.height) if turn.transpose else (frame.height, frame.width)
        stored = new_frame(frame, width, height, self.plan.format_name)
        for target, plane in zip(planes_of(stored), planes_of(frame), strict=True):
            turn.apply(target)[...] = plane
        self.plan.colour.tag(stored)
        stored.pts, stored.time_base = pts, self.time_base
        # An I picture, or what the encoder likes.
        stored.pict_type = 1 if begins else 0
        return stored

    def matching_crf(self, changed: Group) -> float:
        """The crf with which the source's own frames take `GENEROSITY` times what they do in the source;
        found in two trials with the beginning of the group, or of the next one that is whole."""
        clip = self.clip
        whole = [group for group in self.source.groups if group.is_whole]
        near = min(whole, key=lambda group: abs(group.packets[0] - changed.packets[0]), default=changed)
        first, stop = near.frames[0], min(near.frames[1], near.frames[0] + TRIAL_FRAMES)
        worst = WORST_CRF[self.plan.encoder]
        wanted = GENEROSITY * float(self.source.sizes[first:stop].sum())
        crf = TRIAL_CRF
        for _ in range(2):
            session, taken = _Session(self, crf), 0
            for picture in clip.pictures(np.arange(first, stop)):
                stored = self.stored(picture, picture.index - first, picture.index == first)
                taken += sum(packet.size for packet in session.encode(stored))
            taken += sum(packet.size for packet in session.encode(None))
            crf = float(
                np.clip(crf + CRF_DOUBLING * np.log2(max(taken, 1) / max(wanted, 1)), BEST_CRF, worst)
            )
        return round(crf, 1)


class _Session:
    """One encoder, from the first picture of one or more groups to the last."""

    def __init__(self, encoding: _Encoding, crf: float):
        self._encoding = encoding
        self._context, sets = encoding.opened(crf)
        if tuple(sets) != encoding.sets:
            raise MediaError(
                "an encoder that describes all groups alike was required, but this one does not: name "
                "another codec"
            )
        plan, clip = encoding.plan, encoding.clip
        self._marker = None
        if plan.field_order != PROGRESSIVE:
            self._marker = FieldMarker(
                plan.field_order, clip.width, clip.height, plan.format_name, encoding.time_base
            )

    def encode(self, frame: av.VideoFrame | None) -> Iterator[av.Packet]:
        """Packets in the source's form, without times of decoding; None: the rest."""
        if frame is not None and self._marker is not None:
            kind = frame.pict_type
            frame = self._marker(frame)
            frame.pict_type = kind
        encoding = self._encoding
        for packet in self._context.encode(frame):
            units = split(bytes(packet), 0)
            if encoding.syntax is HEVC:
                units = numbered(units, encoding.number, encoding.picture_number)
            made = av.Packet(joined(units, encoding.length_bytes))
            made.pts, made.time_base = packet.pts, encoding.time_base
            made.is_keyframe = packet.is_keyframe
            yield made


def _options(plan: EncodingPlan, source: Groups, number: int) -> dict[str, str]:
    """FFmpeg's options of an encoder whose frames wait no longer than the source's."""
    options, syntax = dict(plan.options) | {"forced-idr": "1"}, source.header.syntax
    delay = source.delay
    if syntax is H264:
        own = [f"sps-id={number}", "stitchable=1"]
        own += ["b-pyramid=none"] if delay == 1 else []
        profile = next(unit[1] for unit in source.header.sets if H264.type_of(unit) == H264.sets[0])
        if profile in H264_PROFILES:
            options["profile"] = H264_PROFILES[profile]
        options["bf"] = "0" if delay == 0 else "3"
        key = "x264-params"
    else:
        own = ["open-gop=0", "log-level=none", "repeat-headers=0"]
        own += [f"bframes={0 if delay == 0 else 4}", f"b-pyramid={int(delay > 1)}"]
        key = "x265-params"
    said = [options[key]] if key in options else []
    return options | {key: ":".join([*said, *own])}
