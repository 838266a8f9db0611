"""Opening a media file, and saying in one line why it cannot be opened."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition

from ..errors import MediaError
from ..files import kind_of
from ..limits import PICTURE_PIXELS
from .threads import codec_threads

# PyAV before 19 fails on tags that are not UTF-8 unless told otherwise; from 19 on it cannot be told.
TAG_OPTIONS: dict[str, Any] = (
    {"metadata_errors": "ignore"} if hasattr(InputContainer, "metadata_errors") else {}
)
# How files begin that name their streams only as they come: FLV and MPEG program streams. PyAV before 17.1
# has counted its streams by then, and crashes where they are given options.
NAMES_STREAMS_LATE = (b"FLV", b"\x00\x00\x01\xba")
# A file that ends so long before it says has lost some of it.
MISSING_TAIL_S = 0.3
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
# How an address of the web begins that was made a path.
WEB = (("http:",), ("https:",))
# By which a folder's videos are told from its other files; a file that is named may end as it likes.
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg", ".ts", ".flv", ".wmv")


def open_media(path: str | Path, wanted: str) -> InputContainer:
    """Open a local file for reading; the caller closes it. wanted: "a video" or "a sound", for the messages.

    Its pictures decode up to `limits.PICTURE_PIXELS`, and it is the only file that is opened: what it names
    itself, as a playlist does, is no reason to fetch anything.

    Raises: FileNotFoundError (no such file); MediaError (a folder, a pipe, empty, or not readable as media).
    """
    path = Path(path)
    if not path.exists():
        remedy = "download it first" if path.parts[:1] in WEB else "check the path"
        raise FileNotFoundError(f"{wanted} file was required, but {path} does not exist: {remedy}")
    if path.is_dir():
        raise MediaError(f"{wanted} file was required, but {path} is a folder: name a file inside it")
    if not path.is_file():
        raise MediaError(
            f"{wanted} file was required, but {path} is {kind_of(path)}, and it is read more than once: "
            "write what comes out of it to a file first"
        )
    if path.stat().st_size == 0:
        raise MediaError(
            f"{wanted} file was required, but {path} is empty (0 bytes): copy or export it again"
        )
    most = {"max_pixels": str(int(min(PICTURE_PIXELS.value, 2**31 - 1)))}
    try:
        # Decoders are tried while a file is opened already: they too decode no more than the limit.
        trying = {} if _names_streams_late(path) else most
        only = {"protocol_whitelist": "file"}
        container = av.open(local_url(path), options=trying, container_options=only, **TAG_OPTIONS)
        for stream in container.streams.video:
            stream.codec_context.options = most
        return container
    except PermissionError:
        raise MediaError(
            f"{wanted} file was required, but {path} may not be read: change its permissions"
        ) from None
    except (av.error.FFmpegError, ValueError) as error:
        raise MediaError(
            f"{wanted} file was required, but {path} is not readable as one ({reason(error)}): it is "
            "damaged, cut off, or of another type; copy or export it again"
        ) from None


def _names_streams_late(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4).startswith(NAMES_STREAMS_LATE)


def local_url(path: Path) -> str:
    """The file for FFmpeg, which takes what stands before a colon for a protocol, as in "12:30 talk.mp4"."""
    return f"file:{path}"


def reason(error: Exception) -> str:
    """FFmpeg's own words, without its number and the file name."""
    return str(getattr(error, "strerror", None) or error)


def video_stream(container: InputContainer, path: Path) -> av.video.stream.VideoStream:
    """The main video stream, cover pictures aside.

    Raises: MediaError where there is none, or where it is one of a photo's tiles: PyAV does not say how they
    are laid out.
    """
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not streams:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no streams"
        raise MediaError(
            f"a video was required, but {path} has no video stream (it holds: {kinds}): name a video file"
        )
    tiles = sum(Disposition.dependent in stream.disposition for stream in streams)
    if tiles > 1:
        raise MediaError(
            f"a video or a picture in one piece was required, but {path} is a photo of {tiles} tiles (HEIC "
            "or AVIF), which are not put together here: export it as JPEG or PNG"
        )
    best = container.streams.best("video")
    chosen = best if best in streams else streams[0]
    check_pixels(chosen.codec_context.width, chosen.codec_context.height, path)
    return chosen


def check_pixels(width: int, height: int, path: Path) -> None:
    """Raises MediaError for a picture larger than `limits.PICTURE_PIXELS`."""
    if width * height > PICTURE_PIXELS.value:
        raise MediaError(
            f"pictures of at most {PICTURE_PIXELS.value:.15g} pixels were required, but {path} has {width} x "
            f"{height}: make it smaller, or {PICTURE_PIXELS.remedy}"
        )


def audio_stream(container: InputContainer, path: Path) -> av.audio.stream.AudioStream:
    """The audio stream that players begin with: the first of those marked as default, else the first.

    Raises: MediaError where there is none.
    """
    if not container.streams.audio:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "no streams"
        raise MediaError(
            f"speech was required, but {path} has no audio stream (it holds: {kinds}): name a sound file"
        )
    streams = container.streams.audio
    return next((stream for stream in streams if Disposition.default in stream.disposition), streams[0])


def seconds_a_tick(part: av.stream.Stream | av.Packet | av.frame.Frame) -> Fraction:
    """The time base. Raises: MediaError where the file gives none."""
    tick_s = as_fraction(part.time_base)
    if tick_s is None:
        raise MediaError("a file that says how long its ticks are was required: export it again")
    return tick_s


def declared_rate(stream: av.video.stream.VideoStream) -> Fraction | None:
    """Frames a second as the file says, else as FFmpeg guesses them; None where neither is known."""
    return as_fraction(stream.average_rate) or as_fraction(stream.guessed_rate)


def as_fraction(number: Any) -> Fraction | None:
    """A rational number of PyAV's; None where it is not set.

    From PyAV 19 on they are of a type of its own: products of two are rounded, and 0 stands for not set.
    """
    return Fraction(number.numerator, number.denominator) if number else None


def legible_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags without the bytes in them that are not UTF-8, which PyAV 19 hands out as surrogates."""
    return {_legible(key): _legible(value) for key, value in tags.items()}


def _legible(text: str) -> str:
    return text.encode("utf-8", "ignore").decode("utf-8")


def is_cover(stream: av.stream.Stream) -> bool:
    """True for the cover picture of a sound file, which FFmpeg lists as video."""
    return Disposition.attached_pic in stream.disposition


def picture_decoder(stream: av.video.stream.VideoStream) -> av.VideoCodecContext | None:
    """A decoder for pictures that the stream's own would not give whole, else None.

    FFmpeg's VP8 and VP9 decoders pass over the transparency that Matroska keeps beside them; libvpx's do not.
    """
    name = ALPHA_DECODERS.get(stream.codec_context.name)
    if name is None or not any(key.lower() == "alpha_mode" for key in stream.metadata):
        return None
    try:
        decoder = av.CodecContext.create(name, "r")
    except (av.error.FFmpegError, ValueError):
        return None
    assert isinstance(decoder, av.VideoCodecContext)  # both are of pictures
    decoder.extradata = stream.codec_context.extradata
    decoder.thread_count = codec_threads()
    return decoder


def decode_tolerantly(
    packets: Iterable[av.Packet],
    failed: Callable[[str, bool], None] = lambda why, ended: None,
    decoder: av.VideoCodecContext | None = None,
) -> Iterator[Any]:
    """The frames of one stream's packets; one that does not decode is passed over.

    failed(why, ended): told of every failure, in FFmpeg's words; ended: no packet could be read, and
    none will come; decoder: in place of the stream's own.
    """
    packets = iter(packets)
    while True:
        packet = None
        try:
            packet = next(packets, None)
            if packet is None:
                return
            yield from packet.decode() if decoder is None else decoder.decode(packet)
        except av.error.FFmpegError as error:
            failed(reason(error), packet is None)
            if packet is None:
                return


def listed_packets(container: InputContainer, stream: av.stream.Stream) -> int:
    """How many packets an MP4's or MOV's index promises for a stream; 0 for containers (and PyAV before 17)
    that list none.
    """
    if not container.format.name.startswith("mov"):
        return 0
    return sum(not entry.is_discard for entry in getattr(stream, "index_entries", ()))
