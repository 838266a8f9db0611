"""What a long run has finished, kept beside its output until that is whole, so that a killed one can go on.

The face's track and the motion are kept whole, and of every frame that was drawn the samples that it changed,
without loss. A run that goes on decodes and encodes from the first frame again, which is quick, through the
same calls as any other: what it writes is what it would have written, bit for bit.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..checkpoint.pretrained import file_sha256
from ..errors import MediaError
from ..face.track import FaceTrack
from ..files import LOCK, take_lock, write_text
from ..media.pixels import layout_of
from ..motion.motion import Motion
from .kept import (
    KeptEdit,
    KeptFrame,
    keep_motion,
    keep_track,
    read_motion,
    read_piece,
    read_track,
    write_piece,
)
from .rendered import Edit, RenderedClip

Made = TypeVar("Made")

FORMAT = "mytalk-run-1"
SUFFIX = ".resume"
STATE = "run.json"
# So many frames at most, and those that are drawn ahead, are drawn a second time.
PIECE_FRAMES = 32


class Journal:
    """What one run has finished, see `opened`; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @classmethod
    @contextmanager
    def opened(cls, output: Path, facts: Mapping[str, str] | None) -> Iterator[Journal]:
        """The journal of a run that writes `output`, in OUTPUT.resume; removed when the block ends well, else
        kept if it holds anything.

        facts: what the run is made of, by the word the user knows it by; all must be as they were. None keeps
        nothing, and removes what another run kept, once the output is whole.
        Raises: MediaError for a folder of another run, of a run that is under way, or that is none.
        """
        folder = folder_of(output)
        if facts is None:
            yield cls(None)
            _discard(folder)
            return
        _check_ours(folder)
        folder.mkdir(exist_ok=True)
        lock = take_lock(folder / LOCK)
        if lock is None:
            raise MediaError(
                f"{output} is being written by another run with --resume: wait for it, or name another output"
            )
        over = False
        try:
            _check_facts(folder, facts)
            yield cls(folder)
            over = True
        finally:
            over = over or not _holds_work(folder)
            if over:
                shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
            if over and os.name == "nt":
                # Nothing that is open can be removed there.
                shutil.rmtree(folder, ignore_errors=True)

    def track(self, make: Callable[[], FaceTrack], number: int) -> FaceTrack:
        """The face of the speaker of a number, as it was kept, or made and kept."""
        return self._once(f"track{number or ''}", make, keep_track, read_track)

    def motion(self, make: Callable[[], Motion], number: int) -> Motion:
        """The motion of the speaker of a number, as it was kept, or made and kept."""
        return self._once(f"motion{number or ''}", make, keep_motion, read_motion)

    def _once(
        self,
        name: str,
        make: Callable[[], Made],
        keep: Callable[[Path, Made], None],
        read: Callable[[Path], Made],
    ) -> Made:
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.safetensors"
        if path.exists():
            with suppress(MediaError):
                return read(path)
        made = make()
        keep(path, made)
        return made

    def edits(self, clip: RenderedClip, rows: np.ndarray) -> Generator[Edit, None, None]:
        """Frames of a clip by number with what is done to them: as it was kept, else drawn and kept."""
        if self.folder is None:
            yield from clip.edits(rows)
            return
        done, fresh = 0, list[KeptEdit]()
        for kept in self._kept(clip, rows):
            yield kept
            done += 1
        with closing(clip.made(KeptEdit.of, rows[done:])) as made:
            for number, edit in enumerate(made, done):
                fresh.append(edit)
                yield edit
                piece, place = divmod(number, PIECE_FRAMES)
                if place == PIECE_FRAMES - 1 or number == len(rows) - 1:
                    write_piece(self._piece(piece), fresh)
                    fresh = []

    def _kept(self, clip: RenderedClip, rows: np.ndarray) -> Iterator[KeptEdit]:
        """What was kept, up to the first piece that was not."""
        layout, piece = layout_of(clip.format_name), list[KeptFrame]()
        for number, picture in enumerate(clip.untouched(rows)):
            place = number % PIECE_FRAMES
            if place == 0:
                length = min(PIECE_FRAMES, len(rows) - number)
                path = self._piece(number // PIECE_FRAMES)
                piece = read_piece(path, length, layout, (clip.height, clip.width))
                if not piece:
                    return
            kept = piece[place]
            yield KeptEdit(picture, [], kept.is_partial, kept.changes, kept.drawn)

    def _piece(self, number: int) -> Path:
        assert self.folder is not None  # else nothing is kept
        return self.folder / f"piece{number:06}.safetensors"


def folder_of(output: Path) -> Path:
    """Where the journal of a run lies that writes `output`."""
    return output.with_name(output.name + SUFFIX)


def files_sha256(paths: Iterable[Path]) -> str:
    """One hash of the content of all."""
    return hashlib.sha256(" ".join(map(file_sha256, paths)).encode()).hexdigest()


def _discard(folder: Path) -> None:
    """Remove what a run that was killed has kept, unless one is under way."""
    with suppress(OSError, MediaError):
        _check_ours(folder)
        lock = take_lock(folder / LOCK) if folder.is_dir() else None
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _holds_work(folder: Path) -> bool:
    """Whether anything is kept that would spare work."""
    return any(folder.glob("*.safetensors"))


def _check_ours(folder: Path) -> None:
    """Raises MediaError where something else than a journal lies there."""
    if not folder.exists() or (folder / STATE).is_file():
        return
    if not folder.is_dir() or any(
        entry.name != LOCK and not entry.name.startswith(".mytalk-") for entry in folder.iterdir()
    ):
        raise MediaError(
            f"a folder of a run with --resume, or nothing, was required, but {folder} is something else: "
            "move it, or name another output"
        )


def _check_facts(folder: Path, facts: Mapping[str, str]) -> None:
    """Raises MediaError where the journal is of a run that was made of something else."""
    path = folder / STATE
    if path.is_file():
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            before = known["facts"] if known["format"] == FORMAT else {}
        except (ValueError, KeyError, TypeError, RecursionError):
            before = {}
        other = [word for word in facts if not isinstance(before, dict) or before.get(word) != facts[word]]
        if not other:
            return
        if _holds_work(folder):
            raise MediaError(
                f"{folder} holds a run with another {', '.join(other)}: give the same as then to go on with "
                "it, or remove that folder to begin anew"
            )
    write_text(path, json.dumps({"format": FORMAT, "facts": dict(facts)}, indent=2) + "\n")
