"""A copy of a video file, packet by packet, that says nothing of where it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import av
from av.container import InputContainer

from ..errors import MediaError
from .container import audio_stream, local_url, open_media, reason, seconds_a_tick, video_stream


def copy_untagged(source: Path, target: Path, until_s: float | None = None) -> None:
    """Write the picture and sound of `source` to `target`, nothing encoded again, without container tags.

    target: its extension names the container; until_s: only what is shown before that time, and the few
    frames after it that those are decoded from. Raises: FileNotFoundError; MediaError where the source cannot
    be read, has no video, or does not fit the container.
    """
    options = {"fflags": "+bitexact"}
    if target.suffix in (".mp4", ".m4v", ".mov"):
        # The index first: a browser starts before the whole file has come.
        options["movflags"] = "+faststart"
    with open_media(source, "a video") as reader:
        wanted: list[av.stream.Stream] = [video_stream(reader, source)]
        if reader.streams.audio:
            wanted.append(audio_stream(reader, source))
        try:
            with av.open(local_url(target), "w", options=options) as writer:
                # Opaque: PyAV 14 would make an encoder for the picture otherwise, and write none of it.
                copies = {
                    stream.index: writer.add_stream_from_template(stream, opaque=True) for stream in wanted
                }
                for copy in copies.values():
                    copy.metadata.clear()
                for packet in wanted_packets(reader, wanted, until_s):
                    packet.stream = copies[packet.stream.index]
                    writer.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(
                f"{source} could not be copied to a {target.suffix} file ({reason(error)}): export it again "
                "as H.264 in .mp4"
            ) from error


def wanted_packets(
    container: InputContainer, streams: list[av.stream.Stream], until_s: float | None
) -> Iterator[av.Packet]:
    """Packets in the file's order, each stream's up to its last one that begins before `until_s`."""
    # The empty packets at the end only flush decoders. Matroska does not say when its first ones are decoded.
    packets = (packet for packet in container.demux(streams) if packet.size)
    if until_s is None:
        yield from packets
        return
    start_s = float((streams[0].start_time or 0) * seconds_a_tick(streams[0]))
    waiting: dict[int, list[av.Packet]] = {stream.index: [] for stream in streams}
    ended: set[int] = set()
    for packet in packets:
        # Read before it is handed on: a container that takes it counts it anew.
        index, dts, tick_s = packet.stream.index, packet.dts, float(seconds_a_tick(packet))
        waiting[index].append(packet)
        # One that is shown later is kept until one shown earlier follows it: that may be decoded from it.
        shown = dts if packet.pts is None else packet.pts
        if shown is None or shown * tick_s - start_s < until_s - 1e-6:
            yield from waiting.pop(index)
            waiting[index] = []
        # Nothing is shown before it is decoded.
        if dts is not None and dts * tick_s - start_s >= until_s:
            ended.add(index)
            if len(ended) == len(streams):
                return
