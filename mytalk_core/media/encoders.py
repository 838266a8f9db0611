"""What each codec needs: containers, sound beside it, pixel format, colour tags and options."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from ..errors import MediaError
from .clip import Clip
from .colour import FULL, LIMITED, RGB_MATRIX, UNSPECIFIED, Colour, matrix_for_height
from .fields import PROGRESSIVE, UNKNOWN
from .formats import nearest_format
from .hdr import Mastering
from .pixels import PixelLayout, is_planar, layout_of
from .timeline import Timeline

# Codec -> FFmpeg's encoder, and the sound codec for each container it goes into.
ENCODERS = {"h264": "libx264", "prores": "prores_ks", "vp9": "libvpx-vp9", "ffv1": "ffv1"}
# Not one codec, but the source's own packets, and what encodes the rest like them (see `group_copy`).
COPY = "copy"
COPIED = {"h264": "libx264", "hevc": "libx265"}
SOUND_CODECS = {
    "h264": {".mp4": "aac", ".m4v": "aac", ".mov": "aac", ".mkv": "flac"},
    "prores": {".mov": "pcm_s24le", ".mkv": "flac"},
    "vp9": {".webm": "libopus", ".mkv": "flac"},
    "ffv1": {".mkv": "flac"},
    COPY: {".mp4": "aac", ".m4v": "aac", ".mov": "aac", ".mkv": "flac"},
}
DEFAULT_CODECS = {".mp4": "h264", ".m4v": "h264", ".mov": "h264", ".mkv": "h264", ".webm": "vp9"}
MATROSKA = (".mkv", ".webm")
# What FFmpeg cuts a frame into when not asked.
FFV1_SLICES = 4
ROUNDING_S = 1.5e-3
WORST_CRF = {"h264": 51, "vp9": 63}
# 4:2:0 of an odd size is refused by these encoders.
EVEN_CHROMA_ONLY = ("h264", "prores")
TRANSPARENT = "yuva420p"
PLAYABLE = {8: "yuv420p", 10: "yuv420p10le"}
CONTAINER_OPTIONS = {
    # use_metadata_tags keeps keys that MP4 has no box for; faststart lets a browser play while it loads.
    ".mp4": {"movflags": "use_metadata_tags+faststart"},
    ".m4v": {"movflags": "use_metadata_tags+faststart"},
    ".mov": {"movflags": "use_metadata_tags+faststart"},
    # Matroska stores no decoding times: shifting all streams to make those positive would only delay the
    # first frame.
    ".mkv": {"avoid_negative_ts": "disabled"},
    ".webm": {"avoid_negative_ts": "disabled"},
}


@dataclass(frozen=True)
class EncodingPlan:
    """How a clip's pictures are encoded: FFmpeg's encoder, pixel format, colour tags and options.

    field_order: see `fields`; header_aspect, header_mastering: what goes into the finished file's header, see
    `matroska`; warnings: a line for each fact of the clip that the output does not keep.
    """

    encoder: str
    format_name: str
    colour: Colour
    options: dict[str, str]
    sound_codec: str
    container_options: dict[str, str]
    field_order: str = PROGRESSIVE
    header_aspect: Fraction = Fraction(1)
    header_mastering: Mastering | None = None
    warnings: tuple[str, ...] = ()


def choose_codec(path: Path, codec: str | None, like: Clip | None = None) -> str:
    """The codec named, or the extension's usual one: for .mov of a transparent clip (`like`) ProRes, which
    keeps that.

    Raises: MediaError for a pair that does not exist.
    """
    suffix = path.suffix.lower()
    if suffix not in DEFAULT_CODECS:
        raise MediaError(
            f"an output ending in {', '.join(DEFAULT_CODECS)} was required, but {path.name!r} arrived: "
            "change its extension"
        )
    if codec is None and suffix == ".mov" and like is not None and layout_of(like.format_name).has_alpha:
        codec = "prores"
    codec = codec or DEFAULT_CODECS[suffix]
    if codec not in SOUND_CODECS:
        raise MediaError(
            f"a codec of {', '.join(SOUND_CODECS)} was required, but {codec!r} arrived: choose one of them"
        )
    if suffix not in SOUND_CODECS[codec]:
        raise MediaError(
            f"{codec} goes into {' or '.join(SOUND_CODECS[codec])}, but {path.name!r} was asked for: change "
            "the extension or the codec"
        )
    return codec


def plan_encoding(
    path: Path,
    like: Clip,
    timeline: Timeline,
    codec: str,
    crf: int,
    preset: str,
    pixel_format: str | None,
) -> EncodingPlan:
    """How pictures like those of a clip are encoded into a file.

    pixel_format: FFmpeg's name; None takes the one nearest to the clip's.

    Raises: MediaError when this FFmpeg lacks the encoder, or the encoder the pixel format; ValueError for
    a crf outside the codec's scale.
    """
    offered = check_settings(codec, crf, pixel_format)
    format_name = pixel_format or choose_format(like, codec, offered)
    check_format(format_name, like, codec, offered)
    suffix = path.suffix.lower()
    # H.264 says these itself.
    in_header = suffix in MATROSKA and codec != "h264"
    order, lost = output_fields(like, codec, format_name, suffix)
    if like.carried:
        lost.append(f"not kept, as no codec here writes it: {', '.join(like.carried)}")
    options = codec_options(codec, crf, preset, format_name, is_variable(timeline))
    slices = ffv1_slices(like.height, like.width, layout_of(format_name)) if codec == "ffv1" else {}
    return EncodingPlan(
        encoder=ENCODERS[codec],
        format_name=format_name,
        colour=output_colour(like, codec, format_name),
        options=options | field_options(codec, order) | x264_options(like, codec, order) | slices,
        sound_codec=SOUND_CODECS[codec][suffix],
        container_options=CONTAINER_OPTIONS[suffix],
        field_order=order,
        header_aspect=like.sample_aspect_ratio if in_header else Fraction(1),
        header_mastering=like.mastering if in_header else None,
        warnings=(*lost, *lost_facts(like, codec, format_name, suffix)),
    )


def plan_copying(path: Path, clip: Clip, source_codec: str, format_name: str, preset: str) -> EncodingPlan:
    """How pictures are encoded between the packets of the clip's own file.

    source_codec: of `COPIED`; format_name: in which the file stores its pictures. The options leave out what
    depends on the packets around. Raises MediaError where no encoder makes such pictures, or the container
    holds none.
    """
    suffix, encoder, mastering = path.suffix.lower(), COPIED[source_codec], clip.mastering
    if suffix == ".m4v" and source_codec != "h264":
        raise MediaError(
            f"codec copy into .m4v needs H.264, but {source_codec} arrived: name the output .mp4, .mov or "
            ".mkv, or name another codec"
        )
    check_offered(format_name, source_codec, formats_of(source_codec, encoder))
    order = clip.field_order
    if order != PROGRESSIVE and (clip.rotation or order == UNKNOWN or source_codec != "h264"):
        raise MediaError(
            "codec copy needs progressive pictures, or upright H.264 that says which field comes first, but "
            f"{source_codec} with fields in the order {order!r} arrived: name another codec"
        )
    options = {"preset": preset} | field_options(source_codec, order)
    if source_codec == "h264":
        options |= x264_options(clip, source_codec, order)
    elif mastering is not None and mastering.is_static:
        options["x265-params"] = ":".join(mastering.x265_params())
    lost = lost_facts(clip, source_codec, clip.format_name, suffix)
    if clip.carried:
        lost.append(f"kept for certain only where packets are copied: {', '.join(clip.carried)}")
    aspect = clip.sample_aspect_ratio
    if clip.rotation in (90, 270):
        aspect = 1 / aspect
    return EncodingPlan(
        encoder=encoder,
        format_name=format_name,
        colour=clip.colour,
        options=options,
        sound_codec=SOUND_CODECS[COPY][suffix],
        container_options=CONTAINER_OPTIONS[suffix],
        field_order=order,
        header_aspect=aspect if suffix in MATROSKA else Fraction(1),
        warnings=tuple(lost),
    )


def check_crf(codec: str, crf: int) -> None:
    """Raises ValueError for a crf outside the codec's scale."""
    if codec in WORST_CRF and not 0 <= crf <= WORST_CRF[codec]:
        raise ValueError(f"a crf of 0..{WORST_CRF[codec]} was required for {codec}, but {crf} arrived")


def check_settings(codec: str, crf: int, pixel_format: str | None = None) -> list[str]:
    """The pixel formats that a codec's encoder offers.

    Raises: MediaError and ValueError as `plan_encoding`, for what no clip could make right.
    """
    if codec == COPY:
        return []
    offered = formats_of(codec, ENCODERS[codec])
    check_crf(codec, crf)
    if pixel_format is not None:
        check_offered(pixel_format, codec, offered)
    return offered


def formats_of(codec: str, encoder: str) -> list[str]:
    """The pixel formats that one of FFmpeg's encoders offers. Raises MediaError where it is not there."""
    try:
        found = av.Codec(encoder, "w")
    except av.error.FFmpegError:
        raise MediaError(
            f"{codec} needs FFmpeg's {encoder}, which this PyAV was built without: choose another codec"
        ) from None
    return [format.name for format in found.video_formats or []]


def output_fields(like: Clip, codec: str, format_name: str, suffix: str) -> tuple[str, list[str]]:
    """The field order that is written, and a line where it is not the clip's."""
    if like.field_order == PROGRESSIVE:
        return PROGRESSIVE, []
    why = None
    if like.field_order == UNKNOWN:
        why = "the video does not say which field comes first, or PyAV before 18.1 does not"
    elif like.rotation in (90, 270):
        why = "its fields stand upright after the rotation"
    elif suffix == ".webm":
        why = "WebM holds no field order; .mkv and .mov do"
    elif codec == "h264" and like.height % (2 * layout_of(format_name).step_y):
        why = f"h264 needs a height that 4 divides, which {like.height} px is not"
    if why is None:
        return like.field_order, []
    return PROGRESSIVE, [f"interlacing is not kept, its frames stay woven: {why}"]


def field_options(codec: str, order: str) -> dict[str, str]:
    """FFmpeg options of an interlaced stream; VP9 and FFV1 have no tools for it, and their container says
    it.
    """
    if order == PROGRESSIVE:
        return {}
    return {"field_order": order} | ({"flags": "+ildct+ilme"} if codec in ("h264", "prores") else {})


def x264_options(like: Clip, codec: str, order: str) -> dict[str, str]:
    """What libx264 takes through x264's own options only."""
    if codec != "h264":
        return {}
    params = like.mastering.x264_params() if like.mastering is not None else []
    if order != PROGRESSIVE:
        params.append("tff=1" if order.startswith("t") else "bff=1")
    return {"x264-params": ":".join(params)} if params else {}


def lost_facts(like: Clip, codec: str, format_name: str, suffix: str) -> list[str]:
    """A line for transparency and mastering data that the output does not keep."""
    lost = []
    if layout_of(like.format_name).has_alpha and not layout_of(format_name).has_alpha:
        lost.append(
            f"transparency is not kept: {codec} as {format_name} has none; .mov (ProRes 4444), .webm and "
            "ffv1 in .mkv do"
        )
    mastering = like.mastering
    if mastering is not None and mastering.is_static and not holds_mastering(codec, suffix):
        lost.append(f"HDR10 mastering data is not kept: {codec} in {suffix} gets none; h264 does")
    if mastering is not None and mastering.dynamic:
        lost.append(f"{' and '.join(mastering.dynamic)} metadata is not kept: no codec here writes it")
    return lost


def holds_mastering(codec: str, suffix: str) -> bool:
    """True where HDR10 data can be written."""
    return codec in COPIED or suffix in MATROSKA


def is_variable(timeline: Timeline) -> bool:
    """True for frame durations that differ by more than a container's rounding.

    MP4 derives a track's length from coding times, which reordered frames of unequal duration put wrong.
    """
    durations = np.diff(timeline.pts)
    return len(durations) > 1 and float(np.ptp(durations) * timeline.time_base) > ROUNDING_S


def choose_format(like: Clip, codec: str, offered: list[str]) -> str:
    """The encoder's pixel format nearest to the clip's; RGB and gray become 4:2:0 in delivery codecs, which
    players expect.
    """
    source = layout_of(like.format_name)
    if codec == "ffv1":
        exact = {"gbrp": "bgr0", "gbrap": "bgra"}.get(like.format_name, like.format_name)
        return (
            exact
            if exact in offered
            else nearest_format(like.format_name, [n for n in offered if is_planar(n)])
        )
    usable = [name for name in offered if is_planar(name) and not layout_of(name).is_gray]
    # Transparency comes before depth and chroma: without it a picture shows what was never to be seen.
    if codec == "vp9":
        # libvpx refuses other formats that have it.
        usable = [name for name in usable if not layout_of(name).has_alpha or name == TRANSPARENT]
    transparent = [name for name in usable if layout_of(name).has_alpha and source.has_alpha]
    usable = transparent or [name for name in usable if codec != "vp9" or name != TRANSPARENT]
    if codec in EVEN_CHROMA_ONLY:
        usable = [
            name
            for name in usable
            if like.width % layout_of(name).step_x == 0 and like.height % layout_of(name).step_y == 0
        ]
    playable = PLAYABLE[8 if source.depth <= 8 else 10]
    if transparent:
        playable = TRANSPARENT
    if (source.is_rgb or source.is_gray) and codec != "prores" and playable in usable:
        return playable
    return nearest_format(like.format_name, usable)


def check_offered(format_name: str, codec: str, offered: list[str]) -> None:
    """Raises: MediaError for a pixel format that the encoder lacks."""
    if format_name not in offered:
        raise MediaError(
            f"a pixel format that {codec} has was required ({', '.join(offered)}), but {format_name} "
            "arrived: choose one of them, or leave the choice to the clip"
        )


def check_format(format_name: str, like: Clip, codec: str, offered: list[str]) -> None:
    """Raises: MediaError for a pixel format that the encoder lacks, or that does not fit an odd size."""
    check_offered(format_name, codec, offered)
    layout = layout_of(format_name)
    if codec in EVEN_CHROMA_ONLY and (like.width % layout.step_x or like.height % layout.step_y):
        raise MediaError(
            f"{format_name} needs an even size, but the clip has {like.width} x {like.height}: choose a "
            "4:4:4 format, or leave the choice to the clip"
        )


def output_colour(like: Clip, codec: str, format_name: str) -> Colour:
    """The source's tags, changed only where the samples change: RGB that becomes YUV, full range that ProRes
    cannot tag.
    """
    colour = like.colour
    source, target = layout_of(like.format_name), layout_of(format_name)
    if source.is_rgb and not target.is_rgb:
        colour = replace(colour, range=LIMITED)
    if (source.is_rgb or colour.matrix == RGB_MATRIX) and not target.is_rgb:
        # Gray pictures, too, may call themselves RGB, as PNGs do.
        colour = replace(colour, matrix=matrix_for_height(like.height))
    if (
        colour.matrix == UNSPECIFIED
        and not target.is_rgb
        and colour.assumed_matrix != matrix_for_height(like.height)
    ):
        # A turned phone video: a reader would assume another matrix for the upright height.
        colour = replace(colour, matrix=colour.assumed_matrix)
    if source.is_gray and not target.is_gray:
        colour = replace(colour, range=FULL if colour.is_full_range(like.format_name) else LIMITED)
    if codec == "prores" and colour.range == FULL:
        colour = replace(colour, range=LIMITED)
    return colour


def codec_options(codec: str, crf: int, preset: str, format_name: str, in_order: bool) -> dict[str, str]:
    """FFmpeg options of the encoder; in_order: frames are coded in the order they are shown."""
    if codec == "h264":
        return {"crf": str(crf), "preset": preset} | ({"bf": "0"} if in_order else {})
    if codec == "vp9":
        return {
            "crf": str(crf),
            "b": "0",
            "deadline": "good",
            "cpu-used": "3",
            "row-mt": "1",
            "tile-columns": "2",
        }
    if codec == "prores":
        return {"profile": "4" if layout_of(format_name).step_x == 1 else "3", "vendor": "apl0"}
    return {"level": "3", "slicecrc": "1", "g": "1"}


def ffv1_slices(height: int, width: int, layout: PixelLayout) -> dict[str, str]:
    """FFmpeg's option for as many FFV1 slices as hold every chroma sample; empty where its own number does.

    FFV1 cuts a frame into slices by luma pixels, and rounds each slice's chroma for itself: where the last
    one begins inside a chroma sample, the last chroma row or column can be left out. FFmpeg 7.1.0 writes such
    files of 4:2:0, and newer ones still of 4:1:1 and 4:1:0.
    """
    # FFmpeg tries these grids in turn, and takes the first of as many slices as are asked for.
    grids: dict[int, tuple[int, int]] = {}
    for down in range(2, 32):
        for across in range(down, 2 * down + 1):
            grids.setdefault(down * across, (down, across))
    for count, (down, across) in grids.items():
        if holds_chroma(height, down, layout.step_y) and holds_chroma(width, across, layout.step_x):
            return {} if count == FFV1_SLICES else {"slices": str(count)}
    return {}


def holds_chroma(length: int, slices: int, step: int) -> bool:
    """True where the last of `slices` along `length` px reaches the last chroma sample, `step` px each."""
    begin = length * (slices - 1) // slices
    return slices <= length and begin // step - (begin - length) // step >= -(-length // step)
