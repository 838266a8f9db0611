"""Reading chosen frames in any order: forward in one pass, backward in bounded chunks from keyframes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer

from ..errors import MediaError
from .container import decode_tolerantly, open_media, picture_decoder, video_stream
from .scan import FrameTable
from .threads import codec_threads

# Bytes of frames held while a backward stretch is decoded forward.
HELD_BYTES = 96 * 2**20
# Frames that are decoded rather than jumped over: a seek empties the decoder's pipeline.
SHORT_GAP = 24


class FrameCursor:
    """A position in a video file from which frames are fetched by number; forward costs least.

    Use as a context manager. Frames are as decoded: native format, not yet upright.
    """

    def __init__(self, path: Path, table: FrameTable):
        self._path, self._table = path, table
        self._container: InputContainer | None = None
        self._frames: Iterator[av.VideoFrame] = iter(())
        self._next = 0
        self._last: tuple[int, av.VideoFrame] | None = None
        self._failure = ""

    def __enter__(self) -> FrameCursor:
        self._rewind()
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._last = None
        self._frames = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def fetch(self, index: int) -> av.VideoFrame:
        """Frame `index`. Raises: MediaError when the file's packets do not decode to it."""
        if self._last is not None and self._last[0] == index:
            return self._last[1]
        keyframe = self._table.keyframe_before(index)
        if index < self._next or (keyframe is not None and keyframe > self._next + SHORT_GAP):
            found = self._fetch_by_seeking(index, keyframe)
        else:
            found = self._read_until(index)
            if found is None and self._table.decoder_pts is not None:
                found = self._fetch_by_seeking(index, keyframe)
        if found is None:
            raise MediaError(
                f"a complete video was required, but {self._path} stops decoding: {index} of "
                f"{len(self._table)} promised frames decoded"
                f"{f' ({self._failure})' if self._failure else ''}: it is damaged; export it again"
            )
        self._last = (index, found)
        self._next = index + 1
        return found

    def _fetch_by_seeking(self, index: int, keyframe: int | None) -> av.VideoFrame | None:
        """Start at the keyframe before, then at the one before that, then at the beginning."""
        for _ in range(2):
            if keyframe is None:
                break
            found = self._read_until(keyframe) if self._seek(keyframe) else None
            if found is not None:
                return found if keyframe == index else self._read_until(index)
            keyframe = self._table.keyframe_before(keyframe - 1)
        self._rewind()
        return self._read_until(index)

    def _read_until(self, index: int) -> av.VideoFrame | None:
        """Decode forward to frame `index`; None when the stream passes or ends without it."""
        for frame in self._frames:
            position = self._table.index_of(frame.pts, self._next)
            if position is None or position < self._next:
                continue
            if position > index:
                return None
            self._next = position + 1
            if position == index:
                self._last = (position, frame)
                return frame
        return None

    def _seek(self, keyframe: int) -> bool:
        container, stamps = self._container, self._table.decoder_pts
        if container is None or stamps is None:
            return False
        stream = video_stream(container, self._path)
        try:
            container.seek(int(stamps[keyframe]), stream=stream)
        except av.error.FFmpegError:
            return False
        self._frames = self._decode(container, stream)
        self._next = 0
        return True

    def _rewind(self) -> None:
        self.close()
        container = self._container = open_media(self._path, "a video")
        stream = video_stream(container, self._path)
        stream.thread_type = "AUTO"
        stream.thread_count = codec_threads()
        self._frames = self._decode(container, stream)
        self._next = 0

    def _decode(
        self, container: InputContainer, stream: av.video.stream.VideoStream
    ) -> Iterator[av.VideoFrame]:
        """Frames from here on; a packet that fails is passed over, and the number missing shows in
        `fetch`.
        """
        return decode_tolerantly(container.demux(stream), self._note_failure, picture_decoder(stream))

    def _note_failure(self, why: str, ended: bool) -> None:
        self._failure = why


def reading_order(indices: Sequence[int] | np.ndarray, held: int) -> Iterator[tuple[int, int, bool]]:
    """Cut a sequence of frame numbers into stretches (begin, end, forward).

    A forward stretch never falls, and is read as it comes; a backward one never rises, has at most `held`
    entries, and is decoded forward, held, and given out in reverse.
    """
    begin, count = 0, len(indices)
    while begin < count:
        end = begin + 1
        while end < count and indices[end] == indices[begin]:
            end += 1
        forward = end == count or indices[end] > indices[begin]
        while end < count and (
            indices[end] >= indices[end - 1] if forward else indices[end] <= indices[end - 1]
        ):
            if not forward and end - begin >= held:
                break
            end += 1
        yield begin, end, forward
        begin = end
