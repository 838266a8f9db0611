"""New skin has as much grain as the frame around it, its own in every frame, and a clean source gets none."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_face import SIZE, drawn, picture, shape

from mytalk_core.appearance.grain import grain_strength, grained
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.patch import Patch

OPENINGS = (0.0, 6.0, 12.0, 18.0, 9.0, 3.0)


@pytest.fixture(scope="module")
def layout():
    return LandmarkLayout.load("mesh478")


def noise(shape_, level, seed, coarse=0.0):
    """Gaussian noise (H,W,3) of that many levels, the three colours' partly the same."""
    rng = np.random.default_rng(seed)
    made = rng.normal(0, 1, shape_) + rng.normal(0, 1, (*shape_[:2], 1))
    made = cv2.GaussianBlur(made, (0, 0), coarse) if coarse else made
    return made * level / made.std()


def level(difference):
    """Standard deviation of what varies from pixel to pixel."""
    return float((difference - cv2.GaussianBlur(difference, (0, 0), 1.5)).std())


@pytest.mark.parametrize(("grain", "coarse"), [(3.0, 0.0), (9.0, 0.0), (9.0, 0.9)])
def test_lips_and_chin_have_the_cheeks_grain(layout, grain, coarse):
    shapes = [shape(layout, opening) for opening in OPENINGS]
    clean = [picture(layout, points) for points in shapes]
    frames = [
        np.clip(np.rint(one + noise(one.shape, grain, seed, coarse)), 0, 255).astype(np.uint8)
        for seed, one in enumerate(clean)
    ]
    wanted = [shapes[2]] * len(shapes)
    results = [edit.pasted.rgb.astype(np.float32) for edit in drawn(layout, frames, shapes, wanted)]
    low, high = (int(shapes[2][ring, 1].max()) for ring in (layout.lips_inner, layout.lips_outer))
    chin, lip, cheek = np.s_[186:206, 118:138], np.s_[low + 3 : high - 3, 122:134], np.s_[100:130, 70:90]
    for result in results:
        usual = level(result[cheek])
        assert level(result[chin]) == pytest.approx(usual, rel=0.2)
        assert level(result[lip]) == pytest.approx(usual, rel=0.3)
    # Two frames of one and the same mouth do not share their grain.
    one, other = (result[chin] - cv2.GaussianBlur(result[chin], (0, 0), 1.5) for result in results[:2])
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.5


def test_a_texture_that_goes_along_with_the_face_is_no_grain(layout):
    shapes = [shape(layout, opening) for opening in OPENINGS]
    texture = noise((SIZE, SIZE, 3), 9.0, 0)
    frames = [np.clip(np.rint(picture(layout, one) + texture), 0, 255).astype(np.uint8) for one in shapes]
    chin = np.s_[186:206, 118:138]
    results = [
        edit.pasted.rgb[chin].astype(np.float32) for edit in drawn(layout, frames, shapes, [shapes[2]] * 6)
    ]
    steps = [level(one - other) for one, other in zip(results, results[1:], strict=False)]
    assert max(steps) < 0.3 * level(results[0])


def test_clean_patches_stay_and_grain_is_the_same_in_every_run():
    y, x = np.mgrid[:SIZE, :SIZE]
    clean = np.dstack([120 + 40 * np.sin(x / 9), 100 + 0.2 * y, 90 + 30 * np.cos((x + y) / 13)])
    rough = np.clip(clean + noise(clean.shape, 6, 0), 0, 255).astype(np.uint8)
    clean = np.rint(clean).astype(np.uint8)
    alpha = np.zeros((120, 120), np.float32)
    alpha[20:100, 20:100] = 1
    patch = Patch(60, 50, cv2.GaussianBlur(clean, (0, 0), 2)[60:180, 50:170], alpha)
    part = slice(60, 180), slice(50, 170)
    assert grain_strength(clean[part]) == 0 and grain_strength(rough[part]) == 1
    assert grain_strength(rough[:15, :15]) == 0
    assert grained(patch, rough, 7, 0.0) is patch
    small = Patch(60, 50, patch.rgb[:9, :9], alpha[:9, :9])
    assert grained(small, rough, 7, 1.0) is small
    one, again, other = (grained(patch, rough, seed, 1.0).rgb for seed in (7, 7, 8))
    half = grained(patch, rough, 7, 0.5).rgb
    assert 0.3 < np.std(half - patch.rgb.astype(float)) / np.std(one - patch.rgb.astype(float)) < 0.7
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(one[alpha == 0], patch.rgb[alpha == 0])


def in_halves(rgb):
    """A picture as a video holds it whose colour has half the samples."""
    y, *colours = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb))
    size = rgb.shape[1::-1]
    halves = [cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for one in colours]
    whole = [cv2.resize(half, size, interpolation=cv2.INTER_NEAREST) for half in halves]
    return cv2.cvtColor(cv2.merge([y, *whole]), cv2.COLOR_YCrCb2RGB)


@pytest.mark.parametrize("corner", [60, 61])
def test_colours_of_half_the_samples_have_their_grain_when_they_are_stored(corner):
    y, x = np.mgrid[:SIZE, :SIZE]
    clean = np.dstack([120 + 40 * np.sin(x / 9), 100 + 0.2 * y, 110 + 20 * np.cos((x + y) / 13)])
    rough = in_halves(np.clip(clean + noise(clean.shape, 12, 0), 0, 255).astype(np.uint8))
    soft = cv2.GaussianBlur(rough, (0, 0), 4)
    part = slice(corner, corner + 120), slice(corner, corner + 120)
    patch = Patch(corner, corner, soft[part], np.ones((120, 120), np.float32))
    pasted = rough.copy()
    pasted[part] = grained(patch, rough, 7, 1.0, (2, 2)).rgb
    made, usual = (cv2.cvtColor(one, cv2.COLOR_RGB2YCrCb)[part] for one in (in_halves(pasted), rough))
    for plane in range(3):
        assert level(made[..., plane].astype(float)) == pytest.approx(
            level(usual[..., plane].astype(float)), rel=0.2
        )


@pytest.mark.parametrize("quality", [10, 20])
def test_what_compression_leaves_is_no_grain(examples, quality):
    (frame,) = next(FileClip.open(examples / "ai_woman.mp4").frames(0, 1, batch_size=1))
    small = cv2.resize(frame, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    blocky = cv2.imdecode(
        cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR
    )
    rows, columns = slice(128, 232), slice(64, 192)
    assert grain_strength(blocky[rows, columns]) == 0
    rough = np.clip(blocky + noise(blocky.shape, 6, 0), 0, 255).astype(np.uint8)
    assert grain_strength(rough[rows, columns]) > 0
