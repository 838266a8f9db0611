"""`Motion`: interpolation in time, and its file."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from mytalk_core.errors import MediaError
from mytalk_core.motion.motion import Motion

POINTS = np.array([3, 1])


def ramp(frames: int = 6) -> Motion:
    """Two points, the second twice as fast as the first."""
    speed = np.array([[1.0, 10.0], [2.0, 20.0]], dtype=np.float32)
    return Motion(np.arange(frames, dtype=np.float32)[:, None, None] * speed, "mesh478", POINTS)


def test_interpolates_between_frames_and_holds_the_ends():
    motion = ramp()
    at = motion.at(np.array([-1.0, 0.0, 0.06, 0.2, 9.0]))
    assert at.dtype == np.float32
    np.testing.assert_allclose(at[:, 1, 1], [0, 0, 30, 100, 100], rtol=1e-6)
    np.testing.assert_allclose(motion.at(motion.times_s), motion.landmarks, rtol=1e-6)
    assert Motion(motion.landmarks[:1], "mesh478", POINTS).at(np.array([0.0, 3.0])).shape == (2, 2, 2)


def test_only_its_points_move_in_the_source():
    source = np.full((2, 5, 2), -1.0)
    moved = ramp().onto(source, np.array([0.04, 0.08]))
    np.testing.assert_allclose(moved[:, 3], [[1, 10], [2, 20]])
    np.testing.assert_allclose(moved[:, 1], [[2, 20], [4, 40]])
    assert (moved[:, [0, 2, 4]] == -1).all()
    assert (source == -1).all()


def test_file_round_trip(tmp_path):
    motion = Motion(ramp().landmarks, "dense669", POINTS, rate_hz=30.0)
    motion.save(tmp_path / "m.safetensors")
    back = Motion.load(tmp_path / "m.safetensors")
    assert (back.layout, back.rate_hz) == ("dense669", 30.0)
    np.testing.assert_array_equal(back.landmarks, motion.landmarks)
    np.testing.assert_array_equal(back.points, POINTS)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    with pytest.raises(FileNotFoundError, match="other.safetensors"):
        Motion.load(path)
    save_file({"landmarks": ramp().landmarks}, path)
    with pytest.raises(MediaError, match="not a motion file"):
        Motion.load(path)
    save_file({"landmarks": ramp().landmarks}, path, {"motion": '{"format_version": 99}'})
    with pytest.raises(MediaError, match="motion format 99"):
        Motion.load(path)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(MediaError, match="not a readable motion file"):
        Motion.load(path)


@pytest.mark.parametrize(
    ("landmarks", "message"),
    [
        (np.zeros((0, 2, 2), np.float32), "at least one frame"),
        (np.zeros((3, 2, 3), np.float32), r"\(F, P, 2\) with P = 2"),
        (np.zeros((3, 3, 2), np.float32), r"\(F, P, 2\) with P = 2"),
        (np.zeros((3, 2, 2)), "float32"),
    ],
)
def test_wrong_landmarks_are_refused(landmarks, message):
    with pytest.raises(ValueError, match=message):
        Motion(landmarks, "mesh478", POINTS)
