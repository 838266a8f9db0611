"""Choosing a planar format: what a picture needs, what holds two, what an encoder comes nearest with."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from .colour import Colour
from .pixels import (
    Orientation,
    format_exists,
    layout_of,
    oriented_format,
    planar_format,
    planes_of,
    unpack,
)

# By luma pixels a chroma sample covers, across and down.
SUBSAMPLINGS = {(2, 2): "420", (2, 1): "422", (1, 2): "440", (4, 1): "411", (4, 4): "410"}


def needed_format(frame: av.VideoFrame, *, is_still: bool) -> str:
    """The planar format that holds a decoded frame, upright.

    Alpha that hides nothing, as FFmpeg gives a CMYK photo, is left out of a still; in a video a later frame
    may need it, but for palettes, which have room for it in any case.
    """
    name = planar_format(frame.format.name)
    if layout_of(name).has_alpha and (is_still or frame.format.name == "pal8") and is_opaque(frame):
        name = name.replace("yuva", "yuv").replace("gbra", "gbr")
    return oriented_format(name, Orientation.of_frame(frame))


def is_opaque(frame: av.VideoFrame) -> bool:
    """Whether no pixel of a frame with alpha lets anything through."""
    unpacked = unpack(frame, VideoReformatter(), Colour.of_frame(frame))
    return bool(planes_of(unpacked)[-1].min() == 2 ** layout_of(unpacked.format.name).depth - 1)


def common_format(one: str, other: str) -> str:
    """The smallest planar format that holds the pictures of two: RGB where one of them is RGB."""
    layouts = [layout_of(one), layout_of(other)]
    has_alpha = any(layout.has_alpha for layout in layouts)
    depth = max(layout.depth for layout in layouts)
    coloured = [layout for layout in layouts if not layout.is_gray]
    if any(layout.is_rgb for layout in layouts):
        family = finest = "gbrap" if has_alpha else "gbrp"
    elif coloured:
        steps = min(layout.step_x for layout in coloured), min(layout.step_y for layout in coloured)
        stem = "yuva" if has_alpha else "yuv"
        family, finest = f"{stem}{SUBSAMPLINGS.get(steps, '444')}p", f"{stem}444p"
    else:
        family = finest = "gray"
    ending = "" if depth <= 8 else f"{depth}le"
    wanted = (f"{family}{ending}", f"{finest}{ending}", f"{finest}16le")
    return next(name for name in wanted if format_exists(name))


def nearest_format(source: str, candidates: list[str]) -> str:
    """The candidate that loses least of `source`: first depth and chroma that would be lost, then needless
    growth.
    """
    have = layout_of(source)

    def loss(name: str) -> tuple[float, ...]:
        offered = layout_of(name)
        growth_x, growth_y = np.log2([offered.step_x / have.step_x, offered.step_y / have.step_y])
        chroma_lost = 0.0 if have.is_gray else max(0.0, growth_x) + max(0.0, growth_y)
        chroma_added = max(0.0, -growth_x) + max(0.0, -growth_y)
        return (
            float(offered.is_gray and not have.is_gray),
            float(max(0, have.depth - offered.depth)),
            float(have.is_rgb != offered.is_rgb and not have.is_gray),
            float(chroma_lost),
            float(have.has_alpha and not offered.has_alpha),
            float(max(0, offered.depth - have.depth)),
            float(offered.is_gray != have.is_gray),
            float(chroma_added),
            float(offered.has_alpha and not have.has_alpha),
        )

    return min(candidates, key=loss)
