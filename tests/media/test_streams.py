"""What a file holds beside its pictures and its sound comes back from the written one, or is named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from made_media import chirp, moving_image

from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.pipeline.write import write

FIRST_FRAME = 10  # of 25 a second: everything else is 0.4 s earlier in the output
TEXT = "1\n00:00:00,600 --> 00:00:01,000\nHello <i>there</i>\n\n2\n00:00:01,100 --> 00:00:09,000\nAgain\n"
CHAPTERS = [(0, 900, "One"), (900, 5000, "Two")]


def rich_video(path: Path, sound: str = "aac") -> Path:
    """25 frames that begin at 0.4 s, two sound tracks, subtitles, chapters, tags."""
    (path.parent / "text.srt").write_text(TEXT)
    with av.open(str(path.parent / "text.srt")) as text, av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"bf": "0"})
        video.codec_context.width, video.codec_context.height = 64, 48
        video.codec_context.time_base = Fraction(1, 25)
        tracks = [container.add_stream(sound, rate=48_000) for _ in range(2)]
        for track in tracks:
            track.codec_context.layout = "mono"
        tracks[0].metadata["language"] = "eng"
        tracks[1].metadata.update({"language": "ita", "title": "Commentary"})
        subtitles = container.add_stream_from_template(text.streams.subtitles[0])
        subtitles.metadata["language"] = "spa"
        subtitles.disposition = (Disposition.default | Disposition.forced).value
        container.metadata.update({"title": "A title", "creation_time": "2026-01-02T03:04:05Z"})
        container.metadata["comment"] = "shot by hand"
        if not hasattr(container, "set_chapters"):
            pytest.skip("PyAV before 16 cannot write chapters")
        container.set_chapters(
            [
                {"id": n, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": title}}
                for n, (a, b, title) in enumerate(CHAPTERS)
            ]
        )
        for index in range(25):
            frame = av.VideoFrame.from_ndarray(moving_image(index, 48, 64), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index + FIRST_FRAME, Fraction(1, 25)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        for track in tracks:
            block = av.AudioFrame.from_ndarray(chirp(48_000, 1.5), format="fltp", layout="mono")
            block.sample_rate, block.pts = 48_000, 0
            if sound != "aac":
                block = av.AudioResampler("s16", "mono", 48_000).resample(block)[0]
                block.pts = 0
            container.mux(track.encode(block))
            container.mux(track.encode(None))
        for packet in text.demux():
            if packet.dts is not None:
                packet.stream = subtitles
                container.mux(packet)
    return path


def shown(path: Path) -> list[tuple[float, float, str]]:
    """Begin, end, text of the subtitles of a file."""
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        found = []
        for packet in container.demux(stream):
            text = bytes(packet)
            if stream.codec_context.name == "mov_text":  # its length, the text, its style
                text = text[2 : 2 + int.from_bytes(text[:2], "big")]
            if packet.pts is not None and text:
                begin, end = packet.pts * packet.time_base, (packet.pts + packet.duration) * packet.time_base
                found.append((float(begin), float(end), text.decode()))
        return found


@pytest.mark.parametrize(
    ("name", "subtitles"),
    [("out.mkv", "subrip"), ("out.mp4", "mov_text"), ("out.mov", "mov_text"), ("out.webm", "webvtt")],
)
def test_the_rest_of_a_container_is_copied_in_time(tmp_path, name, subtitles):
    source, out, lost = rich_video(tmp_path / "in.mkv"), tmp_path / name, []
    clip = FileClip.open(source)
    speech = Speech.from_waveform(chirp(16_000, 1.0), 16_000)
    write(clip, out, sound=speech, metadata={"comment": "ours"}, warn=lost.append)

    assert len(FileClip.open(out)) == len(clip)
    lines = shown(out)
    assert [round(begin, 3) for begin, _, _ in lines] == [0.2, 0.7]
    assert [round(end, 3) for _, end, _ in lines] == [0.6, 1.0]
    assert [("Hello" in lines[0][2]), ("Again" in lines[1][2])] == [True, True]
    with av.open(str(out)) as container:
        assert container.streams.subtitles[0].codec_context.codec.canonical_name == subtitles
        assert container.streams.subtitles[0].language == "spa"
        assert Disposition.default in container.streams.subtitles[0].disposition
        chapters = [
            (round(float(c["start"] * c["time_base"]), 3), round(float(c["end"] * c["time_base"]), 3))
            for c in container.chapters()
        ]
        assert chapters == [(0.0, 0.5), (0.5, 1.0)]
        assert [c["metadata"]["title"] for c in container.chapters()] == ["One", "Two"]
        tags = {key.lower(): value for key, value in container.metadata.items()}
        assert tags["title"] == "A title" and tags["creation_time"].startswith("2026-01-02T03:04:05")
        assert tags["comment"] == "ours | shot by hand"
        sounds = container.streams.audio
        if name == "out.webm":
            assert len(sounds) == 1 and lost == ["further sound tracks are not kept: .webm holds no aac"]
            return
        assert lost == [] and len(sounds) == 2
        assert sounds[1].language == "ita" and "default" not in str(sounds[1].disposition)
    before, after = further_sound(source, 0.4), further_sound(out, 0.0)
    assert [data for _, data in after] == [data for _, data in before][: len(after)] and len(after) > 40
    assert [time for time, _ in after] == pytest.approx([time for time, _ in before][: len(after)], abs=1e-3)


def further_sound(path: Path, first_s: float) -> list[tuple[float, bytes]]:
    """Time after `first_s`, and bytes, of the second sound stream's packets from shortly after that on."""
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(container.streams.audio[1]) if packet.pts is not None]
        times = [float(packet.pts * packet.time_base) - first_s for packet in packets]
        return [(time, bytes(p)) for time, p in zip(times, packets, strict=True) if time > 0.06]


def test_a_changed_time_line_is_named(tmp_path):
    clip = FileClip.open(rich_video(tmp_path / "in.mkv"))
    lost: list[str] = []
    timeline = plan_timeline(clip, 2.5, "loop")
    speech = Speech.from_waveform(chirp(16_000, 2.5), 16_000)
    write(clip, tmp_path / "out.mkv", sound=speech, timeline=timeline, warn=lost.append)
    assert lost == [
        "not kept, since the output's time line is not the video's: further sound tracks, subtitles, chapters"
    ]
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert container.metadata["title"] == "A title"

    cut = plan_timeline(clip, 0.4, "cut_off")
    write(clip, tmp_path / "cut.mkv", timeline=cut, warn=lost.append)
    assert len(lost) == 1
    assert [round(end, 3) for _, end, _ in shown(tmp_path / "cut.mkv")] == [0.4]


@pytest.mark.parametrize("name", ["out.mov", "out.mp4", "out.mkv", "out.m4v", "out.webm"])
def test_time_code_comes_back_or_is_named(tmp_path, name):
    source = tmp_path / "in.mov"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height = 64, 48
        stream.metadata["timecode"] = "01:02:03:04"
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(moving_image(index, 48, 64), format="rgb24")
            container.mux(stream.encode(frame.reformat(format="yuv420p")))
        container.mux(stream.encode(None))
    lost: list[str] = []
    write(FileClip.open(source), tmp_path / name, warn=lost.append)
    with av.open(str(tmp_path / name)) as container:
        tags = {key.lower(): value for key, value in container.streams.video[0].metadata.items()}
    if name in ("out.m4v", "out.webm"):
        assert "timecode" not in tags and lost == [f"time code is not kept: {name[3:]} holds none"]
        return
    assert tags["timecode"] == "01:02:03:04" and lost == []


def test_sound_that_was_kept_keeps_its_language(tmp_path):
    source = rich_video(tmp_path / "in.mkv")
    write(FileClip.open(source), tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert [stream.language for stream in container.streams.audio] == ["eng", "ita"]


@pytest.mark.parametrize("name", ["out.mp4", "out.m4v", "out.mov", "out.mkv"])
def test_titles_of_tracks_come_back_through_any_container(tmp_path, name):
    write(FileClip.open(rich_video(tmp_path / "in.mkv")), tmp_path / name)
    write(FileClip.open(tmp_path / name), tmp_path / "back.mkv")
    with av.open(str(tmp_path / "back.mkv")) as container:
        titles = [stream.metadata.get("title") for stream in container.streams]
    assert titles == [None, None, "Commentary", None]


def test_bytes_of_tags_that_are_no_text_are_left_out(tmp_path):
    source = rich_video(tmp_path / "in.mkv")
    data = source.read_bytes()
    for text, latin in ((b"A title", b"\xc0 title"), (b"Commentary", b"Comment\xe9ry"), (b"One", b"On\xe9")):
        assert text in data
        data = data.replace(text, latin)
    source.write_bytes(data)
    write(FileClip.open(source), tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert container.metadata["title"] == " title"
        assert container.streams.audio[1].metadata["title"] == "Commentry"
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["On", "Two"]


def two_sounds(path: Path, codec: str) -> Path:
    """A fifth of a second of video with two silent sound tracks."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = 64
        sounds = [container.add_stream(codec, rate=16_000, layout="mono") for _ in range(2)]
        for _ in range(5):
            container.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
        container.mux(video.encode(None))
        for sound in sounds:
            block = av.AudioFrame.from_ndarray(np.zeros((1, 3200), np.int16), format="s16", layout="mono")
            block.sample_rate, block.pts = 16_000, 0
            container.mux(sound.encode(block))
            container.mux(sound.encode(None))
    return path


def test_a_second_sound_is_kept_whatever_pyav_there_is(tmp_path):
    """PyAV before 16 takes a disposition as a number only."""
    speech = Speech.from_waveform(chirp(16_000, 1.0), 16_000)
    write(FileClip.open(two_sounds(tmp_path / "in.mkv", "flac")), tmp_path / "out.mkv", sound=speech)
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert len(container.streams.audio) == 2


@pytest.mark.parametrize(
    ("source", "codec", "name"), [("in.mkv", "flac", "out.m4v"), ("in.mov", "pcm_mulaw", "out.mkv")]
)
def test_a_second_sound_that_the_container_refuses_is_named(tmp_path, source, codec, name):
    lost: list[str] = []
    write(FileClip.open(two_sounds(tmp_path / source, codec)), tmp_path / name, warn=lost.append)
    assert lost == [f"further sound tracks are not kept: {name[3:]} holds no {codec}"]
    with av.open(str(tmp_path / name)) as container:
        assert len(container.streams.audio) == 1
