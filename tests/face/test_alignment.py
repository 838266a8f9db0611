"""Similarities, poses and packed landmarks undo themselves."""

from __future__ import annotations

import numpy as np
import pytest

from mytalk_core.face import alignment
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.packed import PackedLandmarks
from mytalk_core.face.track import build_track

LAYOUT = LandmarkLayout.load("mesh478")


def turned(yaw: float, roll: float) -> np.ndarray:
    cy, sy, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(roll), np.sin(roll)
    return np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]]) @ np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])


def test_similarity_is_found_and_inverted_exactly():
    rng = np.random.default_rng(0)
    points = LAYOUT.template[:, :2].astype(np.float64)
    wanted = np.array([[[0.8, -0.3, 12.0], [0.3, 0.8, -40.0]]])
    frame = alignment.apply(alignment.invert(wanted), points[None])
    found = alignment.fit_similarity(frame, points)
    np.testing.assert_allclose(found, wanted, atol=1e-9)
    other = rng.normal(size=(1, 50, 2)) * 500
    np.testing.assert_allclose(
        alignment.apply(alignment.invert(found), alignment.apply(found, other)), other, atol=1e-8
    )


def test_pose_is_taken_out_and_put_back():
    shape = LAYOUT.template.astype(np.float64)
    rotation = turned(0.5, -0.3)
    landmarks = (2.5 * shape @ rotation.T + [300, 200, 10])[None]
    pose = alignment.fit_pose(landmarks, shape, LAYOUT.anchors)
    np.testing.assert_allclose(pose.rotation[0], rotation, atol=1e-5)
    np.testing.assert_allclose(pose.to_frontal(landmarks)[0], shape, atol=1e-3)
    np.testing.assert_allclose(pose.to_frame(shape)[0], landmarks[0], atol=1e-3)


def test_smoothing_stops_at_a_cut_and_calms_jitter():
    rng = np.random.default_rng(1)
    clean = np.tile(np.eye(2, 3), (60, 1, 1))
    clean[30:, :, 2] += 100.0
    noisy = clean.copy()
    noisy[:, :, 2] += rng.normal(0, 1.0, (60, 2))
    times_s, shots = np.arange(60) / 25, np.repeat([0, 1], 30)
    smooth = alignment.smooth_similarity(noisy, times_s, shots)
    assert np.abs(smooth - clean)[:, :, 2].std() < 0.6 * np.abs(noisy - clean)[:, :, 2].std()
    assert np.abs(smooth - clean).max() < 5, "the jump of 100 px must not leak over the cut"


@pytest.mark.parametrize("turn", [0.7, np.pi - 0.01])
def test_a_head_at_any_angle_is_smoothed_at_its_own_angle_and_size(turn):
    rng = np.random.default_rng(1)
    noisy_turn, scale = turn + rng.normal(0, 0.02, 60), np.exp(rng.normal(0, 0.02, 60))
    noisy = np.zeros((60, 2, 3))
    noisy[:, 0, 0] = noisy[:, 1, 1] = scale * np.cos(noisy_turn)
    noisy[:, 1, 0] = scale * np.sin(noisy_turn)
    noisy[:, 0, 1] = -noisy[:, 1, 0]
    segments = np.where(np.arange(60) < 50, 0, -1)
    smooth = alignment.smooth_similarity(noisy, np.arange(60) / 25, segments)
    away = [np.abs(some[:50, 0, 0] + 1j * some[:50, 1, 0] - np.exp(1j * turn)) for some in (smooth, noisy)]
    assert away[0].mean() < 0.6 * away[1].mean()
    np.testing.assert_array_equal(smooth[50:], noisy[50:])


@pytest.mark.parametrize("cut", [False, True])
def test_a_track_is_smoothed_neither_over_a_gap_nor_over_a_cut(cut):
    landmarks, present = np.repeat(LAYOUT.template[None], 20, 0), np.ones(20, bool)
    landmarks[10:] += [100, 0, 0]
    present[[8, 9, 10, 19]] = cut
    shots = np.repeat([0, 1], 10) if cut else np.zeros(20, int)
    track = build_track(PackedLandmarks.pack(landmarks), present, np.arange(20) / 25, shots)
    # An absent frame has the nearest one's.
    first_of_the_second = 10 if cut else 9
    shift = np.where(np.arange(20) < first_of_the_second, 0, -100)
    np.testing.assert_allclose(track.similarity[:, 0, 2], shift, atol=0.05)
    assert np.array_equal(track.present, present) and np.array_equal(track.shots, shots)


def test_packed_landmarks_keep_a_fiftieth_of_a_pixel():
    rng = np.random.default_rng(2)
    landmarks = rng.uniform(200, 1200, (5, 478, 3)).astype(np.float32)
    packed = PackedLandmarks(8, 478)
    packed[np.arange(5)] = landmarks
    assert np.abs(packed[:5] - landmarks).max() < 0.02
    assert not packed[7].any(), "frames never written read as zeros"
    points = np.array([3, 77])
    np.testing.assert_array_equal(packed.of(points, np.array([4, 1])), packed[np.array([4, 1])][:, points])
    np.testing.assert_array_equal(packed.select(np.array([2, 2]))[1], packed[2])


@pytest.mark.parametrize("name", ["mesh478", "dense669"])
def test_layouts_are_consistent(name):
    layout = LandmarkLayout.load(name)
    assert np.isin(layout.lower, layout.compact).all() and np.isin(layout.lips, layout.lower).all()
    assert len(layout.compact) + len(layout.remaining) == layout.points
    assert (layout.mirror[layout.mirror] == np.arange(layout.points)).all()
    flipped = layout.template[layout.mirror] * [-1, 1, 1] + [256, 0, 0]
    assert np.abs(flipped - layout.template).max() < 0.5
    assert not np.isin(layout.anchors, layout.lower).any(), "what speech moves must not hold the face still"


def test_dense_layout_has_the_papers_counts_and_follows_the_mesh():
    layout = LandmarkLayout.load("dense669")
    assert (layout.points, len(layout.compact), len(layout.remaining)) == (669, 411, 258)
    moved = LAYOUT.template[None] * 1.5 + 7
    np.testing.assert_allclose(layout.from_source(moved)[0], layout.template * 1.5 + 7, atol=2e-3)


def test_unknown_layout_names_those_that_exist():
    with pytest.raises(ValueError, match="dense669, mesh478"):
        LandmarkLayout.load("mesh68")
