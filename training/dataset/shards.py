"""Tar shards of samples, laid out as WebDataset reads them, and random access to their members.

A dataset is a folder of shard-PPPPP-NNNNN.tar (P: the process that wrote it) with index.jsonl: a row a
sample, whose `members` give each member's byte offset and size in the row's shard. A member `KEY.NAME` of a
sample is a plain file of the archive: any tar program unpacks it, any WebDataset reader iterates it.
"""

from __future__ import annotations

import json
import os
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
from safetensors.numpy import load

from mytalk_core.errors import MediaError
from mytalk_core.json_text import read_rows

INDEX_NAME = "index.jsonl"
END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)
OPEN_SHARDS = 64


@dataclass(frozen=True)
class ShardOffset:
    """A byte position in a process's numbered shards."""

    shard: int = 0
    position: int = 0


def shard_name(process: int, number: int) -> str:
    """The file name of a process's shard."""
    return f"shard-{process:05d}-{number:05d}.tar"


class ShardWriter:
    """Appends members to one process's shards, from an offset on; what lies behind it is overwritten.

    A shard grows to `max_bytes` and then some: it is closed where `begin` finds it full, so that all samples
    of one source stay in one shard. Equal members give equal bytes: no time or owner is stored.
    """

    def __init__(
        self, folder: Path, process: int = 0, at: ShardOffset = ShardOffset(), max_bytes: int = 512 << 20
    ):
        self.folder, self.process, self.max_bytes = folder, process, max_bytes
        self._number = at.shard
        self._file = self._open(at.position)

    @property
    def offset(self) -> ShardOffset:
        """Where the next member goes."""
        return ShardOffset(self._number, self._file.tell())

    @property
    def name(self) -> str:
        """The current shard's file name."""
        return shard_name(self.process, self._number)

    def _open(self, position: int) -> IO[bytes]:
        path = self.folder / self.name
        path.touch()
        file = path.open("r+b")
        file.truncate(position)
        file.seek(position)
        return file

    def begin(self) -> ShardOffset:
        """Start a source's samples: go on in the current shard, or in the next where it is full."""
        if self._file.tell() >= self.max_bytes:
            self.close()
            self._number += 1
            self._file = self._open(0)
        return self.offset

    def add(self, name: str, data: bytes) -> tuple[int, int]:
        """Append a member; its data's (byte offset, size) in the shard."""
        header = tarfile.TarInfo(name)
        header.size = len(data)
        self._file.write(header.tobuf(tarfile.USTAR_FORMAT))
        offset = self._file.tell()
        self._file.write(data)
        self._file.write(bytes(-len(data) % tarfile.BLOCKSIZE))
        return offset, len(data)

    def roll_back(self, offset: ShardOffset) -> None:
        """Forget members added since `offset`, which lies in the current shard."""
        self._file.flush()
        self._file.truncate(offset.position)
        self._file.seek(offset.position)

    def checksum(self, start: int) -> int:
        """CRC-32 of the current shard from `start` to here, once it is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return checksum(self.folder / self.name, start, self._file.tell())

    def close(self) -> None:
        """End the archive; members added so far stay where they are."""
        self._file.write(END_OF_ARCHIVE)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def checksum(path: Path, start: int, stop: int) -> int:
    """CRC-32 of a file's bytes start..stop-1; -1 if it has fewer."""
    value, left = 0, stop - start
    with path.open("rb") as file:
        file.seek(start)
        while left and (block := file.read(min(left, 1 << 20))):
            value = zlib.crc32(block, value)
            left -= len(block)
    return -1 if left else value


class ShardDataset:
    """Samples of a prepared dataset, read at random. Cheap to hand to DataLoader workers: files are opened
    where they are first read, in each process anew. One object is for one thread at a time."""

    def __init__(self, folder: Path, samples: list[dict[str, Any]]):
        self.folder, self.samples = folder, samples
        self._files: dict[str, IO[bytes]] = {}
        self._process = os.getpid()

    @classmethod
    def open(cls, folder: str | Path) -> ShardDataset:
        """The dataset of that folder, its rows sorted by key.

        Raises FileNotFoundError if it has no index, MediaError if the index is damaged.
        """
        path = Path(folder) / INDEX_NAME
        if not path.is_file():
            raise FileNotFoundError(
                f"{folder} is not a prepared dataset, it has no {INDEX_NAME}: run mytalk prepare FOLDER -o "
                f"{folder}, to its end"
            )
        try:
            rows = [row for _, row in read_rows(path)]
        except ValueError as error:
            raise MediaError(f"{path} is damaged ({error}): run mytalk prepare again") from error
        return cls(Path(folder), rows)

    def __len__(self) -> int:
        return len(self.samples)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_files": {}}

    def read(self, row: dict[str, Any], member: str) -> bytes:
        """A member's bytes: "json", "motion.safetensors", "track.safetensors", "000123.jpg".

        Raises ValueError if the sample has no such member, MediaError if the shard is shorter than its index.
        """
        if member not in row["members"]:
            raise ValueError(f"sample {row['key']} has no member {member}: it has {_brief(row['members'])}")
        offset, size = row["members"][member]
        file = self._shard(row["shard"])
        file.seek(offset)
        data = file.read(size)
        if len(data) < size:
            raise MediaError(
                f"{self.folder / row['shard']} is shorter than the index says: run mytalk prepare again"
            )
        return data

    def facts(self, row: dict[str, Any]) -> dict[str, Any]:
        """The sample's facts, from its JSON member."""
        return json.loads(self.read(row, "json"))

    def tensors(self, row: dict[str, Any], member: str) -> dict[str, np.ndarray]:
        """The arrays of a safetensors member."""
        return load(self.read(row, member))

    def crop_frames(self, row: dict[str, Any]) -> np.ndarray:
        """Frame numbers (K,) of the sample that have a crop, increasing; indices into its track."""
        return np.array([int(name[:-4]) for name in row["members"] if name.endswith(".jpg")], np.int64)

    def crop(self, row: dict[str, Any], frame: int) -> np.ndarray:
        """The canonical crop of a frame: uint8 RGB (S,S,3); ValueError if it is damaged."""
        data = np.frombuffer(self.read(row, crop_member(frame)), np.uint8)
        bgr = cv2.imdecode(data, cv2.IMREAD_COLOR)
        if bgr is None:
            raise ValueError(f"{row['key']}: the crop of frame {frame} is no JPEG; prepare the dataset again")
        return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    def _shard(self, name: str) -> IO[bytes]:
        if self._process != os.getpid():
            # A forked worker shares its parent's file positions: it must not read through them.
            self._files, self._process = {}, os.getpid()
        if name not in self._files:
            if len(self._files) >= OPEN_SHARDS:
                self._files.pop(next(iter(self._files))).close()
            self._files[name] = (self.folder / name).open("rb")
        return self._files[name]


def crop_member(frame: int) -> str:
    """The member name of a frame's crop."""
    return f"{frame:06d}.jpg"


def _brief(members: dict[str, Any]) -> str:
    names = [name for name in members if not name.endswith(".jpg")]
    return ", ".join(names) + f" and {len(members) - len(names)} crops"
