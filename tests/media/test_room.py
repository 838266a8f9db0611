"""Room on the disk is looked at before a video is written, and while it is."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from mytalk_core.errors import MediaError
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.room import DiskRoom
from mytalk_core.media.writer import VideoWriter

FRAMES = 200


@pytest.fixture
def clip():
    noise = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3), dtype=np.uint8)
    return ImageClip.from_frames(np.tile(noise, (FRAMES // 4, 1, 1, 1)), 25)


@pytest.fixture
def disk(monkeypatch):
    """A disk of as many bytes as the test says."""
    state = SimpleNamespace(free=1e12)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: state)
    return state


def test_a_disk_that_is_surely_too_small_is_refused_before_the_work(clip, tmp_path, disk):
    disk.free = 1e6
    with pytest.raises(MediaError, match=r"2 MB more were required on the disk, but 1 MB are free"):
        VideoWriter(tmp_path / "out.mkv", clip, codec="ffv1")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_ends_the_work_when_it_is_clear_and_nothing_is_left(clip, tmp_path, disk):
    written = 0
    with (
        pytest.raises(MediaError, match=r"MB more were required .* make room there, or write elsewhere"),
        VideoWriter(tmp_path / "out.mkv", clip, codec="ffv1") as writer,
    ):
        for picture in clip.pictures():
            writer.write(picture)
            written += 1
            # Noise takes 12 kB a frame; half of what the rest will take is no longer there.
            disk.free = 2.1e6
    assert written == 127 and list(tmp_path.iterdir()) == []


def test_a_mask_needs_next_to_nothing(clip, tmp_path, disk):
    disk.free = 2.1e6
    VideoWriter.for_masks(tmp_path / "mask.mkv", clip)


def test_half_of_what_the_rest_will_take_must_be_there(tmp_path, disk):
    half_written = tmp_path / "new.mkv"
    half_written.write_bytes(bytes(1_600_000))
    room = DiskRoom(tmp_path / "out.mkv", 192, 0)
    # 32 frames of 10 kB are to come, beside what is spared for the end.
    for free, fits in ((2.17e6, True), (2.15e6, False)):
        disk.free = free
        if fits:
            room.check_on_the_way(160, half_written)
        else:
            with pytest.raises(MediaError, match="more were required on the disk"):
                room.check_on_the_way(160, half_written)
    # Between two looks, and before enough frames tell.
    room.check_on_the_way(161, half_written)
    room.check_on_the_way(64, half_written)
