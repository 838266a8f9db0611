"""What a node has drawn, kept on disk for whoever reads its video, images or mask next."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np

from ..mytalk_core.media.patch import Patch

# The most that one node keeps, and what stays free on the disk.
MOST_BYTES, SPARE_BYTES = 4 << 30, 2 << 30


@dataclass(frozen=True)
class StoredPatch:
    """Where in the file a patch lies, and what it is."""

    offset: int
    top: int
    left: int
    shape: tuple[int, ...]
    dtype: np.dtype


class KeptPatches:
    """The patches of a rendered clip by output frame, in a file without a name: it is gone with this object.

    What does not fit (`MOST_BYTES`, `SPARE_BYTES`) is not kept, and drawn again when it is read again.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # Open as long as this object is there.
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115
        self._entries: dict[int, list[StoredPatch]] = {}
        self._end = 0
        self._lock = threading.Lock()

    def get(self, row: int) -> list[Patch] | None:
        """The patches of an output frame, None where they are not kept."""
        with self._lock:
            entries = self._entries.get(row)
            return None if entries is None else [self._read(entry) for entry in entries]

    def put(self, row: int, patches: list[Patch]) -> None:
        """Keep a frame's patches where there is room."""
        size = sum(patch.rgb.nbytes + patch.alpha.nbytes for patch in patches)
        with self._lock:
            if row in self._entries:
                return
            try:
                if not self._has_room(size):
                    return
                self._file.seek(self._end)
                entries = [self._write(patch) for patch in patches]
                self._file.flush()
            except OSError:
                # A full disk, or another server has emptied the temp folder, as each does when it starts and
                # ends: the frames that are in the file stay good, this one is drawn again.
                return
            self._entries[row] = entries
            self._end += size

    def _has_room(self, size: int) -> bool:
        free = shutil.disk_usage(self._folder).free
        return self._end + size <= MOST_BYTES and free - size >= SPARE_BYTES

    def _write(self, patch: Patch) -> StoredPatch:
        entry = StoredPatch(self._file.tell(), patch.top, patch.left, patch.rgb.shape, patch.rgb.dtype)
        self._file.write(np.ascontiguousarray(patch.rgb).data)
        self._file.write(np.ascontiguousarray(patch.alpha, np.float32).data)
        return entry

    def _read(self, entry: StoredPatch) -> Patch:
        self._file.seek(entry.offset)
        rgb = self._array(entry.shape, entry.dtype)
        return Patch(entry.top, entry.left, rgb, self._array(entry.shape[:2], np.dtype(np.float32)))

    def _array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        data = bytearray(self._file.read(int(np.prod(shape)) * dtype.itemsize))
        return np.frombuffer(data, dtype).reshape(shape)
