"""Every kind of bad input gives one line: what was required, what arrived, what to do."""

from __future__ import annotations

import av
import numpy as np
import pytest
from made_media import Sound, write_video

from mytalk_core.errors import MediaError
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip


def fails(error, opening, path, *parts) -> None:
    with pytest.raises(error) as caught:
        opening(path)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), *parts):
        assert part in message


@pytest.mark.parametrize("opening", [FileClip.open, Speech.open])
def test_what_is_no_media_file(tmp_path, opening):
    fails(FileNotFoundError, opening, tmp_path / "none.mp4", "does not exist", "check the path")
    fails(MediaError, opening, tmp_path, "is a folder", "name a file")
    (tmp_path / "empty.mp4").write_bytes(b"")
    fails(MediaError, opening, tmp_path / "empty.mp4", "empty (0 bytes)")
    (tmp_path / "text.mp4").write_text("Dear diary,\n" * 50)
    fails(MediaError, opening, tmp_path / "text.mp4", "not readable", "export it again")


def test_video_and_sound_missing(tmp_path, examples):
    fails(MediaError, FileClip.open, examples / "speech_en.wav", "no video stream", "holds: audio")
    fails(MediaError, Speech.open, examples / "ai_woman.mp4", "no audio stream", "holds: video")
    with pytest.raises(MediaError, match="no audio stream"):
        FileClip.open(examples / "ai_woman.mp4").speech()


def test_cut_off_files(tmp_path):
    whole = write_video(tmp_path / "plain.mp4", pts=list(range(120))).read_bytes()
    (tmp_path / "noindex.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    fails(MediaError, FileClip.open, tmp_path / "noindex.mp4", "not readable", "cut off")
    for name, options in (("fast.mp4", {"movflags": "faststart"}), ("a.mkv", {})):
        path = write_video(tmp_path / name, pts=list(range(120)), container_options=options)
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
        fails(MediaError, FileClip.open, path, "breaks off", "promised frames", "copy or export it again")


def test_packets_that_stop_decoding(tmp_path):
    options = {"movflags": "faststart"}
    path = write_video(tmp_path / "a.mp4", pts=list(range(120)), size=(240, 320), container_options=options)
    whole = bytearray(path.read_bytes())
    tail = len(whole) * 7 // 10
    path.write_bytes(whole[:tail] + bytes(len(whole) - tail))
    fails(MediaError, FileClip.open, path, "of 120 promised", "can be decoded")


def test_damage_in_the_middle_never_loses_frames_silently(tmp_path):
    path = write_video(
        tmp_path / "a.mp4",
        pts=list(range(120)),
        size=(240, 320),
        options={"g": "12"},
        container_options={"movflags": "faststart"},
    )
    whole = bytearray(path.read_bytes())
    begin, end = len(whole) * 4 // 10, len(whole) * 5 // 10
    path.write_bytes(whole[:begin] + bytes(end - begin) + whole[end:])
    with pytest.raises(MediaError, match=r"\d+ of 120 promised frames decoded"):
        list(FileClip.open(path).pictures())


@pytest.mark.skipif(not hasattr(av.stream.Stream, "index_entries"), reason="PyAV before 17 shows no index")
def test_sound_that_breaks_off(tmp_path):
    sound = Sound(seconds=4.8)
    options = {"movflags": "faststart"}
    path = write_video(tmp_path / "a.mp4", pts=list(range(120)), sound=sound, container_options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    fails(MediaError, Speech.open, path, "breaks off", "promised")


def test_speech_of_no_length(tmp_path):
    header = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x80>\0\0\0}\0\0\2\0\x10\0data\0\0\0\0"
    (tmp_path / "empty.wav").write_bytes(header)
    fails(MediaError, Speech.open, tmp_path / "empty.wav", "zero length")
    with pytest.raises(MediaError, match="zero length"):
        Speech.from_waveform(np.zeros((1, 0), np.float32), 16000)
    with pytest.raises(ValueError, match="NaN"):
        Speech.from_waveform(np.array([0.0, np.nan], np.float32), 16000)
    with pytest.raises(ValueError, match="float waveform"):
        Speech.from_waveform(np.zeros((1, 8), np.int16), 16000)
