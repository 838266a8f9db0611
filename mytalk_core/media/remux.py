"""A copy of a video file, packet by packet, that says nothing of where it comes from."""

from __future__ import annotations

from pathlib import Path

import av

from ..errors import MediaError
from .container import open_media, reason, video_stream


def copy_untagged(source: Path, target: Path) -> None:
    """Write the picture and sound of `source` to `target`, nothing encoded again, without container tags.

    target: its extension names the container. Raises: FileNotFoundError; MediaError where the source cannot
    be read, has no video, or does not fit the container.
    """
    options = {"fflags": "+bitexact"}
    if target.suffix in (".mp4", ".m4v", ".mov"):
        # The index first: a browser starts before the whole file has come.
        options["movflags"] = "+faststart"
    with open_media(source, "a video") as reader:
        wanted = [video_stream(reader, source)]
        if reader.streams.audio:
            wanted.append(reader.streams.best("audio"))
        try:
            with av.open(str(target), "w", options=options) as writer:
                copies = {stream.index: writer.add_stream_from_template(stream) for stream in wanted}
                for copy in copies.values():
                    copy.metadata.clear()
                for packet in reader.demux(wanted):
                    # The empty packets at the end only flush decoders.
                    if packet.dts is None:
                        continue
                    packet.stream = copies[packet.stream.index]
                    writer.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(
                f"{source} could not be copied to a {target.suffix} file ({reason(error)}): export it again "
                "as H.264 in .mp4"
            ) from error
