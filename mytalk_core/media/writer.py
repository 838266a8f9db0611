"""Writing pictures and speech to a file that appears only when it is complete."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import MediaError
from ..files import check_outputs, replacing
from .audio import Speech
from .clip import Clip
from .colour import FULL, Colour
from .container import local_url, reason
from .encoders import COPY, choose_codec, plan_encoding
from .fields import PROGRESSIVE, FieldMarker
from .group_copy import GroupCopy, copied_source
from .matroska import describe_pictures, title_with_room
from .picture import Picture
from .pixels import convert, copy_frame, planes_of
from .room import LEAST_BYTES, DiskRoom
from .side_data import side_data
from .soundtrack import Soundtrack
from .streams import OtherStreams, StreamCopier
from .threads import codec_threads
from .timeline import Timeline, plan_timeline


class VideoWriter:
    """Encodes pictures with the source's time stamps, pixel depth and colour tags, and muxes the speech.

    A context manager: the file takes its name when the block ends well; on any error, Ctrl-C included,
    nothing is left (see `replacing`). Time stamps and the last frame's duration are the timeline's, exact in
    MP4 and MOV; Matroska and WebM store whole milliseconds.

    path: its extension names the container; like: the source clip, whose size, format, tags and times hold;
    codec: "h264", "prores", "vp9", "ffv1" (lossless), "copy" (see `GroupCopy`), or None for the extension's
    own; crf: quality of h264 and vp9, lower is better; pixel_format: FFmpeg's name, None keeps the clip's as
    nearly as the codec can; copy finds both itself;
    speech: muxed unresampled, cut or padded with silence to the video; timeline: what is shown when, default
    the clip's own times; metadata: container tags; others: what else is copied from the clip's file;
    seal: called with the whole file before that takes its name.
    `warnings` has a line for each thing of the source that the output does not keep; `copied` says in the end
    what codec copy has copied.
    Raises: MediaError before any work when the output cannot be written, is the source, or does not fit the
    codec or the disk.
    """

    def __init__(
        self,
        path: str | Path,
        like: Clip,
        *,
        codec: str | None = None,
        crf: int = 18,
        pixel_format: str | None = None,
        preset: str = "veryfast",
        speech: Speech | None = None,
        timeline: Timeline | None = None,
        metadata: Mapping[str, str] | None = None,
        others: OtherStreams | None = None,
        seal: Callable[[Path], None] | None = None,
    ):
        self.path = Path(path)
        codec = choose_codec(self.path, codec, like)
        check_outputs({"the output": self.path}, [*like.files, speech.path if speech else None])
        self._like = like
        self._speech = speech
        self._others = others or OtherStreams()
        self._metadata = self._others.merged_tags(metadata or {})
        self._timeline = timeline or plan_timeline(like, like.duration_s)
        self._durations = self._timeline.durations
        self._copy: GroupCopy | None = None
        if codec == COPY:
            source = copied_source(like, self._timeline)
            self._copy = GroupCopy(self.path, source, self._timeline, preset)
            self._plan, least = self._copy.plan, 0.0
        else:
            self._plan = plan_encoding(self.path, like, self._timeline, codec, crf, preset, pixel_format)
            least = LEAST_BYTES[self._plan.encoder] * like.width * like.height * len(self._timeline)
        self._room = DiskRoom(self.path, len(self._timeline), least)
        self._room.check()
        self._reformatter = VideoReformatter()
        self._container: av.container.OutputContainer | None = None
        self._soundtrack: Soundtrack | None = None
        self._copier: StreamCopier | None = None
        self._marker: FieldMarker | None = None
        self._written = 0
        self._replacing = ExitStack()
        self._seal = seal

    @classmethod
    def for_masks(cls, path: str | Path, like: Clip, *, timeline: Timeline | None = None) -> VideoWriter:
        """A writer of gray masks: lossless (FFV1 in .mkv), `like`'s size and times; feed it with
        `write_mask`.

        Raises: MediaError for another extension: a lossy mask would not say which pixels were edited.
        """
        path = Path(path)
        if path.suffix.lower() != ".mkv":
            raise MediaError(
                f"a mask must be lossless, so it needs a .mkv file (FFV1), but {path.name!r} arrived: name "
                "it .mkv"
            )
        writer = cls(path, like, codec="ffv1", timeline=timeline)
        # What is the same in most frames packs to next to nothing.
        writer._room = DiskRoom(path, len(writer._timeline), 0)
        writer._plan = replace(
            writer._plan,
            format_name="gray",
            colour=Colour(range=FULL),
            field_order=PROGRESSIVE,
            header_mastering=None,
        )
        return writer

    @property
    def warnings(self) -> tuple[str, ...]:
        """Lines for the user: what the output does not keep of the source."""
        return (*self._plan.warnings, *self._others.warnings)

    @property
    def copied(self) -> str | None:
        """A line for the user: how much of the source was copied; None with other codecs."""
        return None if self._copy is None else self._copy.summary

    def __enter__(self) -> VideoWriter:
        try:
            self._temporary = self._replacing.enter_context(replacing(self.path))
            self._container = av.open(local_url(self._temporary), "w", options=self._plan.container_options)
            self._container.metadata.update({str(key): str(value) for key, value in self._metadata.items()})
            self._stream = self._video_stream()
            if self._speech is not None:
                self._soundtrack = Soundtrack(
                    self._container, self._speech, self._plan.sound_codec, self._timeline.duration_s
                )
                if self._speech.path is not None and self._speech.path == self._others.path:
                    self._soundtrack.stream.metadata.update(self._others.sound_tags)
            self._copier = StreamCopier(self._container, self._others)
        except BaseException as error:
            self._discard(error)
            self._explain(error)
            raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        if kind is not None:
            self._discard(error)
            self._explain(error)
            return
        try:
            self._finish()
        except BaseException as failure:
            self._discard(failure)
            self._explain(failure)
            raise

    def write(self, picture: Picture, is_changed: bool = True) -> None:
        """Append a picture; it takes the timeline's next time stamp. is_changed: it is not just the source's.

        Raises: ValueError for another size or more pictures than the timeline has.
        """
        if (picture.height, picture.width) != (self._like.height, self._like.width):
            raise ValueError(
                f"a picture of {self._like.height} x {self._like.width} px (height x width) was required, "
                f"but {picture.height} x {picture.width} arrived"
            )
        if self._copy is None:
            self._write_frame(self._encodable(picture))
            return
        self._check_expected()
        self._mux_copied(self._copy.packets(picture, is_changed))
        self._count()

    def write_mask(self, mask: np.ndarray) -> None:
        """Append a mask, uint8 (H, W), 0 = untouched.

        Raises: ValueError for another size or type, or on a writer of pictures.
        """
        if (
            self._plan.format_name != "gray"
            or mask.dtype != np.uint8
            or mask.shape != (self._like.height, self._like.width)
        ):
            raise ValueError(
                f"a uint8 mask ({self._like.height}, {self._like.width}) on a writer made by for_masks was "
                "required, "
                f"but {mask.dtype} {mask.shape} arrived"
            )
        frame = av.VideoFrame(mask.shape[1], mask.shape[0], "gray")
        np.copyto(planes_of(frame)[0], mask)
        frame.color_range = FULL
        self._write_frame(frame)

    def _write_frame(self, frame: av.VideoFrame) -> None:
        self._check_expected()
        frame.pts = int(self._timeline.pts[self._written])
        frame.time_base = self._timeline.time_base
        # The source's picture types would be obeyed by the encoder.
        frame.pict_type = 0
        self._mux_video(self._tagged(frame))
        end = int(self._timeline.pts[self._written] + self._durations[self._written])
        self._mux_beside(float(end * self._timeline.time_base))
        self._count()

    def _check_expected(self) -> None:
        if self._written == len(self._timeline):
            raise ValueError(f"{len(self._timeline)} pictures were required, but one more arrived")

    def _count(self) -> None:
        self._written += 1
        self._room.check_on_the_way(self._written, self._temporary)

    def _mux_copied(self, packets: Iterable[av.Packet]) -> None:
        """Packets of the picture that are complete; the rest follows them in time."""
        for packet in packets:
            assert packet.dts is not None
            begin = packet.dts * self._timeline.time_base
            self._opened.mux(packet)
            self._mux_beside(float(begin))

    def _mux_beside(self, time_s: float) -> None:
        """What goes with the pictures up to a time."""
        for source in (self._soundtrack, self._copier):
            if source is not None:
                for packet in source.packets_until(time_s):
                    self._opened.mux(packet)

    @property
    def _needs_header(self) -> bool:
        mastering = self._plan.header_mastering
        return self._plan.header_aspect != 1 or (mastering is not None and mastering.is_static)

    @property
    def _title(self) -> str:
        """The video stream's own."""
        return self._others.video_tags.get("title", "")

    def _tagged(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The same picture with the output's tags: ProRes and FFV1 write down each frame's own."""
        self._plan.colour.tag(frame)
        if self._plan.field_order == PROGRESSIVE:
            return frame
        if self._marker is None:
            self._marker = FieldMarker(
                self._plan.field_order,
                frame.width,
                frame.height,
                frame.format.name,
                self._timeline.time_base,
            )
        return self._marker(frame)

    @property
    def _opened(self) -> av.container.OutputContainer:
        if self._container is None:
            raise ValueError("an open writer was required: use it in a with block")
        return self._container

    def _mux_video(self, frame: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(frame):
            assert packet.pts is not None  # every frame has been given one
            position = int(np.searchsorted(self._timeline.pts, packet.pts))
            packet.duration = int(self._durations[position])
            self._opened.mux(packet)

    def _video_stream(self) -> av.video.stream.VideoStream:
        if self._copy is not None:
            copied = self._copy.open(self._opened)
            self._describe(copied)
            return copied
        plan, like = self._plan, self._like
        rate = Fraction(like.fps).limit_denominator(1_001_000)
        stream = self._opened.add_stream(plan.encoder, rate=rate, options=dict(plan.options))
        assert isinstance(stream, av.VideoStream)  # every encoder of a plan is one of pictures
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = like.width, like.height, plan.format_name
        context.time_base = self._timeline.time_base
        context.thread_count = codec_threads()
        context.sample_aspect_ratio = like.sample_aspect_ratio
        plan.colour.tag(context)
        self._describe(stream)
        return stream

    def _describe(self, stream: av.video.stream.VideoStream) -> None:
        stream.metadata.update(self._others.video_tags)
        if self._needs_header:
            stream.metadata["title"] = title_with_room(self._title)

    def _encodable(self, picture: Picture) -> av.VideoFrame:
        """The picture in the encoder's pixel format, its samples alone: edited ones have no side data, and
        encoders write down what the others have.
        """
        name, colour = self._plan.format_name, self._plan.colour
        frame = copy_frame(picture.frame) if side_data(picture.frame) else picture.frame
        same_range = picture.colour.is_full_range(picture.format_name) == colour.is_full_range(name)
        if picture.format_name == name and same_range:
            return frame
        return convert(frame, name, self._reformatter, picture.colour, to=colour)

    def _finish(self) -> None:
        if self._written != len(self._timeline):
            raise ValueError(
                f"{len(self._timeline)} pictures were required, but {self._written} were written"
            )
        if self._copy is None:
            self._mux_video(None)
        else:
            self._mux_copied(self._copy.finish())
        for source in (self._soundtrack, self._copier):
            if source is not None:
                for packet in source.finish():
                    self._opened.mux(packet)
        self._opened.close()
        self._container = None
        self._close_source()
        if self._needs_header:
            describe_pictures(
                self._temporary,
                self._title,
                (self._like.height, self._like.width) if self._copy is None else self._copy.size,
                self._plan.header_aspect,
                self._plan.header_mastering,
            )
        if self._seal is not None:
            self._seal(self._temporary)
        self._replacing.close()

    def _close_source(self) -> None:
        if self._copier is not None:
            self._copier.close()
            self._copier = None
        if self._copy is not None:
            self._copy.close()

    def _discard(self, error: BaseException) -> None:
        """Close and remove the temporary file, whatever state it is in."""
        if self._container is not None:
            # A header that was never written or a full disk does not matter here: the file goes either way.
            with contextlib.suppress(av.error.FFmpegError, ValueError):
                self._container.close()
            self._container = None
        self._close_source()
        self._replacing.__exit__(type(error), error, error.__traceback__)

    def _explain(self, error: BaseException | None) -> None:
        if isinstance(error, av.error.FFmpegError):
            raise MediaError(
                f"{self.path} could not be written ({reason(error)}): check the free disk space, or choose "
                "another codec"
            ) from error
