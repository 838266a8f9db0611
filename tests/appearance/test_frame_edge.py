"""Faces at the frame's edge: what was not seen is not lent, nothing moves there, and a cut mouth stays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn_face import SIZE, drawn, picture, shape

from mytalk_core.appearance.on_device.frame_edge import slowed_at_edge as slowed_together
from mytalk_core.appearance.square.frame_edge import held_at_edge, seen_part, slowed_at_edge
from mytalk_core.face.layout import LandmarkLayout

GREEN = (0, 255, 0)
OPENINGS = (24.0, 16.0, 8.0, 0.0)
# The drawn face's chin hangs 24 units lower when its mouth is open: at 232 units.
BELOW_LIPS, ABOVE_LIPS = 212, 150


@pytest.fixture(scope="module")
def layout():
    return LandmarkLayout.load("mesh478")


def cut_faces(layout, rows):
    """Faces of which only the upper rows are in the frame, whose last one is green: it is what would be
    repeated beyond the edge."""
    shapes = [shape(layout, opening) for opening in OPENINGS]
    frames = [picture(layout, points)[:rows].copy() for points in shapes]
    for frame in frames:
        frame[-1] = GREEN
    return frames, shapes


def green(picture):
    return (picture[..., 1].astype(int) - picture[..., [0, 2]].max(-1)) > 90


def test_chin_beyond_the_edge_is_neither_invented_nor_repeated(layout):
    frames, shapes = cut_faces(layout, BELOW_LIPS)
    edits = drawn(layout, frames, shapes, shapes[::-1])
    assert all(edit.patches for edit in edits)
    for edit in edits:
        # The green row's own light reaches two rows up through the cubic kernel, and no further.
        assert not green(edit.pasted.rgb[:-3]).any()


def test_mouth_that_the_edge_cuts_stays_as_it_is(layout):
    frames, shapes = cut_faces(layout, ABOVE_LIPS)
    edits = drawn(layout, frames, shapes, shapes[::-1])
    assert not any(edit.patches for edit in edits)


def test_mouth_leaving_the_frame_is_counted_frame_by_frame(layout):
    points = [shape(layout, 8) + (0, 6 * step) for step in range(16)]
    frames = [np.roll(picture(layout, shape(layout, 8)), 6 * step, axis=0) for step in range(16)]
    wanted = [shape(layout, 16) + (0, 6 * step) for step in range(16)]
    edited = [bool(edit.patches) for edit in drawn(layout, frames, points, wanted)]
    gone = [shape_[layout.lips_outer, 1].max() >= SIZE for shape_ in points]
    assert any(gone) and not all(gone)
    assert edited == [not one for one in gone]


def test_seen_part_is_what_lies_inside_the_frame():
    assert seen_part((256, 256), np.eye(2, 3)) is None
    # The frame's 100 rows, twice enlarged and moved down by 40 units, cover rows 40 to 240.
    seen = seen_part((100, 256, 3), np.array([[2.0, 0, 0], [0, 2, 40]]))
    assert np.flatnonzero(seen[:, 128]).tolist() == list(range(40, 240))
    turned = seen_part((256, 256), np.array([[0.0, -1, 200], [1, 0, 0]]))
    assert turned[:, 199].all() and not turned[:, 200].any()


def test_landmarks_far_inside_move_freely_and_those_beyond_do_not(layout):
    source, target = (shape(layout, opening).astype(np.float32)[None] for opening in (8, 20))
    upright = np.eye(2, 3)[None]
    np.testing.assert_array_equal(held_at_edge(source, target, upright, (512, 512), layout), target)
    # Far wider than the square, so that only the lower edge is near.
    moved = held_at_edge(source, target, np.array([[[1.0, 0, -128], [0, 1, 0]]]), (196, 512), layout)[0]
    beyond = source[0, :, 1] >= 196
    assert beyond.any()
    np.testing.assert_array_equal(moved[beyond], source[0, beyond])
    lips = np.union1d(layout.lips_outer, layout.lips_inner)
    np.testing.assert_allclose(moved[lips], target[0, lips], atol=1e-4)
    cut = held_at_edge(source, target, np.array([[[1.0, 0, -128], [0, 1, 0]]]), (160, 512), layout)[0]
    np.testing.assert_array_equal(cut, source[0])


def test_skin_between_lips_and_the_edge_is_stretched_by_a_part_of_it_only(layout):
    source, target = (shape(layout, opening).astype(np.float32)[None] for opening in (24, 0))
    outer = layout.lips_outer
    lowest = float(source[0, outer, 1].max())
    far_across = np.array([[[1.0, 0, -128], [0, 1, 0]]])

    def risen(skin):
        held = held_at_edge(source, target, far_across, (round(lowest + skin), 512), layout)
        return lowest - float(held[0, outer, 1].max())

    assert 2 < risen(8) < 0.8 * 8
    # Where more of the chin is seen, the mouth closes.
    assert risen(20) == pytest.approx(lowest - float(target[0, outer, 1].max()), abs=1e-3)


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
def test_nothing_folds_at_the_edge_however_far_it_moves(kind):
    depth = np.arange(64, dtype=np.float32)[::-1].repeat(4).reshape(64, 4)
    # A mouth that closes: its chin rises by 14 units.
    shift = np.dstack([np.zeros_like(depth), np.full_like(depth, 14)])
    if kind == "arrays":
        slowed = slowed_at_edge(shift, depth)[..., 1]
    else:
        moved = torch.from_numpy(shift).movedim(-1, 0)[None]
        slowed = slowed_together(moved, torch.from_numpy(depth)[None, None])[0, 1].numpy()
    read = np.arange(64)[:, None] + slowed
    assert (np.diff(read, axis=0) > 0.2).all() and read.max() <= 63
