"""Room on the disk: enough is there before a video is written, and again and again while it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..errors import MediaError

# What no video falls below, bytes a pixel; the most even pictures come near it.
LEAST_BYTES = {"libx264": 0.001, "libvpx-vp9": 0.001, "prores_ks": 0.03, "ffv1": 0.01}
# Left for what else is written at the end: indexes, motion, report.
SPARE_BYTES = 2e6
# Frames between two looks, and how many say what the rest will take; scenes differ, so half of that must be
# there.
LOOK_FRAMES, TELLING_FRAMES, SURE_SHARE = 32, 128, 0.5


class DiskRoom:
    """Watches the disk that a video is written to.

    path: the video, for messages; frames: of it; least_bytes: what it will surely take.
    """

    def __init__(self, path: Path, frames: int, least_bytes: float) -> None:
        self._path, self._frames, self._least = path, frames, least_bytes

    def check(self) -> None:
        """Raises MediaError where the disk cannot hold the video whatever it shows."""
        self._require(self._least)

    def check_on_the_way(self, done: int, temporary: Path) -> None:
        """Look now and then. Raises MediaError where the rest will not fit behind the `done` frames in
        `temporary`.
        """
        if done % LOOK_FRAMES:
            return
        rest = self._frames - done
        told = temporary.stat().st_size / done * rest * SURE_SHARE if done >= TELLING_FRAMES else 0.0
        self._require(max(told, self._least * rest / self._frames))

    def _require(self, wanted: float) -> None:
        free = shutil.disk_usage(self._path.parent).free
        if free < wanted + SPARE_BYTES:
            raise MediaError(
                f"{self._path}: {(wanted + SPARE_BYTES) / 1e6:.0f} MB more were required on the disk, but "
                f"{free / 1e6:.0f} MB are free: make room there, or write elsewhere"
            )
