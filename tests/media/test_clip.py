"""`Clip`: every frame of every kind of file, upright, at its own time."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest
from made_media import decoded_frames, moving_image, write_video

from mytalk_core.media import decode, file_clip
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip, exact_rate
from mytalk_core.media.scan import strictly_increasing

RATES = [Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 60]


@pytest.mark.parametrize("fps", RATES)
def test_times_of_constant_rates(tmp_path, fps):
    path = write_video(tmp_path / "a.mp4", fps=fps, time_base=1 / Fraction(fps))
    clip = FileClip.open(path)
    assert len(clip) == 40 and clip.fps == fps
    np.testing.assert_allclose(clip.times_s, np.arange(40) / float(fps), atol=1e-9)
    assert clip.duration_s == pytest.approx(40 / float(fps), abs=1e-9)


def test_variable_rate_keeps_every_stamp(tmp_path):
    stamps = np.cumsum(np.random.default_rng(0).integers(1, 90, 40)).tolist()
    clip = FileClip.open(write_video(tmp_path / "a.mp4", pts=stamps, time_base=Fraction(1, 1000)))
    np.testing.assert_allclose(clip.times_s, (np.array(stamps) - stamps[0]) / 1000, atol=1e-9)


CONTAINERS = [
    ("b.avi", "mpeg4", {"bf": "2"}),
    ("shuffled.avi", "libx264", {}),
    ("nostamps.h264", "libx264", {}),
    ("a.mpg", "mpeg2video", {"bf": "2"}),
    ("a.ts", "libx264", {"x264-params": "open-gop=1:keyint=10"}),
    ("hidden.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
    ("a.flv", "libx264", {}),
]


@pytest.mark.parametrize(("name", "codec", "options"), CONTAINERS)
def test_frame_count_is_what_decoding_yields(tmp_path, name, codec, options):
    path = write_video(tmp_path / name, codec=codec, options=options)
    clip = FileClip.open(path)
    assert len(clip) == len(decoded_frames(path)) == 40
    assert [picture.index for picture in clip.pictures()] == list(range(40))
    np.testing.assert_allclose(clip.times_s, np.arange(40) / 25, atol=2e-3)


def test_edit_list_hides_leading_frames(tmp_path):
    path = write_video(tmp_path / "a.mp4", pts=list(range(-10, 30)))
    clip = FileClip.open(path)
    assert len(clip) == len(decoded_frames(path)) == 30
    first = next(clip.pictures([0])).rgb.astype(int)
    assert np.abs(first - moving_image(10, 48, 64)).mean() < 6


def test_missing_and_doubled_stamps_rise_strictly():
    base = Fraction(1, 25)
    pts, time_base = strictly_increasing([0, 1, 1, 2, None, None, 5, 3, 6], 1, base)
    assert (np.diff(pts) > 0).all() and float(pts[-1] * time_base) == pytest.approx(6 / 25)
    pts, time_base = strictly_increasing([None] * 4, 3, base)
    assert pts.tolist() == [0, 3, 6, 9] and time_base == base
    pts, _ = strictly_increasing([1, 3, 2, 5, 4], 1, base)
    assert pts.tolist() == [1, 2, 3, 4, 5]
    # A clock that starts over goes on at the usual step.
    pts, _ = strictly_increasing([100 + i for i in range(30)] + list(range(30)), 1, base)
    assert pts.tolist() == list(range(100, 160))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "shuffled.avi", "a.ts", "a.mpg", "nostamps.h264"])
def test_any_order_gives_the_same_pictures(tmp_path, monkeypatch, name):
    codec = "mpeg2video" if name.endswith("mpg") else "libx264"
    options = {"g": "8"} if codec == "mpeg2video" else {"x264-params": "keyint=8:open-gop=1"}
    clip = FileClip.open(write_video(tmp_path / name, codec=codec, options=options))
    straight = [picture.rgb for picture in clip.pictures()]
    monkeypatch.setattr(file_clip, "HELD_BYTES", 5 * file_clip.frame_bytes(clip))
    scattered = np.random.default_rng(1).integers(0, 40, 25).tolist()
    bounce = [*range(40), *range(38, -1, -1), 0, 0, 1, 1]
    for wanted in (bounce, scattered):
        for index, picture in zip(wanted, clip.pictures(wanted), strict=True):
            assert picture.index == index and np.array_equal(picture.rgb, straight[index])


def test_backward_reading_holds_few_frames():
    stretches = list(decode.reading_order(np.arange(1000, -1, -1), 7))
    assert max(end - begin for begin, end, _ in stretches) == 7
    assert not any(forward for *_, forward in stretches[:-1])
    assert list(decode.reading_order([0, 0, 1, 2, 2, 1, 0], 7)) == [(0, 5, True), (5, 7, False)]


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_undone(tmp_path, degrees):
    turned = FileClip.open(write_video(tmp_path / "turned.mp4", codec="mpeg4", rotation=degrees))
    plain = FileClip.open(write_video(tmp_path / "plain.mp4", codec="mpeg4"))
    assert turned.rotation == degrees
    assert (turned.height, turned.width) == ((64, 48) if degrees != 180 else (48, 64))
    for upright, coded in zip(turned.pictures(), plain.pictures(), strict=True):
        assert np.array_equal(upright.rgb, np.rot90(coded.rgb, -degrees // 90))


def test_rotated_422_turns_its_chroma(tmp_path):
    clip = FileClip.open(
        write_video(tmp_path / "a.mov", codec="prores_ks", pix_fmt="yuv422p10le", rotation=90, size=(48, 66))
    )
    assert clip.format_name == "yuv440p10le" and (clip.height, clip.width) == (66, 48)
    expected = np.rot90(moving_image(0, 48, 66), -1).astype(int)
    assert np.abs(next(clip.pictures()).rgb - expected).mean() < 3


FORMATS = [
    ("yuv420p", "ffv1", 3),
    ("yuv422p10le", "ffv1", 3),
    ("yuv444p12le", "ffv1", 2),
    ("gray", "ffv1", 200),
    ("bgr0", "ffv1", 0),
    ("nv12", "rawvideo", 3),
    ("uyvy422", "rawvideo", 3),
]


@pytest.mark.parametrize(("pix_fmt", "codec", "tolerance"), FORMATS)
def test_odd_sizes_and_pixel_formats(tmp_path, pix_fmt, codec, tolerance):
    size = (48, 66) if codec == "rawvideo" else (37, 53)
    clip = FileClip.open(
        write_video(tmp_path / "a.mkv", codec=codec, pix_fmt=pix_fmt, size=size, pts=[0, 1, 2])
    )
    assert (clip.height, clip.width) == size
    for index, picture in enumerate(clip.pictures()):
        assert picture.rgb.shape == (*size, 3) and picture.rgb.dtype == np.uint8
        assert np.abs(picture.rgb.astype(int) - moving_image(index, *size)).mean() <= tolerance


def test_frames_batches_and_reads_again(tmp_path):
    clip = FileClip.open(write_video(tmp_path / "a.mp4"))
    for _ in range(2):
        batches = list(clip.frames(3, 40, batch_size=16))
        assert [len(batch) for batch in batches] == [16, 16, 5]
        assert np.array_equal(batches[0][0], next(clip.pictures([3])).rgb)
    with pytest.raises(IndexError, match=r"0\.\.39 were required, but 2\.\.40 arrived"):
        clip.pictures([2, 40])


def test_from_frames_takes_uint8_and_comfy_images():
    frames = np.random.default_rng(0).integers(0, 256, (5, 9, 7, 3), dtype=np.uint8)
    for images in (frames, (frames / 255.0).astype(np.float32)):
        clip = ImageClip.from_frames(images, 29.97)
        assert clip.fps == Fraction(30000, 1001) and len(clip) == 5 and (clip.height, clip.width) == (9, 7)
        assert np.array_equal(np.concatenate(list(clip.frames(batch_size=2))), frames)
    with pytest.raises(ValueError, match=r"\(T, H, W, 3\)"):
        ImageClip.from_frames(frames[0], 25)
    for other in (np.uint16, np.int64, bool):
        with pytest.raises(ValueError, match=f"uint8, or of floats 0..1, was required, but {other.__name__}"):
            ImageClip.from_frames(frames.astype(other), 25)


def test_exact_rates():
    assert exact_rate(23.976) == Fraction(24000, 1001) and exact_rate(59.94) == Fraction(60000, 1001)
    assert exact_rate(25.0) == 25 and exact_rate(12.5) == Fraction(25, 2) and exact_rate(24) == 24
    with pytest.raises(ValueError, match="above 0"):
        exact_rate(0)


def test_one_image_is_a_clip_of_one_frame(tmp_path):
    av.VideoFrame.from_ndarray(moving_image(0, 20, 30), format="rgb24").to_image().save(tmp_path / "a.png")
    clip = FileClip.open(tmp_path / "a.png")
    assert len(clip) == 1 and np.array_equal(next(clip.pictures()).rgb, moving_image(0, 20, 30))


def test_example_videos(examples):
    for name in ("ai_woman.mp4", "cartoon_boy.mp4"):
        clip = FileClip.open(examples / name)
        assert (len(clip), clip.height, clip.width, clip.fps) == (200, 512, 512, 25)
        assert sum(len(batch) for batch in clip.frames(batch_size=64)) == 200
