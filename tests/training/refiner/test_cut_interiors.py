"""The inside of mouths that is cut out is read back in its place, and nothing of the face about it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from mytalk_training.refiner.cut_interiors import RIM, cut
from safetensors.numpy import save_file

from mytalk_core.appearance.references import open_mouths
from mytalk_core.appearance.references.references import References
from mytalk_core.appearance.square.mask import INNER, lip_map
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout

LAYOUT = LandmarkLayout.load("mesh478")
SCALE = 2


@pytest.fixture
def mouths() -> References:
    """Crops of noise, no pixel black, of mouths that are open by different heights."""
    half = len(LAYOUT.lips_inner) // 2
    shapes = np.stack([LAYOUT.template[:, :2]] * 3).astype(np.float32)
    shapes[:, LAYOUT.lips_inner[1:half], 1] += np.array([[2], [6], [10]])
    side = SCALE * UNITS
    crops = np.random.default_rng(0).integers(1, 256, (3, side, side, 3), np.uint8)
    return References(crops, shapes, np.arange(3), np.ones(3, np.float32), np.zeros(3, np.int64))


@pytest.fixture
def read_back(mouths, tmp_path, monkeypatch) -> open_mouths.Interiors:
    save_file(cut(mouths, LAYOUT), tmp_path / "interiors.safetensors", {"size": str(mouths.size)})
    monkeypatch.setattr(open_mouths, "WEIGHTS", tmp_path / "interiors.safetensors")
    # Not through the cache, in which the bundled mouths stay.
    return open_mouths.interiors.__wrapped__(LAYOUT.name)


def test_what_is_cut_is_read_back_in_its_place(mouths, read_back):
    np.testing.assert_array_equal(read_back.landmarks, mouths.landmarks)
    for crop, found, landmarks in zip(mouths.crops, read_back.crops, mouths.landmarks, strict=True):
        inner = (lip_map(landmarks, LAYOUT, open_mouths.SQUARE) == INNER).astype(np.uint8)
        inside = cv2.resize(inner, found.shape[:2], interpolation=cv2.INTER_NEAREST)
        about = cv2.dilate(inside, np.ones((2 * SCALE * (RIM + 1) + 1,) * 2))
        assert np.array_equal(found[inside > 0], crop[inside > 0])
        assert inside.any() and not found[about == 0].any()


def test_colours_are_those_of_the_crops(mouths, read_back):
    grey = cv2.cvtColor(mouths.crops.reshape(-1, mouths.size, 3), cv2.COLOR_RGB2GRAY)
    # Of noise lips and inside have the same; teeth are the brightest of it.
    assert [read_back.lips[0], read_back.inside[0]] == pytest.approx([grey.mean()] * 2, abs=4)
    small = mouths.resized(UNITS)
    maps = [lip_map(landmarks, LAYOUT, open_mouths.SQUARE) for landmarks in mouths.landmarks]
    inside = np.concatenate([crop[one == INNER] for crop, one in zip(small.crops, maps, strict=True)])
    lumas = cv2.cvtColor(inside[None], cv2.COLOR_RGB2GRAY)[0]
    assert read_back.teeth[0] == pytest.approx(np.sort(lumas)[-len(lumas) // 10 :].mean(), abs=1)
