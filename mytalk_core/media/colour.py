"""Colour descriptions of video and the exact way between native samples and RGB.

Code points are those of ITU-T H.273, which FFmpeg and every container use; 2 means "unspecified".
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

UNSPECIFIED = 2
RGB_MATRIX = 0
LIMITED, FULL = 1, 2
BT709, BT601 = 1, 6

# Luma weights of red and blue (H.273, table 4) by matrix code point.
LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
# The same matrices as swscale numbers them.
SWSCALE_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}


@dataclass(frozen=True)
class Colour:
    """A video's colour tags, and the matrix that holds where they say nothing.

    matrix, primaries, transfer: H.273 code points, 2 = unspecified; range: 0 unspecified, 1 limited, 2 full.
    assumed_matrix: BT.709 for a coded height of 720 and more, else BT.601: what players assume.
    """

    matrix: int = UNSPECIFIED
    range: int = 0
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    assumed_matrix: int = BT601

    @classmethod
    def of_frame(
        cls, frame: av.VideoFrame, primaries: int = UNSPECIFIED, transfer: int = UNSPECIFIED
    ) -> Colour:
        """The tags of a decoded frame, before any rotation.

        primaries, transfer: the stream's; PyAV before 17 does not give a frame's.
        """
        return cls(
            matrix=int(frame.colorspace),
            range=FULL if frame.format.name.startswith("yuvj") else int(frame.color_range),
            primaries=int(getattr(frame, "color_primaries", primaries)),
            transfer=int(getattr(frame, "color_trc", transfer)),
            assumed_matrix=matrix_for_height(frame.height),
        )

    def tag(self, target: av.VideoFrame | av.VideoCodecContext) -> None:
        """Write these into a frame, or into an encoder that is not open yet."""
        target.colorspace, target.color_range = self.matrix, self.range
        # PyAV before 17 has no such attributes of a frame.
        if hasattr(target, "color_primaries"):
            target.color_primaries, target.color_trc = self.primaries, self.transfer

    @property
    def yuv_matrix(self) -> int:
        """The matrix used for conversion: the tagged one where it is a plain luma matrix, else the assumed
        one.
        """
        return self.matrix if self.matrix in LUMA_WEIGHTS else self.assumed_matrix

    def is_full_range(self, format_name: str) -> bool:
        """True where samples span all codes; untagged gray counts as full, as FFmpeg reads it."""
        if format_name.startswith(("gbr", "rgb", "bgr")):
            return True
        return self.range == FULL or (self.range == 0 and format_name.startswith("gray"))


def other_matrix(matrix: int) -> int:
    """What to call the matrix of RGB, which has none, beside a source's: PyAV before 17 skips the source's
    matrix and range where both are the same.
    """
    return 1 if matrix != 1 else 5


def matrix_for_height(height: int) -> int:
    """BT.709 for HD, BT.601 below: the convention for untagged video."""
    return BT709 if height >= 720 else BT601


def sample_scale(depth: int, full_range: bool) -> tuple[float, float, float]:
    """How 8-bit RGB levels map to native codes: (luma gain, luma offset, chroma gain), in codes of `depth`
    bits.
    """
    if full_range:
        gain = (2**depth - 1) / 255.0
        return gain, 0.0, gain
    unit = 2.0 ** (depth - 8)
    return 219.0 / 255.0 * unit, 16.0 * unit, 224.0 / 255.0 * unit


def rgb_to_native(rgb: np.ndarray, colour: Colour, format_name: str, depth: int) -> np.ndarray:
    """RGB levels to native sample values, unrounded: the inverse of `RgbConverter`.

    rgb: (H, W, 3) in 0..255. Returns float32 (H, W, C): C = 3 as (Y, Cb, Cr), or (G, B, R) for RGB formats, 1
    for gray.
    """
    rgb = np.asarray(rgb, np.float32)
    gain, offset, chroma_gain = sample_scale(depth, colour.is_full_range(format_name))
    if format_name.startswith("gbr"):
        return rgb[..., [1, 2, 0]] * np.float32(gain)
    kr, kb = LUMA_WEIGHTS[colour.yuv_matrix]
    kg = 1.0 - kr - kb
    rows = [
        np.array([kr, kg, kb]) * gain,
        np.array([-kr, -kg, 1 - kb]) / (2 * (1 - kb)) * chroma_gain,
        np.array([1 - kr, -kg, -kb]) / (2 * (1 - kr)) * chroma_gain,
    ]
    middle = float(2 ** (depth - 1))
    channels = 1 if format_name.startswith("gray") else 3
    offsets = np.array([offset, middle, middle])
    matrix = np.concatenate([np.asarray(rows), offsets[:, None]], axis=1)[:channels]
    return cv2.transform(rgb, matrix).reshape(*rgb.shape[:-1], channels)


# Top, left, bottom, right of a part of a frame, px.
Box = tuple[int, int, int, int]

# The decoder and the encoder keep the cores busy; PyAV before 17 converts on one thread anyway.
ONE_THREAD = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


class RgbConverter:
    """Planar frames to RGB with the clip's matrix and range, one swscale context for a whole reading.

    Chroma is repeated, not interpolated, so that `rgb_to_native` with a mean over each chroma sample's pixels
    is the exact inverse; rounding is accurate, because swscale's fast path darkens by more than a level. It
    makes planes, which takes it half the time of pixels; the values are the same.
    """

    # swscale's POINT, ACCURATE_RND and FULL_CHR_H_INT: older PyAV has no names for the last two.
    FLAGS = 0x10 | 0x40000 | 0x2000

    def __init__(self, colour: Colour):
        self.colour = colour
        self._reformatter = VideoReformatter()
        self._scratch: av.VideoFrame | None = None
        # The pictures of one reading share the converter, and may be converted on other threads.
        self._lock = threading.Lock()

    def __call__(
        self, frame: av.VideoFrame, box: Box | None = None, room: np.ndarray | None = None
    ) -> np.ndarray:
        """An upright planar frame -> uint8 RGB (H, W, 3).

        box: top, left, bottom, right of the only pixels that are asked for; all else is then left undefined;
        room: memory of that shape that may be used.
        """
        box = (0, 0, frame.height, frame.width) if box is None else box
        with self._lock:
            return self._convert(frame, box, room)

    def _convert(self, frame: av.VideoFrame, box: Box, room: np.ndarray | None) -> np.ndarray:
        name = frame.format.name
        if name.startswith(("gray", "gbr")):
            return self._without_matrix(frame)
        matrix = SWSCALE_MATRICES[self.colour.yuv_matrix]
        top, left, bottom, right = whole_chroma(box, frame.height, frame.width)
        height, width = bottom - top, right - left
        converted = self._reformatter.reformat(
            self._on_whole_chroma(frame, top, left, height, width),
            format="gbrp",
            src_colorspace=matrix,
            dst_colorspace=other_matrix(matrix),
            src_color_range=FULL if self.colour.is_full_range(name) else LIMITED,
            dst_color_range=FULL,
            interpolation=self.FLAGS,
            **ONE_THREAD,
        )
        bottom, right = min(bottom, frame.height), min(right, frame.width)
        green, blue, red = (rows_of(plane)[: bottom - top, : right - left] for plane in converted.planes)
        # Memory that is never touched costs nothing.
        rgb = np.empty((frame.height, frame.width, 3), np.uint8) if room is None else room
        cv2.merge([red, green, blue], rgb[top:bottom, left:right])
        return rgb

    def _without_matrix(self, frame: av.VideoFrame) -> np.ndarray:
        """Gray and RGB planes need scaling to 8 bits at most."""
        name = frame.format.name
        depth = frame.format.components[0].bits
        gain, offset, _ = sample_scale(depth, self.colour.is_full_range(name))
        dtype = np.dtype(np.uint8) if depth <= 8 else np.dtype("<u2")
        channels = []
        for index in (0, 0, 0) if name.startswith("gray") else (2, 0, 1):
            channel = rows_of(frame.planes[index], dtype)[: frame.height, : frame.width]
            if gain != 1.0 or offset:
                levels = (channel - np.float32(offset)) / np.float32(gain)
                channel = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
            channels.append(channel)
        return cv2.merge(channels)

    def _on_whole_chroma(
        self, frame: av.VideoFrame, top: int, left: int, height: int, width: int
    ) -> av.VideoFrame:
        """The same samples in a frame of whole chroma samples that says nothing of chroma siting; of the part
        from (top, left) on, all of them multiples of 4.

        swscale stretches the chroma of odd sizes, and moves it by a pixel for the siting that a decoder tags
        (PyAV cannot clear the tag); either way it would not be repeated evenly. The added edge is cut off
        afterwards.
        """
        name = frame.format.name
        kept = self._scratch
        if kept is None or (kept.width, kept.height, kept.format.name) != (width, height, name):
            kept = self._scratch = av.VideoFrame(width, height, name)
        sample_bytes = 1 if frame.format.components[0].bits <= 8 else 2
        for target, source in zip(kept.planes, frame.planes, strict=True):
            y, x = top // (height // target.height), left // (width // target.width) * sample_bytes
            rows = rows_of(source)[y : min(y + target.height, source.height)]
            size = min(target.width * sample_bytes, source.line_size - x)
            rows_of(target)[: len(rows), :size] = rows[:, x : x + size]
        return kept


def whole_chroma(box: Box, height: int, width: int) -> Box:
    """A box grown to whole chroma samples of every format, and to steps of 64 px: faces keep nearly one size,
    and swscale starts anew for each other one. height, width: the frame's."""
    top, left, bottom, right = box
    top, left = top - top % 4, left - left % 4
    bottom, right = top + (bottom - top + -(bottom - top) % 64), left + (right - left + -(right - left) % 64)
    return top, left, min(bottom, height + -height % 4), min(right, width + -width % 4)


def rows_of(plane: av.video.plane.VideoPlane, dtype: np.dtype | None = None) -> np.ndarray:
    """A view of a plane's memory, its lines (H_p, samples) with the padding behind them; uint8 by default."""
    dtype = np.dtype(np.uint8) if dtype is None else dtype
    memory: Any = plane  # a buffer, whatever NumPy's types say of it
    return np.frombuffer(memory, dtype).reshape(-1, plane.line_size // dtype.itemsize)
