"""A video file that is read again and again without being held."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import MediaError
from .audio import Speech
from .clip import Clip
from .colour import ONE_THREAD, Colour, RgbConverter
from .container import as_fraction, open_media, video_stream
from .decode import HELD_BYTES, FrameCursor, reading_order
from .fields import field_order, upside_down
from .formats import needed_format
from .hdr import Mastering
from .picture import Picture
from .pixels import Orientation, convert, make_upright, unpack
from .scan import (
    FrameTable,
    check_complete,
    check_times,
    scan_packets,
    table_by_decoding,
    table_from_packets,
)
from .side_data import carried

PROBED_FRAMES = 4


@dataclass(frozen=True, eq=False, kw_only=True)
class FileClip(Clip):
    """A file's video stream; times follow the stream's stamps.

    path: the file; table: where each frame is in it; orientation: what makes its frames upright.
    """

    path: Path
    table: FrameTable = field(repr=False)
    orientation: Orientation = field(default=Orientation(), repr=False)

    @staticmethod
    def open(path: str | Path) -> FileClip:
        """Describe a video file; its packets are read once, no frame is kept.

        Raises: FileNotFoundError; MediaError (no video in it, nothing decodes, less than its index
        promises, or more than `limits` allow).
        """
        path = Path(path)
        with open_media(path, "a video") as container:
            stream = video_stream(container, path)
            has_audio = bool(container.streams.audio)
            scan = scan_packets(container, stream)
            check_complete(container, stream, scan, path)
            table = table_from_packets(scan, stream)
            if table is not None:
                check_times(table, path)
            aspect = as_fraction(stream.sample_aspect_ratio) or Fraction(1)
            gamut = stream.codec_context.color_primaries, stream.codec_context.color_trc
            declared_order = int(getattr(stream.codec_context, "field_order", 0))
        first = probe(path, table) if table is not None else None
        if table is None or first is None:
            table = table_by_decoding(path, scan.pts)
            check_times(table, path)
            first = probe(path, table)
        if first is None:
            raise MediaError(
                f"a video was required, but {path} decodes differently each time: it is damaged; export it "
                "again"
            )
        orientation = Orientation.of_frame(first)
        order = field_order(declared_order, first)
        height, width = (first.width, first.height) if orientation.transpose else (first.height, first.width)
        return FileClip(
            height=height,
            width=width,
            pts=table.pts,
            time_base=table.time_base,
            last_duration=table.last_duration,
            fps=table.fps,
            colour=Colour.of_frame(first, *gamut),
            format_name=needed_format(first, is_still=len(table) == 1),
            rotation=orientation.degrees,
            sample_aspect_ratio=1 / aspect if orientation.transpose else aspect,
            field_order=upside_down(order, height) if orientation.mirror_y else order,
            mastering=Mastering.of_frame(first),
            carried=carried(first, scan.has_captions),
            has_audio=has_audio,
            path=path,
            table=table,
            orientation=orientation,
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """See `Clip.files`."""
        return (self.path,)

    @property
    def origin(self) -> Clip:
        """See `Clip.origin`."""
        return self

    def speech(self) -> Speech:
        """See `Clip.speech`."""
        return Speech.open(self.path)

    def _read(self, rows: np.ndarray) -> Iterator[Picture]:
        normalise = FrameNormaliser(self)
        held = max(2, HELD_BYTES // frame_bytes(self))
        with FrameCursor(self.path, self.table) as cursor:

            def picture(index: int) -> Picture:
                return normalise(index, cursor.fetch(index))

            for begin, end, forward in reading_order(rows, held):
                read = _forwards if forward else _backwards
                yield from read(rows[begin:end].tolist(), picture)


def _forwards(stretch: list[int], picture: Callable[[int], Picture]) -> Iterator[Picture]:
    """The pictures of frame numbers that never fall, each read once."""
    latest: Picture | None = None
    for index in stretch:
        if latest is None or latest.index != index:
            latest = picture(index)
        yield latest


def _backwards(stretch: list[int], picture: Callable[[int], Picture]) -> Iterator[Picture]:
    """The pictures of frame numbers that never rise, read forwards and held until they are given out."""
    kept = {index: picture(index) for index in sorted(set(stretch))}
    for position, index in enumerate(stretch):
        yield kept[index]
        if index not in stretch[position + 1 : position + 2]:
            del kept[index]


class FrameNormaliser:
    """Decoded frames of a clip -> pictures: planar, upright, of the clip's size and format."""

    def __init__(self, clip: FileClip):
        self._clip = clip
        self._reformatter = VideoReformatter()
        self._converter = RgbConverter(clip.colour)

    def __call__(self, index: int, frame: av.VideoFrame) -> Picture:
        """One picture; a stream that changes size or format on the way is brought back to its first
        frame's.
        """
        clip = self._clip
        frame = unpack(frame, self._reformatter, clip.colour)
        frame = make_upright(frame, clip.orientation, self._reformatter, clip.colour)
        if frame.format.name != clip.format_name:
            frame = convert(frame, clip.format_name, self._reformatter, clip.colour)
        if (frame.width, frame.height) != (clip.width, clip.height):
            frame = self._reformatter.reformat(
                frame, clip.width, clip.height, clip.format_name, interpolation="BICUBIC", **ONE_THREAD
            )
        return Picture(index, frame, clip.colour, self._converter)


def probe(path: Path, table: FrameTable) -> av.VideoFrame | None:
    """The first frame, when the first few frames and the whole last group of pictures decode as the table
    says, else None.
    """
    last = len(table) - 1
    tail = table.keyframe_before(last)
    try:
        with FrameCursor(path, table) as cursor:
            first = cursor.fetch(0)
            for index in range(1, min(PROBED_FRAMES, len(table))):
                cursor.fetch(index)
            for index in range(tail if tail is not None else last, len(table)):
                cursor.fetch(index)
    except MediaError:
        return None
    return first


def frame_bytes(clip: Clip) -> int:
    """An upper bound for one native frame, bytes."""
    return clip.height * clip.width * (3 if clip.format_name.endswith("p") else 6)
