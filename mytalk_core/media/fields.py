"""Interlaced pictures: two fields woven into a frame, and which of them is shown first."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import av.filter

PROGRESSIVE, UNKNOWN = "progressive", "unknown"
# FFmpeg's AVFieldOrder. The first letter is the field that is shown first: QuickTime and Matroska mean no
# more by the second one than how fields were stored.
ORDERS = {2: "tt", 3: "bb", 4: "tb", 5: "bt"}


def field_order(declared: int, first: av.VideoFrame) -> str:
    """FFmpeg's name of a field order: "progressive", "tt", "bb", "tb", "bt", or "unknown" for fields whose
    order nobody says.

    declared: the stream's AVFieldOrder; first: its first frame.
    """
    order = ORDERS.get(declared)
    return order or (UNKNOWN if first.interlaced_frame else PROGRESSIVE)


def upside_down(order: str, height: int) -> str:
    """The order of a frame of `height` px whose rows are turned round: top and bottom change places."""
    if height % 2 or order in (PROGRESSIVE, UNKNOWN):
        return order
    return order.translate(str.maketrans("tb", "bt"))


class FieldMarker:
    """Marks frames as interlaced; their samples stay where they are.

    order: see `field_order`, not "unknown"; frames keep their stamps and planes.
    """

    def __init__(self, order: str, width: int, height: int, format_name: str, time_base: Fraction):
        # PyAV reads a frame's field flags but does not set them; FFmpeg's filter does.
        graph: Any = av.filter.Graph()
        self._graph = graph
        source = graph.add_buffer(width=width, height=height, format=format_name, time_base=time_base)
        marker = graph.add("setfield", "tff" if order.startswith("t") else "bff")
        sink = graph.add("buffersink")
        source.link_to(marker)
        marker.link_to(sink)
        graph.configure()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The same picture, marked."""
        self._graph.push(frame)
        marked = self._graph.pull()
        assert isinstance(marked, av.VideoFrame)  # a graph of pictures
        return marked
