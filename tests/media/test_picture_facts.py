"""Facts of the pictures beside their samples: transparency, fields, mastering data, shape of the pixels."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made_media import decoded_frames, moving_image, write_video

from mytalk_core.media.clip import Clip
from mytalk_core.media.colour import RGB_MATRIX, UNSPECIFIED, rows_of
from mytalk_core.media.encoders import choose_codec
from mytalk_core.media.fields import upside_down
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.group_copy import OLDEST_PYAV
from mytalk_core.media.hdr import Mastering
from mytalk_core.media.patch import Patch, paste
from mytalk_core.media.pixels import planes_of
from mytalk_core.media.source import open_clip
from mytalk_core.media.writer import VideoWriter

TARGETS = [
    ("out.mp4", "h264"),
    ("out.mkv", "h264"),
    ("out.mov", "prores"),
    ("out.mkv", "prores"),
    ("out.webm", "vp9"),
    ("out.mkv", "vp9"),
    ("out.mkv", "ffv1"),
]
HDR10 = Mastering(
    tuple(Fraction(value, 50_000) for value in (34000, 16000, 13250, 34500, 7500, 3000, 15635, 16450)),
    (Fraction(50, 10_000), Fraction(1000)),
    (1000, 400),
)


def copied(clip: Clip, path: Path, **options) -> tuple[Clip, tuple[str, ...]]:
    """The file written from a clip's pictures, and what it does not keep."""
    with VideoWriter(path, clip, **options) as writer:
        for picture in clip.pictures():
            writer.write(picture)
    return FileClip.open(path), writer.warnings


def transparent_video(path: Path, codec: str = "libvpx-vp9", count: int = 12) -> Path:
    """A video whose alpha is a disc that moves to the right."""
    y, x = np.mgrid[:48, :64]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"b": "500k", "g": "5", "auto-alt-ref": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuva420p"
        for index in range(count):
            image = av.VideoFrame.from_ndarray(moving_image(index, 48, 64), format="rgb24")
            frame = image.reformat(format="yuva420p")
            planes_of(frame)[3][...] = np.where(np.hypot(y - 24, x - 16 - index) < 14, 235, 16)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def alphas(clip: Clip, indices=None) -> list[np.ndarray]:
    return [planes_of(picture.frame)[3].astype(int) for picture in clip.pictures(indices)]


@pytest.mark.parametrize("codec", ["libvpx-vp9", "libvpx"])
def test_transparency_of_webm_is_read(tmp_path, codec):
    clip = FileClip.open(transparent_video(tmp_path / "in.webm", codec))
    assert clip.format_name == "yuva420p" and len(clip) == 12
    first, *_, last = alphas(clip)
    assert first[24, 16] > 200 and first[24, 60] < 60 and last[24, 5] < 60 and last[24, 27] > 200
    backward = alphas(clip, [11, 7, 2, 9])
    forward = alphas(clip)
    assert all(np.array_equal(a, forward[i]) for a, i in zip(backward, [11, 7, 2, 9], strict=True))


@pytest.mark.parametrize(
    ("name", "expected", "off"),
    [("out.mov", "yuva444p12le", 3), ("out.webm", "yuva420p", 25)],
)
def test_transparency_is_kept_by_default(tmp_path, name, expected, off):
    clip = FileClip.open(transparent_video(tmp_path / "in.webm"))
    back, lost = copied(clip, tmp_path / name, crf=10)
    assert back.format_name == expected and lost == () and len(back) == len(clip)
    scale = 16 if "12" in expected else 1
    for before, after in zip(alphas(clip), alphas(back), strict=True):
        assert np.abs(after / scale - before).mean() < off


def test_an_edit_under_the_transparency_leaves_it(tmp_path):
    clip = FileClip.open(transparent_video(tmp_path / "in.webm", count=4))
    patch = Patch(10, 20, np.full((20, 20, 3), 255, np.uint8), np.ones((20, 20), np.float32))
    with VideoWriter(tmp_path / "out.mkv", clip, codec="ffv1") as writer:
        for picture in clip.pictures():
            writer.write(paste(picture, [patch]))
    back = FileClip.open(tmp_path / "out.mkv")
    for before, after in zip(clip.pictures(), back.pictures(), strict=True):
        own, new = planes_of(before.frame), planes_of(after.frame)
        assert np.array_equal(own[3], new[3])
        assert not np.array_equal(own[0], new[0])
        assert np.array_equal(own[0][:10], new[0][:10])


def palette_picture(path: Path, alpha: int) -> Path:
    """A PNG of two colours, whose upper half is as opaque as asked for."""
    frame = av.VideoFrame(64, 48, "pal8")
    rows = rows_of(frame.planes[0])
    rows[:24], rows[24:] = 1, 2
    colours = np.zeros((256, 4), np.uint8)
    colours[:, 3], colours[1], colours[2] = 255, (10, 20, 30, alpha), (40, 50, 60, 255)
    frame.planes[1].update(colours.tobytes())
    encoder = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, "pal8", Fraction(1, 25)
    path.write_bytes(b"".join(bytes(packet) for packet in encoder.encode(frame)))
    return path


def test_a_palette_is_as_transparent_as_its_colours(tmp_path):
    clip = FileClip.open(palette_picture(tmp_path / "a.png", 99))
    (picture,) = clip.pictures()
    alpha = planes_of(picture.frame)[3]
    assert clip.format_name == "gbrap" and (alpha[:24] == 99).all() and (alpha[24:] == 255).all()
    opaque = FileClip.open(palette_picture(tmp_path / "b.png", 255))
    (other,) = opaque.pictures()
    assert opaque.format_name == other.format_name == "gbrp" and np.array_equal(other.rgb, picture.rgb)
    assert open_clip(tmp_path).format_name == "gbrap"


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_alpha_that_hides_nothing_is_none_in_a_still(tmp_path, kind):
    most = np.iinfo(kind).max
    rgba = np.random.default_rng(0).integers(0, most, (48, 64, 4), kind)
    for name, least in (("opaque.png", most), ("glass.png", most // 2)):
        rgba[..., 3] = most
        rgba[7, 9, 3] = least
        cv2.imwrite(str(tmp_path / name), rgba)
    (opaque,), (glass,) = (FileClip.open(tmp_path / name).pictures() for name in ("opaque.png", "glass.png"))
    assert opaque.format_name == glass.format_name.replace("gbra", "gbr") != glass.format_name
    pairs = zip(planes_of(opaque.frame), planes_of(glass.frame), strict=False)
    assert all(np.array_equal(one, other) for one, other in pairs)


def test_transparency_that_goes_is_named(tmp_path):
    clip = FileClip.open(transparent_video(tmp_path / "in.webm", count=3))
    back, lost = copied(clip, tmp_path / "out.mp4")
    assert back.format_name == "yuv420p"
    assert len(lost) == 1 and lost[0].startswith("transparency is not kept")
    assert choose_codec(Path("a.mov"), None, back) == "h264" and choose_codec(Path("a.mov"), None) == "h264"


@pytest.mark.parametrize(("name", "codec"), TARGETS)
@pytest.mark.parametrize("order", ["tt", "bb"])
def test_field_order_comes_back(tmp_path, name, codec, order):
    source = FileClip.open(write_video(tmp_path / "in.mp4", pts=list(range(6))))
    assert source.field_order == "progressive"
    back, lost = copied(replace(source, field_order=order), tmp_path / name, codec=codec)
    assert len(back) == len(source)
    if name.endswith(".webm"):
        assert back.field_order == "progressive"
        assert len(lost) == 1 and lost[0].startswith("interlacing is not kept")
        return
    assert lost == ()
    if hasattr(av.VideoCodecContext, "field_order"):
        assert back.field_order == order
    elif codec in ("h264", "prores"):
        # Their frames say that there are fields, and PyAV before 18.1 not which is first.
        assert back.field_order == "unknown"
    if codec != "vp9":
        assert all(frame.interlaced_frame for frame in decoded_frames(tmp_path / name))
    if codec == "ffv1":
        for before, after in zip(source.pictures(), back.pictures(), strict=True):
            pairs = zip(planes_of(before.frame), planes_of(after.frame), strict=True)
            assert all(np.array_equal(a, b) for a, b in pairs)


def test_fields_that_cannot_be_flagged_are_named(tmp_path):
    tall = FileClip.open(write_video(tmp_path / "in.mp4", size=(50, 64), pts=[0, 1]))
    unsaid = replace(tall, field_order="unknown")
    for clip, why in (
        (replace(tall, field_order="tt"), "4 divides"),
        (unsaid, "does not say"),
        (replace(tall, field_order="tt", rotation=90), "rotation"),
    ):
        back, lost = copied(clip, tmp_path / "out.mp4")
        assert back.field_order == "progressive" and len(lost) == 1 and why in lost[0]
    assert [upside_down(order, 48) for order in ("tt", "bt", "progressive")] == ["bb", "tb", "progressive"]
    assert upside_down("tt", 49) == "tt"


@pytest.mark.parametrize(("name", "codec"), TARGETS)
def test_mastering_data_comes_back(tmp_path, name, codec):
    video = write_video(tmp_path / "in.mp4", pix_fmt="yuv420p10le", colour=(9, 1, 9, 16), pts=[0, 1, 2])
    source = replace(FileClip.open(video), mastering=HDR10)
    back, lost = copied(source, tmp_path / name, codec=codec)
    assert len(back) == 3
    if (name, codec) == ("out.mov", "prores"):
        assert back.mastering is None
        assert len(lost) == 1 and lost[0].startswith("HDR10 mastering data is not kept")
        return
    assert back.mastering == HDR10 and lost == ()
    assert back.colour == source.colour


def test_light_levels_alone_and_dynamic_metadata(tmp_path):
    source = FileClip.open(write_video(tmp_path / "in.mp4", pts=[0, 1]))
    assert source.mastering is None
    levels = Mastering(light=(800, 200), dynamic=("HDR10+",))
    back, lost = copied(replace(source, mastering=levels), tmp_path / "out.mkv", codec="ffv1")
    assert back.mastering == Mastering(light=(800, 200))
    assert lost == ("HDR10+ metadata is not kept: no codec here writes it",)


@pytest.mark.parametrize(("name", "codec"), TARGETS)
@pytest.mark.parametrize("aspect", [Fraction(16, 15), Fraction(64, 45), Fraction(8, 9), Fraction(3, 4)])
def test_pixel_shape_comes_back(tmp_path, name, codec, aspect):
    source = FileClip.open(write_video(tmp_path / "in.mp4", pts=[0, 1]))
    back, _ = copied(replace(source, sample_aspect_ratio=aspect), tmp_path / name, codec=codec)
    # WebM and Matroska store whole pixels of display where they can.
    assert float(back.sample_aspect_ratio) == pytest.approx(float(aspect), rel=1e-6)
    assert len(list(back.pictures())) == 2


@pytest.mark.skipif(not hasattr(av.VideoFrame, "color_primaries"), reason="PyAV before 17")
def test_every_prores_frame_has_the_primaries(tmp_path):
    video = write_video(
        tmp_path / "in.mkv", codec="ffv1", pix_fmt="yuv422p10le", colour=(9, 2, 9, 16), pts=[0, 1, 2]
    )
    clip = FileClip.open(video)
    patch = Patch(10, 20, np.full((9, 9, 3), 255, np.uint8), np.ones((9, 9), np.float32))
    with VideoWriter(tmp_path / "out.mov", clip, codec="prores") as writer:
        for picture in clip.pictures():
            writer.write(paste(picture, [patch] if picture.index == 1 else []))
    tags = [(f.color_primaries, f.color_trc, f.colorspace) for f in decoded_frames(tmp_path / "out.mov")]
    assert tags == [(9, 16, 9)] * 3


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    """A JPEG with the Exif block that cameras write: which way up it was held, 1 to 8."""
    tags = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x112, 3, 1, orientation) + b"\0\0\0\0"
    block = b"Exif\0\0" + tags
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


# What makes a picture that was held so upright (Exif 2.3, 4.6.4).
UPRIGHT = {
    1: lambda rgb: rgb,
    2: lambda rgb: rgb[:, ::-1],
    3: lambda rgb: rgb[::-1, ::-1],
    4: lambda rgb: rgb[::-1],
    5: lambda rgb: rgb.swapaxes(0, 1),
    6: lambda rgb: rgb.swapaxes(0, 1)[:, ::-1],
    7: lambda rgb: rgb.swapaxes(0, 1)[::-1, ::-1],
    8: lambda rgb: rgb.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_photo_with_exif_stands_upright(tmp_path, orientation):
    rgb = moving_image(0, 48, 64)
    _, jpeg = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    (tmp_path / "photo.jpg").write_bytes(with_exif(jpeg.tobytes(), orientation))
    (picture,) = FileClip.open(tmp_path / "photo.jpg").pictures()
    upright = UPRIGHT[orientation](rgb).astype(int)
    assert picture.rgb.shape == upright.shape and np.abs(picture.rgb - upright).mean() < 3


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize(("name", "codec"), [("out.mp4", "h264"), ("out.mov", "prores"), ("out.webm", "vp9")])
def test_a_gray_picture_becomes_a_video_of_a_matrix_that_yuv_has(tmp_path, kind, name, codec):
    gray = np.mgrid[:48, :64][1].astype(kind) * (np.iinfo(kind).max // 64)
    cv2.imwrite(str(tmp_path / "gray.png"), gray)
    clip = FileClip.open(tmp_path / "gray.png")
    made, _ = copied(clip, tmp_path / name, codec=codec)
    assert made.colour.matrix not in (RGB_MATRIX, UNSPECIFIED)
    (own,), (other,) = clip.pictures(), made.pictures()
    assert np.abs(own.rgb.astype(int) - other.rgb).mean() < 3


def captioned_video(path: Path, first: int) -> Path:
    """An H.264 video of whose frames each has a caption from `first` on (SEI, ATSC A/53)."""
    write_video(path.with_suffix(".mkv"), pts=list(range(12)), options={"bf": "0"})
    data = b"\xb5\x00\x31GA94\x03\x41\xff\xfc\x94\x2c\xff"
    unit = bytes([6, 4, len(data)]) + data + b"\x80"
    with av.open(str(path.with_suffix(".mkv"))) as source, av.open(str(path), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0], opaque=True)
        for number, packet in enumerate(source.demux(video=0)):
            if packet.dts is not None:
                caption = len(unit).to_bytes(4, "big") + unit if number >= first else b""
                made = av.Packet(caption + bytes(packet))
                made.pts, made.dts, made.time_base = packet.pts, packet.dts, packet.time_base
                made.duration, made.is_keyframe, made.stream = packet.duration, packet.is_keyframe, stream
                container.mux(made)
    return path


@pytest.mark.parametrize("first", [0, 6])
def test_captions_are_named_and_no_frame_has_any(tmp_path, first):
    path = captioned_video(tmp_path / "a.mp4", first)
    assert sum("A53_CC" in frame.side_data for frame in decoded_frames(path)) == 12 - first
    clip, patch = FileClip.open(path), Patch(8, 8, np.zeros((9, 9, 3), np.uint8), np.ones((9, 9), np.float32))
    assert clip.carried == ("closed captions",)
    with VideoWriter(tmp_path / "b.mp4", clip) as writer:
        for picture in clip.pictures():
            writer.write(paste(picture, [patch] if picture.index % 2 else []))
    assert writer.warnings == ("not kept, as no codec here writes it: closed captions",)
    assert not any("A53_CC" in frame.side_data for frame in decoded_frames(tmp_path / "b.mp4"))


def test_what_frames_carry_beside_is_named(tmp_path):
    clip = FileClip.open(write_video(tmp_path / "a.mp4"))
    assert clip.carried == ()
    clip = replace(clip, carried=("stereo 3D",))
    _, lost = copied(clip, tmp_path / "b.mp4")
    assert lost == ("not kept, as no codec here writes it: stereo 3D",)
    if int(av.__version__.split(".")[0]) >= OLDEST_PYAV:
        _, lost = copied(clip, tmp_path / "c.mp4", codec="copy")
        assert lost == ("kept for certain only where packets are copied: stereo 3D",)


def colour_profile(primaries: list[tuple[float, ...]]) -> bytes:
    """An ICC profile of three primaries: X, Y, Z of red, green and blue."""
    names, begin = (b"rXYZ", b"gXYZ", b"bXYZ"), 132 + 3 * 12
    table = b"".join(struct.pack(">4sII", name, begin + 20 * i, 20) for i, name in enumerate(names))
    values = [b"XYZ \0\0\0\0" + np.rint(np.float64(xyz) * 65536).astype(">i4").tobytes() for xyz in primaries]
    profile = struct.pack(">I12s4s4s104x", 288, b"", b"RGB ", b"XYZ ") + struct.pack(">I", 3) + table
    return profile + b"".join(values)


def with_profile(jpeg: bytes, primaries: list[tuple[float, ...]]) -> bytes:
    """A JPEG with such a profile."""
    block = b"ICC_PROFILE\0\1\1" + colour_profile(primaries)
    return jpeg[:2] + b"\xff\xe2" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def test_a_colour_profile_is_named_unless_it_is_srgb(tmp_path):
    srgb = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141)]
    display_p3 = [(0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407)]
    jpeg = cv2.imencode(".jpg", moving_image(0, 48, 64))[1].tobytes()
    (tmp_path / "usual.jpg").write_bytes(with_profile(jpeg, srgb))
    (tmp_path / "wide.jpg").write_bytes(with_profile(jpeg, display_p3))
    (tmp_path / "bare.jpg").write_bytes(with_profile(jpeg, []))
    assert FileClip.open(tmp_path / "usual.jpg").carried == ()
    for source in (tmp_path / "wide.jpg", tmp_path / "bare.jpg", tmp_path):
        assert open_clip(source).carried == ("a colour profile (ICC) other than sRGB",)


def test_a_profile_with_a_name_does_not_end_the_process(tmp_path):
    png = cv2.imencode(".png", moving_image(0, 48, 64))[1].tobytes()
    chunk = b"iCCP" + b"mine\0\0" + zlib.compress(colour_profile([]))
    named = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    # Behind the signature and the header.
    (tmp_path / "a.png").write_bytes(png[:33] + named + png[33:])
    program = (
        "from mytalk_core.media.source import open_clip\n"
        f"for path in {[str(tmp_path / 'a.png'), str(tmp_path)] * 4}:\n"
        "    print([len(open_clip(path).carried) for picture in open_clip(path).pictures()])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["[1]"] * 8)
