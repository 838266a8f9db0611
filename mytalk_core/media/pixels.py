"""Pixel formats: planes as arrays, lossless normal forms, conversion and orientation.

Inside the core every frame is planar and little-endian: gray, YUV or GBR, each component in its own plane,
optional alpha last. Packed and semi-planar frames (nv12, p010, rgb24, yuyv422 ...) are unpacked without loss
when they are decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from .colour import FULL, LIMITED, ONE_THREAD, SWSCALE_MATRICES, Colour, other_matrix, rows_of
from .side_data import side_data

# Semi-planar formats: their planar twin, and the bits below the value in each 16-bit word.
SEMI_PLANAR = {
    "nv12": ("yuv420p", 0),
    "nv21": ("yuv420p", 0),
    "nv16": ("yuv422p", 0),
    "nv24": ("yuv444p", 0),
    "nv42": ("yuv444p", 0),
    "nv20le": ("yuv422p10le", 0),
    "p010le": ("yuv420p10le", 6),
    "p012le": ("yuv420p12le", 4),
    "p016le": ("yuv420p16le", 0),
    "p210le": ("yuv422p10le", 6),
    "p212le": ("yuv422p12le", 4),
    "p216le": ("yuv422p16le", 0),
    "p410le": ("yuv444p10le", 6),
    "p412le": ("yuv444p12le", 4),
    "p416le": ("yuv444p16le", 0),
}
UNPACKED = {
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "uyyvyy411": "yuv411p",
    "y210le": "yuv422p10le",
    "x2rgb10le": "gbrp10le",
    "x2bgr10le": "gbrp10le",
    "monow": "gray",
    "monob": "gray",
    "ya8": "gbrap",
    "ya16le": "gbrap16le",
    "pal8": "gbrap",
}
# By packed or semi-planar format, the planar one that holds the same samples.
PLANAR_TWINS = UNPACKED | {name: planar for name, (planar, _) in SEMI_PLANAR.items()}
# Swapping rows and columns turns horizontal chroma subsampling into vertical.
TRANSPOSED = {"422p": "440p", "440p": "422p"}


@dataclass(frozen=True)
class PixelLayout:
    """What a planar format's name stands for: depth in bits, planes, and luma pixels a chroma sample
    covers.
    """

    depth: int
    planes: int
    is_rgb: bool
    has_alpha: bool
    step_x: int
    step_y: int

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8) if self.depth <= 8 else np.dtype("<u2")

    @property
    def is_gray(self) -> bool:
        return self.planes - self.has_alpha == 1


@cache
def layout_of(format_name: str) -> PixelLayout:
    """The layout of any FFmpeg pixel format."""
    described = av.VideoFormat(format_name, 64, 64)
    components = described.components
    is_rgb = bool(described.is_rgb)
    alpha = any(component.is_alpha for component in components)
    chroma = None if is_rgb or len(components) < 3 else components[1]
    return PixelLayout(
        depth=max(component.bits for component in components),
        planes=len({component.plane for component in components}),
        is_rgb=is_rgb,
        has_alpha=alpha,
        step_x=64 // chroma.width if chroma else 1,
        step_y=64 // chroma.height if chroma else 1,
    )


def is_planar(format_name: str) -> bool:
    """True for a format in the core's normal form (one little-endian integer component a plane)."""
    if (
        format_name in UNPACKED
        or format_name.startswith("yuvj")
        or format_name.endswith(("be", "f16le", "f32le"))
    ):
        return False
    if not format_name.startswith(("yuv", "gbr", "gray")):
        return False
    layout = layout_of(format_name)
    return layout.planes == len(av.VideoFormat(format_name, 64, 64).components)


def planar_format(format_name: str) -> str:
    """The planar format that holds `format_name`'s samples without loss (deepest RGB where there is none)."""
    if is_planar(format_name):
        return format_name
    if format_name in PLANAR_TWINS:
        return PLANAR_TWINS[format_name]
    if format_name.startswith("yuvj"):
        return format_name.replace("yuvj", "yuv")
    if format_name.endswith("be"):
        return planar_format(format_name[:-2] + "le")
    if format_name.startswith("grayf"):
        return "gray16le"
    layout = layout_of(format_name)
    stem = "yuv444p"
    if av.VideoFormat(format_name, 64, 64).is_rgb:
        stem = "gbrap" if layout.has_alpha else "gbrp"
    return stem if layout.depth <= 8 else f"{stem}16le"


def planes_of(frame: av.VideoFrame) -> list[np.ndarray]:
    """Views (H_p, W_p) of a planar frame's planes, uint8 or uint16; writing to them writes to the frame."""
    dtype = layout_of(frame.format.name).dtype
    views = []
    for plane in frame.planes:
        rows = rows_of(plane, dtype)
        views.append(rows[: plane.height, : plane.width])
    return views


def new_frame(like: av.VideoFrame, width: int, height: int, format_name: str) -> av.VideoFrame:
    """An empty frame with the time stamp and colour tags of `like`."""
    frame = av.VideoFrame(width, height, format_name)
    frame.colorspace = like.colorspace
    frame.color_range = like.color_range
    return with_time_of(frame, like)


def with_time_of(frame: av.VideoFrame, like: av.VideoFrame) -> av.VideoFrame:
    """The same frame, stamped with `like`'s time."""
    frame.pts = like.pts
    if like.time_base is not None:
        frame.time_base = like.time_base
    return frame


def copy_frame(frame: av.VideoFrame) -> av.VideoFrame:
    """A copy with its own planes: decoded frames are shared with the decoder and must never be written to."""
    copied = new_frame(frame, frame.width, frame.height, frame.format.name)
    for target, source in zip(planes_of(copied), planes_of(frame), strict=True):
        np.copyto(target, source)
    return copied


def spread(side: int, count: int) -> np.ndarray:
    """Where `count` pixels lie that are spread evenly over a side of so many: int64 (count,)."""
    return (np.arange(count) * 2 + 1) * side // (2 * count)


def thinned(frame: av.VideoFrame, height: int, width: int) -> av.VideoFrame:
    """So many pixels of a planar frame, spread evenly, each with its own colour sample; without alpha."""
    layout = layout_of(frame.format.name)
    family = "gray" if layout.is_gray else "gbrp" if layout.is_rgb else "yuv444p"
    thin = new_frame(frame, width, height, family if layout.depth <= 8 else f"{family}{layout.depth}le")
    rows, columns = spread(frame.height, height), spread(frame.width, width)
    step_y, step_x = 1, 1
    for target, source in zip(planes_of(thin), planes_of(frame), strict=False):
        target[...] = source[rows // step_y][:, columns // step_x]
        step_y, step_x = layout.step_y, layout.step_x
    return thin


def unpack(frame: av.VideoFrame, reformatter: VideoReformatter, colour: Colour) -> av.VideoFrame:
    """Any decoded frame -> the planar normal form, sample values kept."""
    name = frame.format.name
    target = planar_format(name)
    if target == name:
        return frame
    if name.startswith("yuvj"):
        renamed = new_frame(frame, frame.width, frame.height, target)
        for view, plane in zip(planes_of(renamed), frame.planes, strict=True):
            rows = rows_of(plane)
            np.copyto(view, rows[: plane.height, : plane.width])
        renamed.color_range = FULL
        return renamed
    if name in SEMI_PLANAR:
        return split_chroma(frame)
    sample_range = FULL if colour.is_full_range(target) else LIMITED
    unpacked = reformatter.reformat(
        frame,
        format=target,
        src_color_range=sample_range,
        dst_color_range=sample_range,
        interpolation="POINT",
    )
    return with_time_of(unpacked, frame)


def split_chroma(frame: av.VideoFrame) -> av.VideoFrame:
    """A semi-planar frame (nv12, p010 ...) as a planar one; swscale now and then loses a few samples of
    p010.
    """
    name = frame.format.name
    target, shift = SEMI_PLANAR[name]
    planar = new_frame(frame, frame.width, frame.height, target)
    luma, *chroma = planes_of(planar)
    rows = [rows_of(plane, luma.dtype) for plane in frame.planes]
    np.copyto(luma, rows[0][: luma.shape[0], : luma.shape[1]] >> shift)
    if name in ("nv21", "nv42"):
        chroma.reverse()
    for index, plane in enumerate(chroma):
        np.copyto(plane, rows[1][: plane.shape[0], index : 2 * plane.shape[1] : 2] >> shift)
    return planar


def convert(
    frame: av.VideoFrame,
    format_name: str,
    reformatter: VideoReformatter,
    colour: Colour,
    *,
    to: Colour | None = None,
) -> av.VideoFrame:
    """Another pixel format through swscale; the matrix and range stay `colour`'s unless `to` names others.

    PyAV before 17 tells swscale of neither where both are the same on either side, and swscale then takes
    gray and RGB for full range and YUV for limited. So gray becomes YUV, and YUV gray, by their luma alone.
    """
    to = to or colour
    source_full, target_full = colour.is_full_range(frame.format.name), to.is_full_range(format_name)
    source, target = layout_of(frame.format.name), layout_of(format_name)
    if (source.is_rgb or (source.is_gray and source_full)) and target.is_rgb and is_planar(format_name):
        return with_colours_of(frame, format_name)
    if (
        source_full == target_full
        and source.is_gray != target.is_gray
        and not (source.is_rgb or target.is_rgb)
    ):
        frame = with_luma_of(frame, depth_twin(format_name, source.depth))
        if frame.format.name == format_name:
            return frame
    matrix = SWSCALE_MATRICES[to.yuv_matrix]
    if target.is_rgb and not source.is_rgb:
        # RGB has no matrix; any but the source's makes PyAV before 17 set the source's.
        matrix = other_matrix(SWSCALE_MATRICES[colour.yuv_matrix])
    converted = reformatter.reformat(
        frame,
        format=format_name,
        src_colorspace=SWSCALE_MATRICES[colour.yuv_matrix],
        dst_colorspace=matrix,
        src_color_range=FULL if source_full else LIMITED,
        dst_color_range=FULL if target_full else LIMITED,
        interpolation="BICUBIC",
        **ONE_THREAD,
    )
    return with_time_of(converted, frame)


def with_colours_of(frame: av.VideoFrame, format_name: str) -> av.VideoFrame:
    """Gray or RGB, full range, as planar RGB of any depth, with alpha or without; what has none is opaque.

    swscale makes 254 of 255 where it adds bits, and mixes up the planes where it leaves 16 bits of alpha out.
    """
    if frame.format.name == format_name:
        return frame
    made = new_frame(frame, frame.width, frame.height, format_name)
    source, target = layout_of(frame.format.name), layout_of(format_name)
    most, own = 2**target.depth - 1, planes_of(frame)
    given = own[:1] * 3 + own[1:] if source.is_gray else own
    views = planes_of(made)
    for view, plane in zip(views, given, strict=False):
        same = source.depth == target.depth
        view[...] = plane if same else np.rint(plane * (most / (2**source.depth - 1)))
    for alpha in views[len(given) :]:
        alpha[...] = most
    return made


def with_luma_of(frame: av.VideoFrame, format_name: str) -> av.VideoFrame:
    """Gray as YUV, or YUV as gray, of one depth: the same luma samples, no colour, opaque."""
    made = new_frame(frame, frame.width, frame.height, format_name)
    layout = layout_of(format_name)
    luma, *others = planes_of(made)
    np.copyto(luma, planes_of(frame)[0])
    for plane in others:
        plane[...] = 2 ** (layout.depth - 1)
    if layout.has_alpha:
        others[-1][...] = 2**layout.depth - 1
    return made


def depth_twin(format_name: str, depth: int) -> str:
    """The gray or YUV format like `format_name` with `depth` bits; 4:4:4 where FFmpeg has no such twin."""
    ending = "" if depth <= 8 else f"{depth}le"
    family = "gray" if format_name.startswith("gray") else format_name[: format_name.index("p") + 1]
    twin = f"{family}{ending}"
    return twin if format_exists(twin) else f"yuv444p{ending}"


@dataclass(frozen=True)
class Orientation:
    """How a coded frame becomes upright: swap rows and columns first, then mirror.

    Chroma samples move with the pixels they cover; a mirrored 4:2:0 frame of odd size keeps its chroma grid
    at the far edge, up to a pixel off.
    """

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False

    @classmethod
    def of_frame(cls, frame: av.VideoFrame) -> Orientation:
        """From the display matrix (nine 16.16 numbers) that containers attach; multiples of 90 degrees and
        mirrors.
        """
        data = side_data(frame).get("DISPLAYMATRIX")
        if data is None:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(np.int64)
        if max(abs(a), abs(d)) >= max(abs(b), abs(c)):
            return cls(False, bool(a < 0), bool(d < 0))
        return cls(True, bool(c < 0), bool(b < 0))

    @property
    def is_upright(self) -> bool:
        return not (self.transpose or self.mirror_x or self.mirror_y)

    @property
    def degrees(self) -> int:
        """Clockwise rotation of the coded frame: 0, 90, 180 or 270 (a mirrored frame counts its rotation
        only).
        """
        if self.transpose:
            return 90 if self.mirror_x else 270
        return 180 if self.mirror_y else 0

    def apply(self, plane: np.ndarray) -> np.ndarray:
        """One plane, upright (a view)."""
        plane = plane.T if self.transpose else plane
        return plane[:: -1 if self.mirror_y else 1, :: -1 if self.mirror_x else 1]


def oriented_format(format_name: str, orientation: Orientation) -> str:
    """The planar format of an upright frame: 4:2:2 on its side is 4:4:0; what has no such twin becomes
    4:4:4.
    """
    layout = layout_of(format_name)
    if not orientation.transpose or layout.step_x == layout.step_y:
        return format_name
    for chroma, turned in TRANSPOSED.items():
        if chroma in format_name and format_exists(format_name.replace(chroma, turned)):
            return format_name.replace(chroma, turned)
    depth = "" if layout.depth <= 8 else f"{layout.depth}le"
    return f"yuv{'a' if layout.has_alpha else ''}444p{depth}"


def format_exists(format_name: str) -> bool:
    """True when this FFmpeg knows the pixel format."""
    try:
        av.VideoFormat(format_name, 64, 64)
    except ValueError:
        return False
    return True


def make_upright(
    frame: av.VideoFrame, orientation: Orientation, reformatter: VideoReformatter, colour: Colour
) -> av.VideoFrame:
    """A planar frame turned as its display matrix says; the very same frame when it already is upright."""
    if orientation.is_upright:
        return frame
    name = oriented_format(frame.format.name, orientation)
    turnable = layout_of(name).step_x == layout_of(name).step_y and name != frame.format.name
    if turnable:
        frame = convert(frame, name, reformatter, colour)
    height, width = (frame.width, frame.height) if orientation.transpose else (frame.height, frame.width)
    upright = new_frame(frame, width, height, name)
    for target, source in zip(planes_of(upright), planes_of(frame), strict=True):
        np.copyto(target, orientation.apply(source))
    return upright
