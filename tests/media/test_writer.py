"""`VideoWriter`: the source's times, samples, colours and sound come back from the file it wrote."""

from __future__ import annotations

import signal
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest
from made_media import chirp, moving_image, offset_s, write_video

from mytalk_core.errors import MediaError
from mytalk_core.media.audio import Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.patch import Patch, coverage, paste
from mytalk_core.media.pixels import copy_frame, planes_of
from mytalk_core.media.timeline import SYNC_MODES, plan_timeline
from mytalk_core.media.writer import VideoWriter

TARGETS = [
    ("out.mp4", "h264"),
    ("out.mov", "h264"),
    ("out.mkv", "h264"),
    ("out.mov", "prores"),
    ("out.webm", "vp9"),
    ("out.mkv", "vp9"),
    ("out.mkv", "ffv1"),
]
RATES = [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 60]


def copy(clip: Clip, path, **options) -> Clip:
    """Every picture of a clip written unchanged, read back."""
    with VideoWriter(path, clip, **options) as writer:
        for picture in clip.pictures():
            writer.write(picture)
    return FileClip.open(path)


def small_clip(count: int = 30, fps=25, size=(48, 64)) -> Clip:
    return ImageClip.from_frames(np.stack([moving_image(index, *size) for index in range(count)]), fps)


def container_seconds(path) -> float:
    with av.open(str(path)) as container:
        return container.duration / 1e6


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize(("name", "codec"), TARGETS)
def test_constant_rates_come_back(tmp_path, name, codec, fps):
    source = FileClip.open(
        write_video(tmp_path / "in.mp4", fps=fps, time_base=1 / Fraction(fps), pts=list(range(20)))
    )
    back = copy(source, tmp_path / name, codec=codec)
    # Matroska and WebM count whole milliseconds.
    tolerance = 1e-4 if name.endswith(("mp4", "mov")) else 5.1e-4
    assert len(back) == len(source)
    np.testing.assert_allclose(back.times_s, source.times_s, atol=tolerance)
    assert back.duration_s == pytest.approx(source.duration_s, abs=tolerance * 3)
    assert container_seconds(tmp_path / name) == pytest.approx(source.duration_s, abs=1.1e-3)


@pytest.mark.parametrize(("name", "codec"), TARGETS)
def test_variable_rate_and_its_last_frame_come_back(tmp_path, name, codec):
    stamps = (700 + np.cumsum(np.random.default_rng(3).integers(5, 90, 40))).tolist()
    source = FileClip.open(write_video(tmp_path / "in.mp4", pts=stamps, time_base=Fraction(1, 1000)))
    back = copy(source, tmp_path / name, codec=codec)
    np.testing.assert_allclose(back.times_s, source.times_s, atol=1e-4)
    assert back.duration_s == pytest.approx(source.duration_s, abs=1e-4)
    assert container_seconds(tmp_path / name) == pytest.approx(source.duration_s, abs=1.1e-3)


PLANE_FORMATS = [
    "yuv420p",
    "yuv422p10le",
    "yuv444p",
    "yuv440p",
    "yuv411p",
    "yuv420p10le",
    "gray",
    "bgr0",
    "yuv444p16le",
]


@pytest.mark.parametrize("pix_fmt", PLANE_FORMATS)
def test_ffv1_keeps_every_sample_outside_the_mask(tmp_path, pix_fmt):
    path = write_video(tmp_path / "in.mkv", codec="ffv1", pix_fmt=pix_fmt, size=(71, 93), pts=[0, 1, 2])
    source = FileClip.open(path)
    alpha = np.zeros((40, 40), np.float32)
    alpha[4:36, 4:36] = 0.7
    patches = [Patch(15, 22, np.full((40, 40, 3), 90, np.uint8), alpha)]
    with (
        VideoWriter(tmp_path / "out.mkv", source, codec="ffv1") as writer,
        VideoWriter.for_masks(tmp_path / "mask.mkv", source) as masks,
    ):
        pasted = [paste(picture, patches) for picture in source.pictures()]
        for picture in pasted:
            writer.write(picture)
            masks.write_mask(coverage(patches, 71, 93))
    back = FileClip.open(tmp_path / "out.mkv")
    assert back.format_name == source.format_name
    for written, read in zip(pasted, back.pictures(), strict=True):
        for given, got in zip(planes_of(written.frame), planes_of(read.frame), strict=True):
            assert np.array_equal(given, got)
    for before, after, mask in zip(
        source.frames(), back.frames(), FileClip.open(tmp_path / "mask.mkv").frames(), strict=True
    ):
        assert set(np.unique(mask)) == {0, 179}
        assert np.array_equal(before[mask[..., 0] == 0], after[mask[..., 0] == 0])
        assert not np.array_equal(before, after)


@pytest.mark.parametrize(
    ("pix_fmt", "size"),
    [("yuv420p", (71, 93)), ("yuv422p", (71, 95)), ("yuv411p", (68, 93)), ("yuv410p", (71, 94))],
)
def test_ffv1_slices_hold_the_last_chroma_sample(tmp_path, pix_fmt, size):
    clip = FileClip.open(write_video(tmp_path / "in.mkv", codec="ffv1", pix_fmt=pix_fmt, size=size, pts=[0]))
    picture = next(clip.pictures())
    noisy = copy_frame(picture.frame)
    random = np.random.default_rng(0)
    for plane in planes_of(noisy):
        plane[...] = random.integers(0, 256, plane.shape)
    with VideoWriter(tmp_path / "out.mkv", clip, codec="ffv1") as writer:
        writer.write(replace(picture, frame=noisy))
    back = next(FileClip.open(tmp_path / "out.mkv").pictures())
    for given, got in zip(planes_of(noisy), planes_of(back.frame), strict=True):
        assert np.array_equal(given, got)


def test_gray_stays_gray_in_rgb(tmp_path):
    clip = FileClip.open(write_video(tmp_path / "in.mkv", codec="ffv1", pix_fmt="gray", pts=[0]))
    picture = next(clip.pictures())
    with VideoWriter(tmp_path / "out.webm", clip, crf=4, pixel_format="gbrp") as writer:
        writer.write(picture)
    back = next(FileClip.open(tmp_path / "out.webm").pictures())
    assert back.format_name == "gbrp"
    assert np.abs(back.rgb.astype(int) - picture.rgb).mean() < 2.5


@pytest.mark.parametrize(("name", "codec"), TARGETS)
@pytest.mark.parametrize("colour", [(1, 1, 1, 1), (5, 1, 5, 6), (9, 1, 9, 16)])
def test_colour_description_comes_back(tmp_path, name, codec, colour):
    path = write_video(tmp_path / "in.mp4", pix_fmt="yuv420p10le", colour=colour, pts=[0, 1])
    source = FileClip.open(path)
    assert (
        source.colour.matrix,
        source.colour.range,
        source.colour.primaries,
        source.colour.transfer,
    ) == colour
    back = copy(source, tmp_path / name, codec=codec)
    # Code points 5 and 6 name the same matrix; MOV knows one of them.
    assert back.colour.matrix in ({5, 6} if colour[0] == 5 else {colour[0]})
    assert replace(back.colour, matrix=0) == replace(source.colour, matrix=0)
    difference = np.concatenate(list(back.frames())).astype(int) - np.concatenate(list(source.frames()))
    assert np.abs(difference).mean() < 4


def test_full_range_comes_back_and_prores_is_made_limited(tmp_path):
    path = write_video(tmp_path / "in.mp4", colour=(1, 2, 1, 1), pix_fmt="yuvj420p", pts=[0, 1])
    source = FileClip.open(path)
    assert source.colour.range == 2 and source.format_name == "yuv420p"
    for name, codec, expected in (("a.mp4", "h264", 2), ("a.mkv", "ffv1", 2), ("a.mov", "prores", 1)):
        back = copy(source, tmp_path / name, codec=codec, crf=1)
        assert back.colour.range == expected
        difference = np.concatenate(list(back.frames())).astype(int) - np.concatenate(list(source.frames()))
        assert np.abs(difference).mean() < 1.5


@pytest.mark.parametrize(
    ("pix_fmt", "size", "codec", "expected"),
    [
        ("yuv420p10le", (48, 64), "h264", "yuv420p10le"),
        ("yuv422p", (48, 64), "h264", "yuv422p"),
        ("yuv420p", (47, 63), "h264", "yuv444p"),
        ("yuv420p", (47, 63), "vp9", "yuv420p"),
        ("yuv420p", (47, 63), "prores", "yuv444p12le"),
        ("yuv420p", (48, 64), "prores", "yuv422p10le"),
        ("gray", (48, 64), "h264", "yuv420p"),
        ("gray10le", (48, 64), "h264", "yuv420p10le"),
        ("gray10le", (48, 64), "vp9", "yuv420p"),
        ("gray", (47, 63), "prores", "yuv444p12le"),
        ("gbrp10le", (48, 64), "h264", "yuv420p10le"),
        ("bgr0", (48, 64), "h264", "yuv420p"),
        ("yuv444p12le", (48, 64), "h264", "yuv444p10le"),
    ],
)
def test_nearest_format_and_odd_sizes(tmp_path, pix_fmt, size, codec, expected):
    source = FileClip.open(
        write_video(tmp_path / "in.mkv", codec="ffv1", pix_fmt=pix_fmt, size=size, pts=[0, 1, 2])
    )
    suffix = {"h264": "mp4", "vp9": "webm", "prores": "mov"}[codec]
    back = copy(source, tmp_path / f"out.{suffix}", codec=codec, crf=4)
    assert (back.format_name, back.height, back.width) == (expected, *size)
    difference = np.concatenate(list(back.frames())).astype(int) - np.concatenate(list(source.frames()))
    assert np.abs(difference).mean() < 2.5


def test_turned_video_is_written_upright(tmp_path):
    source = FileClip.open(write_video(tmp_path / "in.mp4", size=(480, 854), rotation=90, pts=[0, 1]))
    back = copy(source, tmp_path / "out.mp4", crf=4)
    assert (back.height, back.width, back.rotation) == (854, 480, 0)
    # 854 lines would be read as BT.709, but the samples are those of a 480-line video.
    assert source.colour.yuv_matrix == back.colour.yuv_matrix == 6
    assert np.abs(next(back.frames()).astype(int) - next(source.frames())).mean() < 2


SOUNDS = [(22050, 1), (16000, 1), (44100, 2), (48000, 6)]


@pytest.mark.parametrize(("rate", "channels"), SOUNDS)
@pytest.mark.parametrize(("name", "codec"), TARGETS)
def test_speech_starts_with_the_first_frame(tmp_path, name, codec, rate, channels):
    clip = small_clip()
    speech = Speech.from_waveform(chirp(rate, 1.5, channels), rate)
    back = copy(clip, tmp_path / name, codec=codec, speech=speech).speech()
    assert back.channels == channels
    assert back.sample_rate == (48000 if name.endswith("webm") else rate)
    expected = chirp(back.sample_rate, 1.5)[0]
    for channel in (0, channels - 1) if channels != 6 else (0, 2):
        assert abs(offset_s(back.waveform[channel], expected, back.sample_rate)) < 1e-3
    if codec in ("ffv1", "prores"):
        length = min(back.samples, round(1.2 * rate))
        assert np.abs(back.waveform[:, :length] - speech.waveform[:, :length]).max() < 1e-6
        assert back.duration_s == pytest.approx(clip.duration_s, abs=1e-3)


@pytest.mark.parametrize(
    ("channels", "layout"),
    [(6, "5.1(side)"), (8, "7.1"), (8, "5.1.2"), (4, "quad"), (3, "3 channels"), (2, "downmix")],
)
@pytest.mark.parametrize(
    ("name", "codec"), [("out.mp4", "h264"), ("out.mov", "prores"), ("out.webm", "vp9"), ("out.mkv", "ffv1")]
)
def test_every_layout_keeps_its_channels(tmp_path, name, codec, layout, channels):
    clip = small_clip(20)
    wave = np.stack([chirp(44100, 0.8, at_s=0.1 + 0.05 * channel)[0] for channel in range(channels)])
    speech = Speech.from_waveform(wave, 44100, layout)
    heard = copy(clip, tmp_path / name, codec=codec, speech=speech).speech()
    assert heard.channels == channels
    for channel in range(channels):
        expected = chirp(heard.sample_rate, 0.8, at_s=0.1 + 0.05 * channel)[0]
        assert abs(offset_s(heard.waveform[channel], expected, heard.sample_rate)) < 2e-3


def test_sound_that_no_codec_holds_is_converted(tmp_path):
    for rate, channels, expected in (
        (12345, 1, (16000, 1)),
        (192000, 2, (96000, 2)),
        (44100, 12, (44100, 1)),
    ):
        speech = Speech.from_waveform(chirp(rate, 1.0, channels), rate)
        heard = copy(small_clip(), tmp_path / "out.mp4", speech=speech).speech()
        assert (heard.sample_rate, heard.channels) == expected
        assert abs(offset_s(heard.waveform[0], chirp(expected[0], 1.2)[0], expected[0])) < 1e-3


@pytest.mark.parametrize("mode", SYNC_MODES)
@pytest.mark.parametrize("seconds", [0.9, 2.6])
def test_sound_offset_in_every_mode(tmp_path, mode, seconds):
    source = FileClip.open(
        write_video(tmp_path / "in.mp4", fps=Fraction(30000, 1001), time_base=Fraction(1001, 30000))
    )
    speech = Speech.from_waveform(chirp(22050, seconds, at_s=0.4), 22050)
    timeline = plan_timeline(source, speech.duration_s, mode)
    with VideoWriter(tmp_path / "out.mp4", source, speech=speech, timeline=timeline) as writer:
        for picture in source.pictures(timeline.source_index):
            writer.write(picture)
    back = FileClip.open(tmp_path / "out.mp4")
    np.testing.assert_allclose(back.times_s, timeline.times_s, atol=1e-4)
    assert back.duration_s == pytest.approx(timeline.duration_s, abs=1e-3)
    heard = back.speech()
    assert abs(offset_s(heard.waveform[0], speech.waveform[0], 22050)) < 1e-3
    tail = heard.waveform[0, round(min(speech.duration_s, timeline.duration_s) * 22050) :]
    assert len(tail) == 0 or np.abs(tail).max() < 0.02


def test_sound_of_a_video_keeps_its_place(tmp_path, examples):
    """A clip's own speech, and a true recording, through the writer and back."""
    speech = Speech.open(examples / "speech_en.wav")
    clip = FileClip.open(examples / "ai_woman.mp4")
    with VideoWriter(tmp_path / "out.mp4", clip, speech=speech, crf=40, preset="ultrafast") as writer:
        for picture in clip.pictures():
            writer.write(picture)
    heard = FileClip.open(tmp_path / "out.mp4").speech()
    assert heard.sample_rate == speech.sample_rate
    assert abs(offset_s(heard.waveform[0], speech.waveform[0], speech.sample_rate)) < 1e-3


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv", "out.webm"])
def test_metadata_comes_back(tmp_path, name):
    copy(small_clip(2), tmp_path / name, metadata={"comment": "AI-edited", "my_key": "some value"})
    with av.open(str(tmp_path / name)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items()}
    assert tags["comment"] == "AI-edited" and tags["my_key"] == "some value"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("written", [0, 1, 12])
def test_an_error_leaves_nothing_behind(tmp_path, error, written):
    clip = small_clip()
    speech = Speech.from_waveform(chirp(16000, 1.0), 16000)
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    with pytest.raises(error), VideoWriter(tmp_path / "out.mp4", clip, speech=speech) as writer:
        for picture in clip.pictures(range(written)):
            writer.write(picture)
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).integers(0, 256, (20, 240, 320, 3), dtype=np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        for name in ("out.mp4", "out.mkv"):
            with pytest.raises(MediaError, match="could not be written.*free disk space"):
                copy(ImageClip.from_frames(noise, 25), tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_missing_and_extra_pictures_are_errors(tmp_path):
    clip = small_clip(3)
    pictures = list(clip.pictures())
    turned = next(small_clip(1, size=(64, 48)).pictures())
    for given, message in (
        (pictures[:2], "3 pictures were required, but 2 were written"),
        ([*pictures, pictures[0]], "one more arrived"),
        ([turned], "48 x 64 px"),
    ):
        with pytest.raises(ValueError, match=message), VideoWriter(tmp_path / "out.mp4", clip) as writer:
            for picture in given:
                writer.write(picture)
    assert list(tmp_path.iterdir()) == []


def test_outputs_that_cannot_be(tmp_path):
    clip = small_clip(2)
    for name, codec, message in (
        ("out.avi", None, r"ending in \.mp4"),
        ("out.mp4", "prores", r"prores goes into \.mov"),
        ("out.webm", "h264", r"h264 goes into \.mp4"),
        ("out.mp4", "ffv1", r"ffv1 goes into \.mkv"),
        ("out.mp4", "mpeg9", "a codec of h264"),
        ("none/out.mp4", None, "does not exist: create it"),
    ):
        with pytest.raises(MediaError, match=message):
            VideoWriter(tmp_path / name, clip, codec=codec)
    with pytest.raises(MediaError, match=r"lossless, so it needs a \.mkv"):
        VideoWriter.for_masks(tmp_path / "mask.mp4", clip)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(MediaError, match="is a folder"):
        VideoWriter(tmp_path / "folder.mp4", clip)
    (tmp_path / "file").write_text("")
    with pytest.raises(MediaError, match="create it"):
        VideoWriter(tmp_path / "file" / "out.mp4", clip)
    with pytest.raises(ValueError, match=r"crf of 0\.\.51"):
        VideoWriter(tmp_path / "out.mp4", clip, crf=60)


def test_the_source_is_never_the_output(tmp_path):
    path = write_video(tmp_path / "in.mp4", pts=[0, 1])
    (tmp_path / "link.mp4").symlink_to(path)
    clip = FileClip.open(path)
    for output in (path, tmp_path / "link.mp4"):
        with pytest.raises(MediaError, match="other than the source"):
            VideoWriter(output, clip)


def test_an_unwritable_folder(tmp_path, monkeypatch):
    # Root may write anywhere, so the answer of the system is replaced.
    monkeypatch.setattr("mytalk_core.files.os.access", lambda *_: False)
    with pytest.raises(MediaError, match="may not be written"):
        VideoWriter(tmp_path / "out.mp4", small_clip(1))
