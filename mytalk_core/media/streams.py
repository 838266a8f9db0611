"""What a file holds beside its pictures and its sound: subtitles, chapters, further sound tracks, attached
files, titles, dates, time code. It is copied into another file while that is written, or named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer

from .clip import Clip
from .container import (
    as_fraction,
    audio_stream,
    is_cover,
    legible_tags,
    open_media,
    seconds_a_tick,
    video_stream,
)
from .timeline import Timeline, begins_alike

SUBTITLES_HELD = {
    ".mp4": ("mov_text",),
    ".m4v": ("mov_text",),
    ".mov": ("mov_text",),
    ".webm": ("webvtt",),
    ".mkv": ("subrip", "ass", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle"),
}
# Text of any kind becomes this where it does not fit as it is.
TEXT_SUBTITLES = ("subrip", "ass", "webvtt", "mov_text", "text")
TEXT_BECOMES = {
    ".mp4": "mov_text",
    ".m4v": "mov_text",
    ".mov": "mov_text",
    ".webm": "webvtt",
    ".mkv": "subrip",
}
# Tags that describe the file that was, not its content.
TECHNICAL_TAGS = ("encoder", "major_brand", "minor_version", "compatible_brands", "duration", "timecode")
# By which a track is called in MP4 and MOV, where most programs put a word of their own.
HANDLER = "handler_name"
PROGRAMS_OWN = re.compile(r"handler|core media|google|^(mono|stereo)$", re.IGNORECASE)
# FFmpeg's AVDISCARD_ALL.
UNREAD = 48
# Sound that begins before the first frame: the decoder needs as much to start with.
LEAD_S = Fraction(1, 10)


@dataclass(frozen=True)
class CopiedStream:
    """A stream of the source: its number there, and the text codec it is made into, None as it is."""

    index: int
    becomes: str | None = None


@dataclass(frozen=True, eq=False)
class OtherStreams:
    """What is copied from a source beside the pictures and the sound.

    path: the source; start_s: its first frame's time in it; duration_s: of the output; streams: in the
    source's order; chapters: PyAV's, in the output's time; tags: of the container; video_tags: of its video
    stream, time code included; sound_tags: of the source's sound, for where that is kept; warnings: a line
    for each kind of thing that is not kept.
    """

    path: Path | None = None
    start_s: Fraction = Fraction(0)
    duration_s: Fraction = Fraction(0)
    streams: tuple[CopiedStream, ...] = ()
    chapters: list[Any] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    video_tags: dict[str, str] = field(default_factory=dict)
    sound_tags: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, clip: Clip, timeline: Timeline, suffix: str) -> OtherStreams:
        """Look at the file that a clip was read from; nothing of it is read but its header.

        suffix: the output's. Streams and chapters are kept where the timeline is the file's own from its
        first frame on, to its end or not; titles and dates always. Raises MediaError as `open_media`.
        """
        if not clip.files:
            return cls()
        origin = clip.origin if begins_alike(clip, timeline) else None
        path = clip.files[0]
        duration_s = (int(timeline.pts[-1]) + timeline.last_duration) * timeline.time_base
        with open_media(path, "a video") as container:
            listing = _Listing(container, path, suffix)
            tags = _kept_tags(container.metadata)
            if origin is None:
                lost = listing.names()
                line = f"not kept, since the output's time line is not the video's: {', '.join(lost)}"
                return cls(path, tags=tags, warnings=(line,) if lost else ())
            start_s = int(origin.pts[0]) * origin.time_base
            streams, warnings = listing.chosen()
            chapters = chapters_of(container, start_s, duration_s)
            video_tags = _stream_tags(listing.video)
            sound_tags = {} if listing.sound is None else _stream_tags(listing.sound)
            if listing.timecode is not None:
                if suffix in (".m4v", ".webm"):
                    warnings.append(f"time code is not kept: {suffix} holds none")
                else:
                    video_tags["timecode"] = listing.timecode
            return cls(
                path,
                start_s,
                duration_s,
                streams,
                chapters,
                tags,
                video_tags,
                sound_tags,
                tuple(warnings),
            )

    def merged_tags(self, tags: Mapping[str, str]) -> dict[str, str]:
        """The source's tags under `tags`, which win; a comment of the source stands behind theirs."""
        merged = dict(tags)
        known = {key.lower(): key for key in tags}
        for key, value in self.tags.items():
            own = known.get(key.lower())
            if own is None:
                merged[key] = value
            elif key.lower() == "comment" and value != tags[own] and tags[own] not in value:
                merged[own] = f"{tags[own]} | {value}"
        return merged


class _Listing:
    """The streams of an open source beside its pictures and the sound that is replaced."""

    def __init__(self, container: InputContainer, path: Path, suffix: str):
        self._container, self._suffix = container, suffix
        self.video = video_stream(container, path)
        self.sound = audio_stream(container, path) if container.streams.audio else None
        used = {self.video.index} | ({self.sound.index} if self.sound is not None else set())
        self._others = [stream for stream in container.streams if stream.index not in used]
        parts: list[Any] = [self.video, *self._others, container]
        timecodes = [
            value for part in parts for key, value in part.metadata.items() if key.lower() == "timecode"
        ]
        self.timecode = timecodes[0] if timecodes else None

    def names(self) -> list[str]:
        """What there is, in words."""
        kinds = []
        for stream in self._others:
            kind = _kind(stream)
            if not self._is_known_otherwise(stream) and kind not in kinds:
                kinds.append(kind)
        if chapters_of(self._container, Fraction(0), None):
            kinds.append("chapters")
        if self.timecode is not None:
            kinds.append("time code")
        return kinds

    def chosen(self) -> tuple[tuple[CopiedStream, ...], list[str]]:
        """The streams that the output's container holds, and a line for each kind that it does not."""
        chosen: list[CopiedStream] = []
        warnings: list[str] = []
        for stream in self._others:
            if self._is_known_otherwise(stream):
                continue
            copied = self._fitting(stream)
            if copied is not None and self._is_held(stream, copied):
                chosen.append(copied)
                continue
            codec = _codec(stream) if stream.type in ("audio", "subtitle") else None
            why = f"{self._suffix} holds no {codec}" if codec else f"they are not written into {self._suffix}"
            line = f"{_kind(stream)} are not kept: {why}"
            if line not in warnings:
                warnings.append(line)
        return tuple(chosen), warnings

    def _fitting(self, stream: av.stream.Stream) -> CopiedStream | None:
        """How the output could hold a stream."""
        codec = _codec(stream)
        if stream.type == "audio" and codec is not None:
            return CopiedStream(stream.index)
        if stream.type == "subtitle" and codec is not None:
            if codec in SUBTITLES_HELD[self._suffix]:
                return CopiedStream(stream.index)
            if codec in TEXT_SUBTITLES and hasattr(stream.codec_context, "encode_subtitle"):
                return CopiedStream(stream.index, TEXT_BECOMES[self._suffix])
        elif stream.type == "attachment" and self._suffix == ".mkv":
            return CopiedStream(stream.index)
        return None

    def _is_held(self, stream: av.stream.Stream, copied: CopiedStream) -> bool:
        """True where the container takes the stream: which ones it does depends on FFmpeg's version."""
        trial = BytesIO()
        trial.name = f"trial{self._suffix}"  # by which FFmpeg finds the container
        try:
            with av.open(trial, "w") as container:
                target = _Target(container, stream, copied.becomes)
                container.start_encoding()
                if stream.type == "audio":
                    # What MP4 says of the channels is written at its end, and of what has packets only.
                    packets = (p for p in self._container.demux(stream) if p.dts is not None)
                    for packet in islice(packets, 1):
                        container.mux(list(target.packets(packet)))
        except (av.error.FFmpegError, ValueError):
            return False
        return True

    def _is_known_otherwise(self, stream: av.stream.Stream) -> bool:
        """True for the streams in which QuickTime keeps time code and chapters."""
        if stream.type != "data":
            return False
        if any(key.lower() == "timecode" for key in stream.metadata):
            return True
        # FFmpeg passes over the track whose texts it has made into chapters; older PyAV does not say so.
        discard = getattr(stream, "discard", None)
        has_chapters = bool(chapters_of(self._container, Fraction(0), None))
        return has_chapters and (discard is None or int(discard) == UNREAD)


class StreamCopier:
    """Copies the packets of `OtherStreams` into an output container, a stretch at a time."""

    def __init__(self, container: OutputContainer, others: OtherStreams):
        self._others = others
        self._targets: dict[int, _Target] = {}
        self._source: InputContainer | None = None
        self._packets: Iterator[tuple[av.Packet, Fraction]] = iter(())
        self._next: tuple[av.Packet, Fraction] | None = None
        if others.chapters:
            container.set_chapters(others.chapters)
        if others.path is None or not others.streams:
            return
        source = self._source = open_media(others.path, "a video")
        for copied in others.streams:
            stream = source.streams[copied.index]
            self._targets[copied.index] = _Target(container, stream, copied.becomes)
        read = [source.streams[copied.index] for copied in others.streams]
        self._packets = self._in_time(source, [stream for stream in read if stream.type != "attachment"])

    def close(self) -> None:
        """Close the source."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def packets_until(self, time_s: float) -> Iterator[av.Packet]:
        """Packets that begin before `time_s` of the output, so that the file stays interleaved."""
        while True:
            if self._next is None:
                self._next = next(self._packets, None)
                if self._next is None:
                    return
            packet, begin_s = self._next
            if begin_s >= time_s:
                return
            self._next = None
            yield from self._targets[packet.stream_index].packets(packet)

    def finish(self) -> Iterator[av.Packet]:
        """The rest of them."""
        yield from self.packets_until(float("inf"))

    def _in_time(
        self, source: InputContainer, streams: list[av.stream.Stream]
    ) -> Iterator[tuple[av.Packet, Fraction]]:
        """Packets with the output's stamps, and when they begin; those outside of it are left out."""
        if not streams:
            return
        others = self._others
        for packet in source.demux(streams):
            if packet.dts is None:
                continue
            tick_s = seconds_a_tick(packet)
            shift = round(others.start_s / tick_s)
            packet.pts = None if packet.pts is None else packet.pts - shift
            packet.dts -= shift
            stamp = packet.dts if packet.pts is None else packet.pts
            begin_s = stamp * tick_s
            end_s = begin_s + (packet.duration or 0) * tick_s
            if begin_s >= others.duration_s or end_s < -LEAD_S:
                continue
            if packet.stream.type == "subtitle":
                if end_s <= 0 < (packet.duration or 0):
                    continue
                begin_s = max(begin_s, Fraction(0))
                packet.pts = packet.dts = round(begin_s / tick_s)
                packet.duration = round((min(end_s, others.duration_s) - begin_s) / tick_s)
            yield packet, begin_s


class _Target:
    """One stream of the output, fed with a source stream's packets."""

    def __init__(self, container: OutputContainer, stream: av.stream.Stream, becomes: str | None):
        self._decoder: Any = None
        if becomes is None:
            self._stream = container.add_stream_from_template(stream, opaque=True)
        else:
            self._decoder = stream.codec_context
            self._decoder.open(strict=False)
            target: Any = container.add_stream(becomes)
            target.codec_context.subtitle_header = self._decoder.subtitle_header
            target.time_base = target.codec_context.time_base = Fraction(1, 1000)
            self._stream = target
        if stream.type != "attachment":
            self._stream.metadata.clear()
            self._stream.metadata.update(_stream_tags(stream))
            # The speech is what plays first. PyAV 14 and 15 take a number only, PyAV 18 does so too.
            kept = stream.disposition
            if stream.type == "audio":
                kept &= ~av.stream.Disposition.default
            self._stream.disposition = kept.value  # type: ignore[assignment]

    def packets(self, packet: av.Packet) -> Iterator[av.Packet]:
        if self._decoder is None:
            packet.stream = self._stream
            yield packet
            return
        shown = self._decoder.decode2(packet)
        if shown is None or not shown.rects:
            return
        encoder: Any = self._stream.codec_context
        text = encoder.encode_subtitle(shown)
        text.pts = text.dts = packet.pts
        text.duration, text.time_base, text.stream = packet.duration, packet.time_base, self._stream
        yield text


def chapters_of(
    container: InputContainer, start_s: Fraction, duration_s: Fraction | None
) -> list[dict[str, Any]]:
    """A file's chapters, moved by -start_s and cut to the duration, in PyAV's form."""
    if not hasattr(container, "set_chapters"):  # PyAV before 16
        return []
    kept = []
    for chapter in container.chapters():
        tick_s = as_fraction(chapter["time_base"])
        if tick_s is None:
            continue
        begin, end = (max(0, chapter[at] - round(start_s / tick_s)) for at in ("start", "end"))
        if duration_s is not None:
            end = min(end, round(duration_s / tick_s))
        if end > begin:
            tags = legible_tags(chapter["metadata"])
            kept.append({**chapter, "start": begin, "end": end, "metadata": tags})
    return kept


def _kept_tags(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in legible_tags(metadata).items() if key.lower() not in TECHNICAL_TAGS}


def _stream_tags(stream: av.stream.Stream) -> dict[str, str]:
    """Language and title, which Matroska reads as one tag and MP4 as another."""
    own = {key.lower(): value for key, value in legible_tags(stream.metadata).items()}
    handler = own.get(HANDLER, "")
    title = own.get("title") or own.get("name") or ("" if PROGRAMS_OWN.search(handler) else handler)
    tags = {"language": own.get("language", "und"), "title": title, HANDLER: title}
    return {key: value for key, value in tags.items() if value not in ("", "und")}


def _kind(stream: av.stream.Stream) -> str:
    if stream.type == "video":
        return "cover pictures" if is_cover(stream) else "further video tracks"
    names = {"audio": "further sound tracks", "subtitle": "subtitles", "attachment": "attached files"}
    return names.get(stream.type, "data tracks")


def _codec(stream: av.stream.Stream) -> str | None:
    """FFmpeg's name of the codec, not of the decoder in use; None where it knows none."""
    if stream.codec_context is None:
        return None
    codec = stream.codec_context.codec
    return getattr(codec, "canonical_name", codec.name)
