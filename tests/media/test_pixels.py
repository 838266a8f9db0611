"""Pixel formats: unpacking loses nothing, and an encoder gets the nearest format it knows."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.reformatter import VideoReformatter
from made_media import moving_image, write_video

from mytalk_core.media.colour import FULL, LIMITED, Colour, RgbConverter
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.formats import common_format, nearest_format
from mytalk_core.media.picture import Picture
from mytalk_core.media.pixels import (
    convert,
    is_planar,
    layout_of,
    planar_format,
    planes_of,
    unpack,
)


def packed_frame(pix_fmt: str, high: int, shift: int = 0) -> tuple[av.VideoFrame, list[np.ndarray]]:
    frame = av.VideoFrame(34, 22, pix_fmt)
    rng = np.random.default_rng(0)
    rows = []
    for plane in frame.planes:
        dtype = np.uint16 if high > 256 else np.uint8
        view = np.frombuffer(plane, dtype).reshape(plane.height, -1)
        view[...] = rng.integers(0, high, view.shape) << shift
        rows.append(view)
    return frame, rows


def unpacked(frame: av.VideoFrame) -> list[np.ndarray]:
    return planes_of(unpack(frame, VideoReformatter(), Colour()))


@pytest.mark.parametrize(
    "name", ["yuv420p", "yuv411p", "yuva422p", "yuv440p10le", "yuva444p12le", "gbrap10le", "gray12le"]
)
def test_pixels_spread_over_a_picture_become_rgb_as_the_whole_does(name):
    frame = av.VideoFrame(34, 22, name)
    rng = np.random.default_rng(0)
    for plane in planes_of(frame):
        plane[...] = rng.integers(0, 2 ** layout_of(name).depth, plane.shape)
    for size in ((5, 7), (22, 34), (40, 50)):
        picture = Picture(0, frame, Colour(), RgbConverter(Colour()))
        few = picture.sampled(*size)
        rows, columns = ((np.arange(n) + 0.5) * side // n for n, side in zip(size, (22, 34), strict=True))
        expected = picture.rgb[rows.astype(int)][:, columns.astype(int)]
        assert np.array_equal(few, expected) and np.array_equal(picture.sampled(*size), expected)


def test_a_part_is_converted_once_and_again_where_more_is_wanted():
    frame, _ = packed_frame("nv12", 256)
    frame, asked = unpack(frame, VideoReformatter(), Colour()), []

    def convert(frame, box=None, room=None):
        asked.append(box)
        return RgbConverter(Colour())(frame, box, room)

    room = np.zeros((frame.height, frame.width, 3), np.uint8)
    picture = Picture(0, frame, Colour(), convert, room=room)
    whole = RgbConverter(Colour())(frame)
    for top, left, bottom, right in ((4, 4, 12, 20), (5, 6, 12, 20), (3, 4, 12, 20), (4, 4, 12, 20)):
        part = picture.rgb_in((top, left, bottom, right))
        assert np.array_equal(part[top:bottom, left:right], whole[top:bottom, left:right])
    assert asked == [(4, 4, 12, 20), (3, 4, 12, 20)]
    for box in ((4, 4, 8, 9), (2, 1, 9, 19), (12, 4, 14, 20)):
        assert picture.rgb_in(box, (2, 1, 14, 21)) is room
    assert asked[2:] == [(2, 1, 14, 21)] and np.array_equal(room[2:14, 1:21], whole[2:14, 1:21])
    assert part is room and np.array_equal(picture.rgb, whole) and picture.rgb_in((0, 0, 1, 1)) is picture.rgb


def test_nv12_and_p010_are_taken_apart():
    for pix_fmt, high, shift in (("nv12", 256, 0), ("nv21", 256, 0), ("p010le", 1024, 6)):
        frame, (luma, chroma) = packed_frame(pix_fmt, high, shift)
        y, u, v = unpacked(frame)
        u, v = (v, u) if pix_fmt == "nv21" else (u, v)
        assert np.array_equal(y, luma[:, :34] >> shift)
        assert np.array_equal(u, chroma[:, 0:34:2] >> shift)
        assert np.array_equal(v, chroma[:, 1:34:2] >> shift)


def test_packed_yuv_and_rgb_are_taken_apart():
    frame, (rows,) = packed_frame("uyvy422", 256)
    y, u, v = unpacked(frame)
    assert np.array_equal(y, rows[:, 1:68:2])
    assert np.array_equal(u, rows[:, 0:68:4]) and np.array_equal(v, rows[:, 2:68:4])
    frame, (rows,) = packed_frame("rgb24", 256)
    green, blue, red = unpacked(frame)
    assert np.array_equal(red, rows[:, 0:102:3]) and np.array_equal(green, rows[:, 1:102:3])
    assert np.array_equal(blue, rows[:, 2:102:3])


@pytest.mark.parametrize(("name", "most"), [("ya8", 255), ("ya16le", 65535)])
def test_gray_keeps_its_transparency(name, most):
    frame, (rows,) = packed_frame(name, most + 1)
    *colours, alpha = unpacked(frame)
    assert all(np.array_equal(colour, rows[:, 0:68:2]) for colour in colours) and len(colours) == 3
    assert np.array_equal(alpha, rows[:, 1:68:2])


@pytest.mark.parametrize("source", ["gray", "gray12le", "gray16le", "gbrp", "gbrap10le", "gbrap16le"])
@pytest.mark.parametrize("target", ["gbrp", "gbrap", "gbrp10le", "gbrp16le", "gbrap16le"])
def test_white_stays_white_and_alpha_where_it_was(source, target):
    frame = av.VideoFrame(34, 22, source)
    for index, plane in enumerate(planes_of(frame)):
        plane[...] = (2 ** layout_of(source).depth - 1) // (1 + 2 * index)
    planes = planes_of(convert(frame, target, VideoReformatter(), Colour(range=FULL)))
    most = 2 ** layout_of(target).depth - 1
    shares = [1, 1, 1, 1] if source.startswith("gray") else [1, 1 / 3, 1 / 5, 1 / 7 if "a" in source else 1]
    for plane, share in zip(planes, shares, strict=False):
        assert np.abs(plane / most - share).max() < 2 / 255


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("yuv420p", "yuv444p", "yuv444p"),
        ("yuv411p", "yuv420p", "yuv422p"),
        ("gray16le", "yuv420p", "yuv420p16le"),
        ("yuva420p", "yuv422p10le", "yuva422p10le"),
        ("yuva420p", "yuv440p", "yuva444p"),
        ("gray", "gbrap", "gbrap"),
        ("gbrap", "gbrp9le", "gbrap16le"),
        ("yuv420p10le", "gbrp", "gbrp10le"),
    ],
)
def test_common_format(one, other, expected):
    assert common_format(one, other) == common_format(other, one) == expected


def test_full_range_jpeg_formats_keep_codes_and_range():
    frame, rows = packed_frame("yuvj420p", 256)
    plain = unpack(frame, VideoReformatter(), Colour())
    assert plain.format.name == "yuv420p" and int(plain.color_range) == 2
    for view, given, width in zip(planes_of(plain), rows, (34, 17, 17), strict=True):
        assert np.array_equal(view, given[:, :width])


def test_normal_forms():
    assert planar_format("yuv420p10le") == "yuv420p10le" and planar_format("yuv420p10be") == "yuv420p10le"
    assert planar_format("p010be") == "yuv420p10le" and planar_format("rgb48be") == "gbrp16le"
    assert planar_format("bgra") == "gbrap" and planar_format("pal8") == "gbrap"
    assert is_planar("gbrp12le") and not is_planar("nv12") and not is_planar("yuvj444p")
    assert layout_of("yuv410p").step_x == layout_of("yuv410p").step_y == 4


@pytest.mark.parametrize(
    ("source", "offered", "expected"),
    [
        ("yuv420p10le", ["yuv420p", "yuv422p10le", "yuv444p10le"], "yuv422p10le"),
        ("yuv420p10le", ["yuv420p", "yuv444p"], "yuv420p"),
        ("yuv422p", ["yuv420p", "yuv444p", "yuv420p10le"], "yuv444p"),
        ("yuv440p", ["yuv420p", "yuv422p", "yuv444p"], "yuv444p"),
        ("yuv444p12le", ["yuv420p12le", "yuv444p10le", "yuv444p16le"], "yuv444p16le"),
        ("gbrp", ["yuv444p", "gbrp10le"], "gbrp10le"),
        ("yuva444p10le", ["yuv444p10le", "yuva444p10le"], "yuva444p10le"),
    ],
)
def test_nearest_format(source, offered, expected):
    assert nearest_format(source, offered) == expected


def test_bottom_up_raw_avi_is_not_upside_down(tmp_path):
    path = write_video(tmp_path / "a.avi", codec="rawvideo", pix_fmt="bgr24", pts=[0, 1, 2])
    picture = next(FileClip.open(path).pictures())
    assert np.array_equal(picture.rgb, moving_image(0, 48, 64))


@pytest.mark.parametrize("sample_range", [LIMITED, FULL])
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("gray", "yuv420p"),
        ("gray10le", "yuv420p"),
        ("gray", "yuv444p12le"),
        ("yuv420p", "gray"),
        ("yuv420p10le", "gray"),
    ],
)
def test_between_gray_and_colour_luma_keeps_its_level(source, target, sample_range):
    frame = av.VideoFrame(64, 48, source)
    for plane in planes_of(frame):
        plane[...] = 3 * 2 ** (layout_of(source).depth - 2)
    made = convert(frame, target, VideoReformatter(), Colour(range=sample_range))
    luma, *chroma = planes_of(made)
    assert np.abs(luma / 2.0 ** layout_of(target).depth - 0.75).max() < 2 / 256
    for plane in chroma:
        assert (plane == 2 ** (layout_of(target).depth - 1)).all()


@pytest.mark.parametrize(
    "name", ["yuv420p", "yuv422p10le", "yuv444p", "yuv411p", "yuv410p", "yuv440p", "yuva420p", "gray", "gbrp"]
)
@pytest.mark.parametrize("size", [(97, 131), (192, 256)])
def test_a_part_of_the_rgb_is_the_wholes(name, size):
    rng = np.random.default_rng(0)
    frame = av.VideoFrame(size[1], size[0], name)
    for plane in planes_of(frame):
        plane[...] = rng.integers(0, 255, plane.shape)
    whole = RgbConverter(Colour())(frame)
    part = RgbConverter(Colour())
    for _ in range(20):
        top, left = (int(rng.integers(0, side - 1)) for side in size)
        bottom, right = int(rng.integers(top + 1, size[0] + 1)), int(rng.integers(left + 1, size[1] + 1))
        found = part(frame, (top, left, bottom, right))
        assert found.shape == whole.shape
        assert np.array_equal(found[top:bottom, left:right], whole[top:bottom, left:right])
