"""The canonical crop reads no pixel outside its box, so no other needs to be converted."""

from __future__ import annotations

import av
import numpy as np
import pytest

from mytalk_core.appearance.composite import held, make_patch
from mytalk_core.appearance.square.crop import SMALLEST, crop_box, crop_size, cut_crop
from mytalk_core.face.alignment import UNITS
from mytalk_core.media.colour import Colour, RgbConverter
from mytalk_core.media.patch import Patch, paste
from mytalk_core.media.picture import Picture
from mytalk_core.media.pixels import planes_of

HEIGHT, WIDTH = 240, 320


@pytest.mark.parametrize("side_px", [60, 200, 700, 1500])
def test_all_that_is_read_is_in_the_box(side_px):
    rng = np.random.default_rng(side_px)
    frame = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    for _ in range(40):
        angle, scale = rng.uniform(-np.pi, np.pi), UNITS / (side_px * rng.uniform(0.7, 1.3))
        linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        # Also beside the frame, and over its edges.
        centre = rng.uniform((-0.6 * WIDTH, -0.6 * HEIGHT), (1.6 * WIDTH, 1.6 * HEIGHT))
        similarity = np.concatenate([linear, (UNITS / 2 - linear @ centre)[:, None]], 1)
        top, left, bottom, right = crop_box(similarity, 256, HEIGHT, WIDTH)
        assert 0 <= top < bottom <= HEIGHT and 0 <= left < right <= WIDTH
        noise = rng.integers(0, 256, frame.shape, np.uint8)
        noise[top:bottom, left:right] = frame[top:bottom, left:right]
        assert np.array_equal(cut_crop(noise, similarity, 256), cut_crop(frame, similarity, 256))
        # What is pasted is blended with the frame's own pixels, and measured beside them.
        patch = make_patch(
            frame.shape, frame[:1, :1].repeat(256, 0).repeat(256, 1), similarity, np.ones((256, 256))
        )
        if patch is not None:
            assert top <= patch.top and patch.top + len(patch.alpha) <= bottom
            assert left <= patch.left and patch.left + patch.alpha.shape[1] <= right


def scaled(*side_px):
    """Similarities of faces whose canonical squares are so many pixels wide."""
    return np.stack([[[UNITS / side, 0, 0], [0, UNITS / side, 0]] for side in side_px])


def test_a_crop_is_as_large_as_most_faces_and_large_enough_for_the_nearest():
    assert crop_size(scaled(*[400] * 20)) == 416
    assert crop_size(scaled(*[400] * 19, 440)) == 416
    # The close-ups of a conversation that is mostly seen from afar.
    assert crop_size(scaled(*[300] * 70, *[700] * 30)) >= 700 / 1.25
    assert crop_size(scaled(*[300] * 99, 700)) == 320


def test_a_face_smaller_than_the_crop_is_averaged_and_does_not_alias():
    noise = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)
    alpha = np.ones((640, 640), np.float32)
    # What is that fine is far finer than a pixel of the frame.
    assert make_patch((160, 160, 3), noise, scaled(160)[0], alpha).rgb.std() < 0.6 * noise.std()
    # The smallest is a face enlarged, which this would only soften.
    small = np.repeat(np.repeat(noise[:64, :64], 4, 0), 4, 1)
    patch = make_patch((64, 64, 3), small, scaled(64)[0], alpha[:SMALLEST, :SMALLEST])
    assert np.abs(patch.rgb.astype(int) - noise[:64, :64])[1:-1, 1:-1].max() <= 1


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le"])
def test_new_colour_reaches_up_to_a_cover_whose_samples_stay(pixel_format):
    rng, side = np.random.default_rng(0), 128
    frame = av.VideoFrame(side, side, pixel_format)
    for plane in planes_of(frame):
        plane[...] = rng.integers(64, 192, plane.shape)
    colour = Colour(matrix=1, range=1)
    picture = Picture(0, frame, colour, RgbConverter(colour))
    similarity = np.array([[2.0, 0, 0], [0, 2, 0]])
    matte = np.zeros((UNITS, UNITS), np.float32)
    matte[:, 128:] = 1
    alpha = np.where(np.arange(side) < 64, 1, 0) * np.ones((side, 1))
    patch = Patch(0, 0, np.full((side, side, 3), (220, 40, 60), np.uint8), alpha.astype(np.float32))
    assert held(patch, None, similarity) is patch
    result = planes_of(paste(picture, [held(patch, matte, similarity)]).frame)
    for before, after, edge in zip(planes_of(frame), result, (64, 32, 32), strict=True):
        assert np.array_equal(before[:, edge:], after[:, edge:])
        assert len(np.unique(after[:, :edge])) == 1, "new up to the cover"
