"""References with something before the mouth are told from free ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.appearance.occlusion import SkinGauge, visible_references
from mytalk_core.appearance.references import References, read_references
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.tracker import load_face_reader, track_faces
from mytalk_core.media.file_clip import FileClip

LAYOUT = LandmarkLayout.load("mesh478")


@pytest.fixture(scope="module")
def references() -> References:
    clip = FileClip.open(EXAMPLES / "ai_woman.mp4")
    frames = np.concatenate(list(clip.frames(0, 12)))
    track = track_faces([frames], clip.times_s[:12], load_face_reader()).choose()
    return read_references(clip, track, np.arange(12), 256, LAYOUT)


def test_free_mouths_all_stay(references):
    assert visible_references(references, LAYOUT).all()


@pytest.mark.parametrize("covered", [[2], [0, 5, 11]])
def test_covered_mouths_are_left_out(references, covered):
    crops = references.crops.copy()
    crops[covered, 175:256, 90:170] = (40, 80, 160)
    kept = visible_references(replace(references, crops=crops), LAYOUT)
    np.testing.assert_array_equal(np.flatnonzero(~kept), covered)


def test_darker_light_is_no_cover(references):
    crops = references.crops.copy()
    crops[[1, 4]] = (crops[[1, 4]] * 0.7).astype(np.uint8)
    assert visible_references(replace(references, crops=crops), LAYOUT).all()


def test_half_of_a_pool_always_stays(references):
    crops = references.crops.copy()
    crops[:] = np.random.default_rng(0).integers(0, 255, crops.shape)
    assert visible_references(replace(references, crops=crops), LAYOUT).sum() >= 6


def test_a_covered_mouth_is_out_of_sight_and_a_turned_head_is_not_called_covered(references):
    gauge = SkinGauge(references, LAYOUT)
    crop, landmarks = references.crops[3].copy(), references.landmarks[3]
    assert gauge.visibility(crop, landmarks) == 1.0
    crop[150:256, 80:180] = (40, 80, 160)
    assert gauge.visibility(crop, landmarks) == 0.0
    turned = (landmarks - 128) * np.float32([0.6, 1.0]) + 128
    assert gauge.visibility(crop, turned) == 1.0
