"""A video that is read again and again without being held: `Clip`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import MediaError
from .audio import Speech
from .colour import ONE_THREAD, Colour, RgbConverter
from .container import open_media, video_stream
from .decode import HELD_BYTES, FrameCursor, reading_order
from .picture import Picture, rgb_bytes, rgb_colour
from .pixels import Orientation, make_upright, oriented_format, planar_format, unpack
from .scan import FrameTable, check_complete, scan_packets, table_by_decoding, table_from_packets

PROBED_FRAMES = 4


@dataclass(frozen=True, eq=False)
class Clip:
    """A video's description, and its frames on demand; frames are upright, times follow the stream's stamps.

    height, width: px, upright; pts: int64 (T,) strictly increasing, in `time_base` seconds; last_duration:
    ticks that the last frame is shown; fps: average rate; colour: the stream's tags; format_name: planar
    pixel format of the pictures; rotation: degrees clockwise that were undone; path: the file, or None for
    frames held in memory.
    """

    height: int
    width: int
    pts: np.ndarray
    time_base: Fraction
    last_duration: int
    fps: Fraction
    colour: Colour
    format_name: str
    rotation: int = 0
    sample_aspect_ratio: Fraction = Fraction(1)
    path: Path | None = None
    has_audio: bool = False
    table: FrameTable | None = field(default=None, repr=False)
    orientation: Orientation = field(default=Orientation(), repr=False)
    images: np.ndarray | None = field(default=None, repr=False)
    images_speech: Speech | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Clip:
        """Describe a video file; its packets are read once, no frame is kept.

        Raises: FileNotFoundError; MediaError (no video in it, nothing decodes, or less than its index
        promises).
        """
        path = Path(path)
        with open_media(path, "a video") as container:
            stream = video_stream(container, path)
            has_audio = bool(container.streams.audio)
            scan = scan_packets(container, stream)
            check_complete(container, stream, scan, path)
            table = table_from_packets(scan, stream)
            aspect = stream.sample_aspect_ratio or Fraction(1)
            gamut = stream.codec_context.color_primaries, stream.codec_context.color_trc
        first = probe(path, table) if table is not None else None
        if first is None:
            table = table_by_decoding(path, scan.pts)
            first = probe(path, table)
        if first is None:
            raise MediaError(
                f"a video was required, but {path} decodes differently each time: it is damaged; export it "
                "again"
            )
        orientation = Orientation.of_frame(first)
        height, width = (first.width, first.height) if orientation.transpose else (first.height, first.width)
        return cls(
            height=height,
            width=width,
            pts=table.pts,
            time_base=table.time_base,
            last_duration=table.last_duration,
            fps=table.fps,
            colour=Colour.of_frame(first, *gamut),
            format_name=oriented_format(planar_format(first.format.name), orientation),
            rotation=orientation.degrees,
            sample_aspect_ratio=1 / aspect if orientation.transpose else aspect,
            path=path,
            has_audio=has_audio,
            table=table,
            orientation=orientation,
        )

    @classmethod
    def from_frames(cls, frames: np.ndarray, fps: Fraction | float, speech: Speech | None = None) -> Clip:
        """A clip of images already in memory; they are used in place, a frame at a time.

        frames: (T, H, W, 3) uint8, or float 0..1 (ComfyUI's IMAGE; 1 and 4 channels too); fps: frames a
        second, exact fractions stay exact, a float within 1e-3 of n * 1000/1001 is taken as that. Raises:
        ValueError for another shape or rate.
        """
        frames = np.asarray(frames)
        if frames.ndim != 4 or not len(frames):
            raise ValueError(
                f"frames (T, H, W, 3) were required, but shape {frames.shape} arrived: stack RGB frames"
            )
        rate = exact_rate(fps)
        height, width = rgb_bytes(frames[0]).shape[:2]
        return cls(
            height=height,
            width=width,
            pts=np.arange(len(frames), dtype=np.int64),
            time_base=1 / rate,
            last_duration=1,
            fps=rate,
            colour=rgb_colour(height),
            format_name="gbrp",
            has_audio=speech is not None,
            images=frames,
            images_speech=speech,
        )

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def times_s(self) -> np.ndarray:
        """float64 (T,): seconds from the first frame."""
        return (self.pts - self.pts[0]) * float(self.time_base)

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame's start to the last frame's end."""
        return float((int(self.pts[-1] - self.pts[0]) + self.last_duration) * self.time_base)

    def speech(self) -> Speech:
        """The clip's own sound, its time 0 at the first frame. Raises: MediaError where there is none."""
        if self.path is not None:
            return Speech.open(self.path)
        if self.images_speech is None:
            raise MediaError("speech was required, but these frames came without sound: give a sound file")
        return self.images_speech

    def frames(self, start: int = 0, stop: int | None = None, batch_size: int = 16) -> Iterator[np.ndarray]:
        """Upright RGB in order: uint8 (B, H, W, 3), B <= batch_size; frames start..stop-1."""
        stop = len(self) if stop is None else min(stop, len(self))
        if self.images is None:
            images = (picture.rgb for picture in self.pictures(range(start, stop)))
        else:
            images = (rgb_bytes(image) for image in self.images[start:stop])
        for first in range(start, stop, batch_size):
            batch = np.empty((min(batch_size, stop - first), self.height, self.width, 3), np.uint8)
            for image in batch:
                image[...] = next(images)
            yield batch

    def pictures(self, indices: Sequence[int] | np.ndarray | None = None) -> Iterator[Picture]:
        """Pictures by frame number, in the order asked for: repeats and backward runs are fine, memory stays
        bounded.

        Raises: IndexError for a number outside the clip; MediaError when the file stops decoding.
        """
        wanted = np.arange(len(self)) if indices is None else np.asarray(indices, np.int64)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            raise IndexError(
                f"frame numbers 0..{len(self) - 1} were required, but {wanted.min()}..{wanted.max()} arrived"
            )
        if self.images is not None:
            return self._pictures_from_images(wanted)
        return self._pictures_from_file(wanted)

    def _pictures_from_images(self, indices: np.ndarray) -> Iterator[Picture]:
        for index in indices:
            yield Picture.from_rgb(int(index), np.asarray(self.images[int(index)]))

    def _pictures_from_file(self, indices: np.ndarray) -> Iterator[Picture]:
        normalise = FrameNormaliser(self)
        held = max(2, HELD_BYTES // frame_bytes(self))
        with FrameCursor(self.path, self.table) as cursor:
            for begin, end, forward in reading_order(indices, held):
                stretch = [int(index) for index in indices[begin:end]]
                if forward:
                    picture = None
                    for index in stretch:
                        if picture is None or picture.index != index:
                            picture = normalise(index, cursor.fetch(index))
                        yield picture
                    continue
                kept = {index: normalise(index, cursor.fetch(index)) for index in sorted(set(stretch))}
                for position, index in enumerate(stretch):
                    yield kept[index]
                    if index not in stretch[position + 1 : position + 2]:
                        del kept[index]


class FrameNormaliser:
    """Decoded frames of a clip -> pictures: planar, upright, of the clip's size and format."""

    def __init__(self, clip: Clip):
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
        if (frame.width, frame.height, frame.format.name) != (clip.width, clip.height, clip.format_name):
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


def exact_rate(fps: Fraction | float) -> Fraction:
    """A frame rate as a fraction; decimals near n * 1000/1001 (29.97, 23.976) become that.

    Raises: ValueError unless > 0.
    """
    rate = Fraction(fps).limit_denominator(1_001_000)
    if rate <= 0:
        raise ValueError(f"a frame rate above 0 was required, but {fps} arrived")
    if isinstance(fps, Fraction | int) or rate.denominator == 1:
        return rate
    broadcast = Fraction(round(float(fps) * 1001 / 1000) * 1000, 1001)
    return broadcast if abs(float(broadcast) - float(fps)) < 2e-3 * float(fps) / 24 else rate
