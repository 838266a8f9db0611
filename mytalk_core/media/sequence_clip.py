"""A numbered series or a folder of pictures, shown at a constant rate and read one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from ..errors import MediaError
from .audio import Speech
from .clip import Clip
from .colour import Colour, RgbConverter
from .container import open_media, reason, video_stream
from .formats import common_format, needed_format
from .image_clip import exact_rate
from .picture import Picture
from .pixels import Orientation, convert, layout_of, make_upright, planar_format, unpack
from .scan import check_count, check_length
from .side_data import carried

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".tga", ".dpx", ".exr", ".ppm", ".jp2")
USUAL_RATE = Fraction(25)
NUMBER = re.compile(r"%(?:0(\d))?d")


@dataclass(frozen=True, eq=False, kw_only=True)
class SequenceClip(Clip):
    """Pictures in files, all of one size, in a pixel format that holds them all. paths: in the order they are
    shown.
    """

    paths: tuple[Path, ...] = field(repr=False)

    @staticmethod
    def open(path: str | Path, frame_rate: Fraction | float | None = None) -> SequenceClip:
        """A folder's pictures in natural order (f_2 before f_10), or those of a pattern such as f_%04d.png.

        frame_rate: frames a second, 25 where None, see `exact_rate`. Every file's size and pixel format are
        read, no picture is kept. Raises: FileNotFoundError for a pattern that fits nothing; MediaError for a
        folder without pictures, a number that is missing in a series, pictures of several sizes or too many
        of them; ValueError for another rate.
        """
        rate = exact_rate(USUAL_RATE if frame_rate is None else frame_rate)
        path = Path(path)
        paths = pictures_of_folder(path) if path.is_dir() else pictures_of_pattern(path)
        check_count(len(paths))
        check_length(len(paths) / float(rate), path)
        facts = [PictureFacts.of_file(path) for path in paths]
        for other, one in zip(paths, facts, strict=True):
            check_size(other, one.height, one.width, paths[0], facts[0].height, facts[0].width)
        format_name = reduce(common_format, dict.fromkeys(one.format_name for one in facts))
        # Gray says nothing of a matrix: the colours of all are described as those of a picture that can.
        like = next(i for i, one in enumerate(facts) if kind(one.format_name) == kind(format_name))
        described = decoded(paths[like])
        return SequenceClip(
            height=facts[0].height,
            width=facts[0].width,
            pts=np.arange(len(paths), dtype=np.int64),
            time_base=1 / rate,
            last_duration=1,
            fps=rate,
            colour=Colour.of_frame(described),
            format_name=format_name,
            rotation=Orientation.of_frame(described).degrees,
            carried=carried(described),
            paths=tuple(paths),
        )

    @property
    def files(self) -> tuple[Path, ...]:
        """See `Clip.files`."""
        return self.paths

    def speech(self) -> Speech:
        """See `Clip.speech`."""
        raise MediaError("speech was required, but pictures have none: give a sound file")

    def _read(self, rows: np.ndarray) -> Iterator[Picture]:
        reformatter, converter, last = VideoReformatter(), RgbConverter(self.colour), None
        for row in map(int, rows):
            if last is None or last.index != row:
                last = Picture(row, self._normalised(self.paths[row], reformatter), self.colour, converter)
            yield last

    def _normalised(self, path: Path, reformatter: VideoReformatter) -> av.VideoFrame:
        """A picture in the clip's pixel format, upright."""
        frame = decoded(path)
        check_size(path, *upright_size(frame), self.paths[0], self.height, self.width)
        orientation, colour = Orientation.of_frame(frame), Colour.of_frame(frame)
        frame = make_upright(unpack(frame, reformatter, colour), orientation, reformatter, colour)
        return convert(frame, self.format_name, reformatter, colour, to=self.colour)


def is_pattern(path: Path) -> bool:
    """Whether a name has one place for a number, as printf writes it, and is no file's own name."""
    return len(NUMBER.findall(path.name)) == 1 and not path.exists()


def pictures_of_folder(folder: Path) -> list[Path]:
    """Its pictures by name, numbers by their value; hidden files are left out. Raises MediaError for none."""
    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not found:
        raise MediaError(
            f"a video or a folder of pictures was required, but the folder {folder} has none "
            f"({', '.join(SUFFIXES)}): name a file inside it"
        )
    return sorted(found, key=natural)


def natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """By which names are sorted as people count: f_2 before f_10."""
    parts = re.split(r"([0-9]+)", path.name.casefold())
    return [(1, int(part[:4000]), "") if part.isdigit() else (0, 0, part) for part in parts], path.name


def pictures_of_pattern(pattern: Path) -> list[Path]:
    """The files of a pattern by number. Raises FileNotFoundError for none, MediaError for a gap."""
    if not is_pattern(pattern) or not pattern.parent.is_dir():
        raise FileNotFoundError(f"a video file was required, but {pattern} does not exist: check the path")
    place = NUMBER.search(pattern.name)
    assert place is not None  # it is a pattern
    head, tail = pattern.name[: place.start()], pattern.name[place.end() :]
    wanted = re.compile(rf"{re.escape(head)}([0-9]{{{place[1] or 1},18}}){re.escape(tail)}")
    numbered: dict[int, Path] = {}
    for path in pattern.parent.iterdir():
        match = wanted.fullmatch(path.name)
        if match and path.is_file() and head + f"{int(match[1]):0{place[1] or 1}d}" + tail == path.name:
            numbered[int(match[1])] = path
    if not numbered:
        raise FileNotFoundError(f"pictures {pattern.name} were required, but {pattern.parent} has none")
    numbers = sorted(numbered)
    gap = next((n for n, after in pairwise(numbers) if after != n + 1), None)
    if gap is not None:
        raise MediaError(
            f"a series without gaps was required, but {pattern} has number {gap} and not {gap + 1}: add what "
            "is missing, or name the folder, whose pictures are taken as they are"
        )
    return [numbered[n] for n in numbers]


def decoded(path: Path) -> av.VideoFrame:
    """The first picture in a file. Raises as `open_media`, and MediaError where none decodes."""
    with open_media(path, "a picture") as container:
        stream = video_stream(container, path)
        try:
            frame = next(container.decode(stream), None)
        except av.error.FFmpegError as error:
            raise MediaError(
                f"a picture was required, but {path} does not decode ({reason(error)}): export it again"
            ) from None
    if frame is None:
        raise MediaError(f"a picture was required, but nothing in {path} decodes: export it again")
    return frame


@dataclass(frozen=True)
class PictureFacts:
    """A picture's height and width, px, upright, and the planar format that it needs."""

    height: int
    width: int
    format_name: str

    @classmethod
    def of_file(cls, path: Path) -> PictureFacts:
        """What a file's header says; its picture is read only where the header does not say it, may be
        turned, or has a palette, whose alpha the header does not tell.
        """
        with open_media(path, "a picture") as container:
            context = video_stream(container, path).codec_context
            height, width, name = context.height, context.width, context.pix_fmt
        turnable = path.suffix.lower() in (".jpg", ".jpeg", ".tif", ".tiff", ".webp")
        if turnable or not height * width or name in (None, "pal8"):
            frame = decoded(path)
            return cls(*upright_size(frame), needed_format(frame, is_still=True))
        return cls(height, width, planar_format(name))


def kind(format_name: str) -> tuple[bool, bool]:
    """Whether a format is RGB, and whether it is gray."""
    layout = layout_of(format_name)
    return layout.is_rgb, layout.is_gray


def upright_size(frame: av.VideoFrame) -> tuple[int, int]:
    """(height, width) as it is looked at."""
    turned = Orientation.of_frame(frame).transpose
    return (frame.width, frame.height) if turned else (frame.height, frame.width)


def check_size(path: Path, height: int, width: int, first: Path, first_height: int, first_width: int) -> None:
    """Raises MediaError for a picture of another size than the first one's."""
    if (height, width) != (first_height, first_width):
        raise MediaError(
            f"pictures of one size were required, but {first} has {first_width} x {first_height} and {path} "
            f"has {width} x {height}: scale or remove it"
        )
