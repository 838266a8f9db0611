"""The protocols of section 4.1: which clip speaks what, fixed by a seed, and the record of a run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...files import plain_name, write_text
from ...json_text import read_object, read_rows, text_field
from ...media.container import VIDEO_SUFFIXES

PROTOCOLS = ("paired", "unpaired", "landmarks")
MANIFEST = "manifest.jsonl"
RECORD = "protocol.json"


@dataclass(frozen=True)
class ClipFile:
    """A clip of a test set: its name, which is also its results' file name, and its file."""

    name: str
    path: Path


@dataclass(frozen=True)
class Pair:
    """What is to be made: `clip` speaking the sound of `speech`; the same clip in the paired protocol."""

    clip: ClipFile
    speech: ClipFile


def list_clips(folder: Path, split: str | None = None) -> list[ClipFile]:
    """The clips of a folder: the rows of its manifest.jsonl (id, file, split) that belong to the split, or
    every video in it where there is no manifest.

    split: all rows where None. Raises: FileNotFoundError; ValueError where none is left, or two have one
    name.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder of clips")
    manifest = folder / MANIFEST
    if manifest.is_file():
        clips = read_manifest(manifest, split)
    else:
        videos = sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
        clips = [ClipFile(path.stem, path) for path in videos if not path.name.startswith(".")]
    if not clips:
        raise ValueError(f"{folder} has no video; one of {', '.join(VIDEO_SUFFIXES)} is needed")
    names = [clip.name for clip in clips]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise ValueError(f"{folder} has two clips named {double}: rename one, its result is named after it")
    return clips


def read_manifest(manifest: Path, split: str | None) -> list[ClipFile]:
    """The rows of the split, in the file's order. Raises as `list_clips`."""
    clips, splits = [], set()
    for where, row in read_rows(manifest):
        file = text_field(row, "file", where)
        if file is None:
            raise ValueError(f"{where}: a JSON object with file is needed")
        own = text_field(row, "split", where)
        splits.add(own)
        if split is None or "split" not in row or own == split:
            # Its results are named after it.
            name = plain_name(text_field(row, "id", where) or Path(file).stem, f"{where}, id")
            clips.append(ClipFile(name, manifest.parent / file))
    missing = next((clip for clip in clips if not clip.path.is_file()), None)
    if missing is not None:
        raise FileNotFoundError(f"{missing.path}: named in {manifest.name}, but not there")
    if not clips:
        known = ", ".join(sorted(str(name) for name in splits)) or "no rows"
        raise ValueError(f"{manifest} has no clip of split {split!r}; it has {known}")
    return clips


def derangement(count: int, seed: int) -> np.ndarray:
    """A random permutation int64 (count,) that leaves nothing in place, the same for the same seed.

    By Sattolo's algorithm: one cycle through all. Raises ValueError for fewer than two.
    """
    if count < 2:
        raise ValueError(f"another clip's speech needs two clips or more; got {count}")
    generator, order = np.random.default_rng(seed), np.arange(count)
    for last in range(count - 1, 0, -1):
        other = int(generator.integers(last))
        order[[last, other]] = order[[other, last]]
    return order


def plan_pairs(clips: Sequence[ClipFile], protocol: str, seed: int, limit: int | None = None) -> list[Pair]:
    """Every clip with its speech; the first `limit` of them. The pairing is that of all clips, so that a
    larger limit later adds to what was made."""
    if protocol not in PROTOCOLS:
        raise ValueError(f"a protocol is one of {', '.join(PROTOCOLS)}; got {protocol!r}")
    if limit is not None and limit < 1:
        raise ValueError(f"a limit of 1 clip or more is needed; got {limit}")
    order = derangement(len(clips), seed) if protocol == "unpaired" else np.arange(len(clips))
    pairs = [Pair(clip, clips[other]) for clip, other in zip(clips, order, strict=True)]
    return pairs[:limit]


def open_record(folder: Path, settings: dict) -> dict:
    """The record of the run in a folder: what was there, or a new one of these settings.

    Raises ValueError where results of other settings are there: they must not stand in one table.
    """
    path = folder / RECORD
    if not path.is_file():
        return {**settings, "systems": {}, "pairs": {}, "left_out": {}}
    try:
        record = read_object(path)
        for part in ("systems", "pairs", "left_out"):
            if not isinstance(record.get(part), dict):
                raise ValueError(f"{path}: {part} must be an object")
        for name in (*record["systems"], *record["pairs"]):
            plain_name(name, str(path))
        if not all(isinstance(hashes, dict) for hashes in record["systems"].values()):
            raise ValueError(f"{path}: each of systems must be an object")
    except ValueError as error:
        raise ValueError(f"{path} is not readable ({error}): name another folder") from error
    other = next((key for key, value in settings.items() if record.get(key) != value), None)
    if other is not None:
        raise ValueError(
            f"{folder} holds results made with {other} {record.get(other)!r}, not {settings[other]!r}: name "
            "another folder, or remove it"
        )
    return record


def note_pair(record: dict, pair: Pair, folder: Path) -> None:
    """Enter a clip into the record. ValueError where its result speaks another clip's words by now."""
    entry = {"video": pair.clip.path.name, "speech": pair.speech.name}
    if record["pairs"].setdefault(pair.clip.name, entry) != entry:
        raise ValueError(
            f"{folder} holds a result of {pair.clip.name} made of other files: the clips have changed; name "
            "another folder"
        )


def note_systems(record: dict, systems: dict[str, dict[str, str]], folder: Path) -> None:
    """Enter systems with their weights' hashes. ValueError where one was made with others."""
    for name, hashes in systems.items():
        if record["systems"].setdefault(name, hashes) != hashes:
            raise ValueError(f"{folder} holds results of {name} with other weights: name another folder")


def save_record(folder: Path, record: dict) -> None:
    """Write the record, whole."""
    write_text(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
