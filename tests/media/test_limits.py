"""Files that ask for more than anybody has: one line each, in bounded time and memory."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from made_media import Sound, chirp, write_video

from mytalk_core.errors import MediaError
from mytalk_core.limits import FRAMES, Limit
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip, exact_rate
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.motion.generate import MotionOptions
from mytalk_core.motion.motion import Motion

PEAK = """
import resource, sys
from mytalk_core.errors import MediaError
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    {opening}(sys.argv[1])
except MediaError as error:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, str(error).replace(chr(10), "LINES"))
"""


def png_of(path, size: int) -> None:
    """A black PNG of size x size, a few bytes a row."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, body = zlib.compressobj(9), b""
    for _ in range(size):
        body += packer.compress(bytes(1 + 3 * size))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
    picture = chunk(b"IDAT", body + packer.flush())
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + picture + chunk(b"IEND", b""))


def sound_with_gap(path, gap_s: float):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=16000)
        stream.layout = "mono"
        for start_s in (0.0, 0.5 + gap_s):
            frame = av.AudioFrame.from_ndarray(chirp(16000, 0.5), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, round(16000 * start_s)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def refusal(opening: str, path) -> str:
    """The line that a process of its own says, having needed under 100 MB more for it."""
    run = subprocess.run(
        [sys.executable, "-c", PEAK.format(opening=opening), str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    kilobytes, line = run.stdout.split(maxsplit=1)
    assert int(kilobytes) < 100_000 and "LINES" not in line
    return line


def test_a_picture_of_gigabytes(tmp_path):
    png_of(tmp_path / "bomb.png", 12000)
    assert "MYTALK_MAX_PIXELS" in refusal("FileClip.open", tmp_path / "bomb.png")


def test_hours_between_two_sounds_or_pictures(tmp_path):
    sound = sound_with_gap(tmp_path / "a.mka", 20_000)
    assert "jump by 20000 s" in refusal("Speech.open", sound)
    video = write_video(tmp_path / "a.mkv", pts=[0, 1, 2, 500_000, 500_001])
    assert "jump by 20000 s behind frame 2" in refusal("FileClip.open", video)


def test_limits_are_raised_and_lowered_by_their_variables(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", pts=[0, 1, 200], sound=Sound(seconds=3))
    assert len(FileClip.open(path)) == 3
    for variable, value in [
        ("MYTALK_MAX_GAP", "5"),
        ("MYTALK_MAX_SECONDS", "5"),
        ("MYTALK_MAX_FRAMES", "2"),
        ("MYTALK_MAX_PIXELS", "1000"),
    ]:
        with monkeypatch.context() as patch, pytest.raises(MediaError, match=f"set {variable} higher"):
            patch.setenv(variable, value)
            FileClip.open(path)
    monkeypatch.setenv("MYTALK_MAX_SECONDS", "2")
    with pytest.raises(MediaError, match=r"at most 2 s was required.* set MYTALK_MAX_SECONDS higher"):
        Speech.open(path)
    with pytest.raises(MediaError, match="MYTALK_MAX_SECONDS"):
        Speech.from_waveform(np.zeros(65536, np.float32), 1)
    monkeypatch.setenv("MYTALK_MAX_GAP", "30000")
    monkeypatch.setenv("MYTALK_MAX_SECONDS", "30000")
    gap = write_video(tmp_path / "a.mkv", pts=[0, 1, 2, 500_000, 500_001])
    assert FileClip.open(gap).duration_s == pytest.approx(20_000, abs=1)


@pytest.mark.parametrize("text", ["many", "0", "-1", "nan"])
def test_a_variable_that_is_no_number(monkeypatch, text):
    limit = Limit("MYTALK_MAX_FRAMES", 5, "frames")
    monkeypatch.setenv(limit.variable, text)
    with pytest.raises(ValueError, match=f"MYTALK_MAX_FRAMES must be a number of frames.*{text}"):
        _ = limit.value


@pytest.mark.parametrize("mode", ["loop", "bounce", "remap"])
def test_a_million_frames_a_second(mode):
    clip = ImageClip.from_frames(np.zeros((4, 2, 2, 3), np.uint8), 25)
    object.__setattr__(clip, "time_base", Fraction(1, 1_000_000))
    object.__setattr__(clip, "fps", Fraction(1_000_000))
    for seconds in (0.5, 10.0):
        with pytest.raises(ValueError, match=r"frames were required for .* MYTALK_MAX_FRAME_RATE"):
            plan_timeline(clip, seconds, mode)
    assert len(plan_timeline(clip, 10.0)) == 4


def test_lengths_that_are_none():
    clip = ImageClip.from_frames(np.zeros((4, 2, 2, 3), np.uint8), 25)
    for seconds in (float("nan"), float("inf"), 0.0):
        with pytest.raises(ValueError, match="longer than 0 s"):
            plan_timeline(clip, seconds, "loop")
    with pytest.raises(ValueError, match="MYTALK_MAX_FRAMES"):
        plan_timeline(clip, FRAMES.usual, "loop")


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e9])
def test_rates_that_are_none(rate):
    with pytest.raises(ValueError, match="a frame rate above 0 and at most 1000 was required"):
        exact_rate(rate)


@pytest.mark.parametrize("name", ["guidance", "temperature", "expression", "steps", "seed"])
@pytest.mark.parametrize("value", [1e9, float("nan"), float("inf"), -float("inf")])
def test_options_outside_their_range(name, value):
    value = 1e30 if (name, value) == ("seed", 1e9) else value
    with pytest.raises(ValueError, match=f"{name} must be .* from"):
        MotionOptions(**{name: value})
    with pytest.raises(ValueError, match="temperature must be a number from 0 to 1; got 2"):
        MotionOptions(temperature=2)
    with pytest.raises(ValueError, match="sampler must be one of"):
        MotionOptions(sampler="euler")


def test_a_motion_is_finite():
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="landmarks must be finite"):
            Motion(np.full((2, 3, 2), bad, np.float32), "mesh478", np.arange(3))


@pytest.mark.parametrize("name", ["a.mpg", "a.flv", "a.mp4"])
def test_streams_that_a_file_names_late_are_given_no_options_while_it_opens(tmp_path, monkeypatch, name):
    # PyAV before 17.1 has room for those alone that it knew of by then, and the whole process crashes.
    codec = {"a.mpg": "mpeg2video", "a.flv": "flv1", "a.mp4": "mpeg4"}[name]
    path = write_video(tmp_path / name, codec=codec)
    given, opened = [], av.open

    def noted(file, **options):
        given.append(options)
        return opened(file, **options)

    monkeypatch.setattr(av, "open", noted)
    assert len(FileClip.open(path)) > 1
    assert given and all(bool(options.get("options")) == (name == "a.mp4") for options in given)
    assert all(options["container_options"] == {"protocol_whitelist": "file"} for options in given)
