"""One number of threads holds for pictures, decoders and encoders."""

from __future__ import annotations

import cv2
import pytest
from made_media import write_video

from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.threads import available_cores, codec_threads
from mytalk_core.media.writer import VideoWriter


@pytest.mark.parametrize(("told", "expected"), [(None, 0), (1, 1)])
def test_codecs_take_no_more_threads_than_opencv(tmp_path, monkeypatch, told, expected):
    monkeypatch.setattr("mytalk_core.media.threads.available_cores", lambda: 2)
    before = cv2.getNumThreads()
    cv2.setNumThreads(told or 2)
    try:
        assert codec_threads() == expected
        write_video(tmp_path / "in.mp4")
        clip = FileClip.open(tmp_path / "in.mp4")
        with VideoWriter(tmp_path / "out.mp4", clip) as writer:
            assert writer._stream.codec_context.thread_count == expected
            for picture in clip.pictures():
                writer.write(picture)
    finally:
        cv2.setNumThreads(before)
    assert available_cores() >= 1
