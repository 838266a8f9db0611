"""`paste`: what is inside the mask is the patch, what is outside is the decoded source, sample for sample."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.video.reformatter import Interpolation, VideoReformatter

from mytalk_core.media.colour import Colour, RgbConverter, sample_scale
from mytalk_core.media.patch import Patch, coverage, paste
from mytalk_core.media.picture import Picture
from mytalk_core.media.pixels import layout_of, planes_of, unpack

HEIGHT, WIDTH = 95, 121
FORMATS = [
    "yuv420p",
    "yuv422p",
    "yuv444p",
    "yuv411p",
    "yuv440p",
    "yuv420p10le",
    "yuv422p10le",
    "yuv444p12le",
    "gray",
    "gray10le",
    "gbrp",
    "gbrp10le",
    "yuva420p",
]
UNPACKED_FORMATS = ["nv12", "p010le", "rgb24", "yuvj420p"]


def make_picture(pix_fmt: str, *, colour: Colour | None = None, seed: int = 0) -> Picture:
    """Smooth content with a little noise, inside the RGB gamut."""
    rng = np.random.default_rng(seed)
    even = pix_fmt in ("nv12", "p010le")
    height, width = (HEIGHT // 2 * 2, WIDTH // 2 * 2) if even else (HEIGHT, WIDTH)
    frame = av.VideoFrame(width, height, "yuv444p" if pix_fmt in UNPACKED_FORMATS else pix_fmt)
    depth = layout_of(frame.format.name).depth
    for index, plane in enumerate(planes_of(frame)):
        y, x = np.mgrid[: plane.shape[0], : plane.shape[1]] / max(plane.shape)
        level = (
            128 + (60 if index == 0 else 18) * np.sin(5 * x + 3 * y + index) + rng.normal(0, 1, plane.shape)
        )
        plane[...] = np.clip(np.rint(level * 2 ** (depth - 8)), 0, 2**depth - 1)
    colour = colour or Colour(matrix=1, range=1)
    if pix_fmt in UNPACKED_FORMATS:
        frame = unpack(VideoReformatter().reformat(frame, format=pix_fmt), VideoReformatter(), colour)
    return Picture(0, frame, colour, RgbConverter(colour))


def soft_disc(size: int) -> np.ndarray:
    """float32 (size, size): 1 in the middle, 0 in the corners."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    return np.clip(1.6 - np.hypot(y, x) / (size / 3.2), 0, 1).astype(np.float32)


def bright_patch(top: int = 20, left: int = 31, size: int = 57) -> Patch:
    rgb = np.zeros((size, size, 3), np.uint8) + np.array([210, 90, 60], np.uint8)
    return Patch(top, left, rgb, soft_disc(size))


@pytest.mark.parametrize("pix_fmt", FORMATS + UNPACKED_FORMATS)
def test_samples_outside_the_mask_stay(pix_fmt):
    picture = make_picture(pix_fmt)
    before = [plane.copy() for plane in planes_of(picture.frame)]
    patches = [bright_patch(), bright_patch(-20, -15, 40), bright_patch(70, 95, 50)]
    pasted = paste(picture, patches)
    mask = coverage(patches, picture.height, picture.width)
    layout = layout_of(pasted.format_name)
    for index, (old, new) in enumerate(zip(before, planes_of(pasted.frame), strict=True)):
        assert np.array_equal(planes_of(picture.frame)[index], old), "the source picture was written to"
        step_y = layout.step_y if index in (1, 2) else 1
        step_x = layout.step_x if index in (1, 2) else 1
        touched = np.repeat(np.repeat(new != old, step_y, 0), step_x, 1)[: picture.height, : picture.width]
        assert not touched[mask == 0].any()
        if index == 3:
            assert np.array_equal(new, old), "the alpha plane is not the patch's business"
    assert (planes_of(pasted.frame)[0] != before[0]).mean() > 0.1


# Fast bilinear is left out: at odd widths it blurs luma across pixels, mask or not.
SCALERS = ["POINT", "BILINEAR", "BICUBIC", "LANCZOS", "AREA"]


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv420p10le"])
def test_pixels_with_mask_zero_look_the_same_through_every_scaler(pix_fmt):
    picture = make_picture(pix_fmt)
    patches = [bright_patch(), bright_patch(60, 80, 44)]
    pasted = paste(picture, patches)
    outside = coverage(patches, HEIGHT, WIDTH) == 0
    for name in SCALERS:
        # swscale's ACCURATE_RND and FULL_CHR_H_INT
        for extra in (0, 0x40000 | 0x2000):
            flags = int(Interpolation[name]) | extra
            old, new = (
                VideoReformatter().reformat(which.frame, format="rgb24", interpolation=flags).to_ndarray()
                for which in (picture, pasted)
            )
            assert np.array_equal(old[outside], new[outside]), name
            assert (old != new).any()


@pytest.mark.parametrize("colour", [Colour(1, 1), Colour(6, 1), Colour(9, 1), Colour(1, 2), Colour(2, 0)])
@pytest.mark.parametrize("pix_fmt", FORMATS + UNPACKED_FORMATS)
def test_own_pixels_change_nothing_visible(pix_fmt, colour):
    picture = make_picture(pix_fmt, colour=colour)
    own = Patch(0, 0, picture.rgb, np.ones((picture.height, picture.width), np.float32))
    change = np.abs(paste(picture, [own]).rgb.astype(int) - picture.rgb)
    assert change.max() <= 2


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p10le", "yuv444p", "gbrp10le"])
def test_inside_shows_the_patch(pix_fmt, matrix):
    picture = make_picture(pix_fmt, colour=Colour(matrix, 1))
    pasted = paste(picture, [bright_patch(size=60)])
    middle = pasted.rgb[20 + 25 : 20 + 35, 31 + 25 : 31 + 35].astype(int)
    assert np.abs(middle - [210, 90, 60]).max() <= 2


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p", "yuv422p10le", "gray", "gbrp"])
def test_alpha_blends_in_proportion(pix_fmt):
    picture = make_picture(pix_fmt)
    rgb = np.full((HEIGHT, WIDTH, 3), 180, np.uint8)
    half = paste(picture, [Patch(0, 0, rgb, np.full((HEIGHT, WIDTH), 0.5, np.float32))])
    expected = (picture.rgb.astype(float) + 180) / 2
    assert np.abs(half.rgb - expected).max() <= 2


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv422p10le", "gbrp10le"])
@pytest.mark.parametrize("rgb", [(0, 0, 255), (255, 0, 0), (255, 255, 255), (0, 255, 255)])
def test_the_purest_colours_of_full_range_stay_what_they_are(pix_fmt, rgb):
    picture = make_picture(pix_fmt, colour=Colour(matrix=1, range=2))
    patch = Patch(20, 31, np.full((40, 40, 3), rgb, np.uint8), np.ones((40, 40), np.float32))
    pasted = paste(picture, [patch])
    assert np.abs(pasted.rgb[35:45, 45:55].astype(int) - rgb).max() <= 2
    assert max(int(plane.max()) for plane in planes_of(pasted.frame)) < 2 ** layout_of(pix_fmt).depth


def test_patch_at_an_odd_edge_reaches_the_last_chroma_sample():
    picture = make_picture("yuv420p")
    full = Patch(HEIGHT - 41, WIDTH - 41, np.full((60, 60, 3), 200, np.uint8), np.ones((60, 60), np.float32))
    pasted = paste(picture, [full])
    assert np.abs(pasted.rgb[-20:, -20:].astype(int) - 200).max() <= 2


def test_nothing_to_paste_is_the_same_picture():
    picture = make_picture("yuv420p")
    empty = Patch(3, 3, np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.float32))
    outside = [
        Patch(top, left, np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.float32))
        for top, left in ((HEIGHT, 0), (HEIGHT + 3, 9), (9, WIDTH + 3), (-8, 0), (0, -11))
    ]
    assert paste(picture, []) is picture and paste(picture, [empty, *outside]) is picture
    assert not coverage([empty, *outside], HEIGHT, WIDTH).any()


def test_coverage_marks_the_faintest_alpha():
    alpha = np.zeros((6, 6), np.float32)
    alpha[2, 3] = 1e-4
    mask = coverage([Patch(-1, 1, np.zeros((6, 6, 3), np.uint8), alpha)], 10, 12)
    assert mask[1, 4] == 1 and mask.sum() == 1


def test_patch_shapes_are_checked():
    with pytest.raises(ValueError, match=r"rgb \(h, w, 3\)"):
        Patch(0, 0, np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.float32))


@pytest.mark.parametrize("matrix", [1, 6, 7, 9])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv422p10le"])
def test_rgb_follows_matrix_and_range(pix_fmt, matrix, full):
    """Against the defining equations of H.273, with chroma repeated."""
    colour = Colour(matrix, 2 if full else 1)
    picture = make_picture(pix_fmt, colour=colour)
    layout = layout_of(pix_fmt)
    luma, *chroma = (plane.astype(float) for plane in planes_of(picture.frame))
    gain, offset, chroma_gain = sample_scale(layout.depth, full)
    y = (luma - offset) / gain
    cb, cr = (
        (
            np.repeat(np.repeat(plane, layout.step_y, 0), layout.step_x, 1)[:HEIGHT, :WIDTH]
            - 2 ** (layout.depth - 1)
        )
        / chroma_gain
        for plane in chroma
    )
    kr, kb = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}[matrix]
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    expected = np.clip(np.stack([red, green, blue], -1), 0, 255)
    error = picture.rgb - expected
    assert np.abs(error).max() <= 1.6 and abs(error.mean()) < 0.4


def test_untagged_video_is_bt709_from_720_lines():
    assert Colour.of_frame(av.VideoFrame(64, 720, "yuv420p")).yuv_matrix == 1
    assert Colour.of_frame(av.VideoFrame(64, 576, "yuv420p")).yuv_matrix == 6
