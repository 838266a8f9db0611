"""What a preparation has finished, so that it can be killed at any time and goes on where it stopped.

Each process keeps DATASET/journal/PPPPP.jsonl, a line a source: written once all its samples are on the disk,
never before. What lies in a shard behind the last line does not count and is overwritten.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mytalk_core.files import write_text

from .shards import END_OF_ARCHIVE, ShardOffset, checksum, shard_name

FOLDER = "journal"


@dataclass(frozen=True)
class Entry:
    """A finished source: its key and path, where its samples lie, their index rows, each shot's figures.

    start, stop: bytes in shard number `shard`, with their CRC-32; shots: a row a shot (or one for the whole
    source) with `why` it was left out, None where it became a sample.
    """

    key: str
    source: str
    shard: int = 0
    start: int = 0
    stop: int = 0
    crc32: int = 0
    samples: list[dict[str, Any]] = field(default_factory=list)
    shots: list[dict[str, Any]] = field(default_factory=list)


class Journal:
    """One process's journal, and reading of all of them."""

    def __init__(self, folder: Path, process: int):
        self.folder, self.process = folder, process
        self.path = journal_path(folder, process)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.entries = repair(folder, process)

    @property
    def offset(self) -> ShardOffset:
        """Where the process's next sample goes."""
        last = max(((e.shard, e.stop) for e in self.entries), default=(0, 0))
        return ShardOffset(*last)

    def append(self, entry: Entry) -> None:
        """Note a source as finished; its samples must be on the disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries.append(entry)


def journal_path(folder: Path, process: int) -> Path:
    """The file of a process's journal."""
    return folder / FOLDER / f"{process:05d}.jsonl"


def journalled(folder: Path) -> list[int]:
    """Numbers of the processes that have a journal."""
    return sorted(int(path.stem) for path in (folder / FOLDER).glob("*.jsonl") if path.stem.isdigit())


def read_entries(path: Path) -> Iterator[Entry]:
    """A journal's whole lines; one that was cut short by a crash, and what follows it, do not count."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError, RecursionError):
            return


def all_entries(folder: Path) -> list[Entry]:
    """What all processes have finished, a source once, sorted by key."""
    entries = {
        e.key: e for process in journalled(folder) for e in read_entries(journal_path(folder, process))
    }
    return [entries[key] for key in sorted(entries)]


def repair(folder: Path, process: int) -> list[Entry]:
    """Bring a process's journal and shards back to what is whole in both; the entries that remain.

    Entries whose bytes are missing or changed are taken back: their sources will be prepared again. Of the
    last shard every byte is checked, of the others their length. Shards end where their last entry does.
    """
    path = journal_path(folder, process)
    entries = list(read_entries(path))
    last = max((e.shard for e in entries), default=0)
    whole: list[Entry] = []
    for shard in _shards(folder, process, entries):
        good: list[Entry] = []
        for entry in entries:
            if folder / shard_name(process, entry.shard) != shard:
                continue
            if not _is_whole(shard, entry, check=entry.shard == last):
                break
            good.append(entry)
        whole += good
        _end_at(shard, max((e.stop for e in good), default=0))
    text = "".join(json.dumps(asdict(e)) + "\n" for e in entries if e in whole)
    if path.exists() and path.read_bytes() != text.encode():
        write_text(path, text)
    return [e for e in entries if e in whole]


def _shards(folder: Path, process: int, entries: list[Entry]) -> list[Path]:
    """A process's shards, those that entries name and those that are there."""
    there = folder.glob(shard_name(process, 0).replace("00000.tar", "*.tar"))
    return sorted({folder / shard_name(process, e.shard) for e in entries} | set(there))


def _is_whole(shard: Path, entry: Entry, check: bool) -> bool:
    if entry.start == entry.stop:
        return True
    if not shard.exists() or shard.stat().st_size < entry.stop:
        return False
    return not check or checksum(shard, entry.start, entry.stop) == entry.crc32


def _end_at(shard: Path, stop: int) -> None:
    """Cut an archive behind its last whole member; nothing is touched where it ends there."""
    if not shard.exists() or shard.stat().st_size == stop + len(END_OF_ARCHIVE):
        return
    if stop == 0:
        shard.unlink()
        return
    with shard.open("r+b") as file:
        file.truncate(stop)
        file.seek(stop)
        file.write(END_OF_ARCHIVE)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file for this process; the operating system lets go of it however the process ends.

    Raises ValueError if another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path).acquire(timeout=0)
    except Timeout as error:
        raise ValueError(
            f"{path.parent.parent} is being prepared by another run: wait for it, or choose another -o"
        ) from error
    with lock:
        yield
