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
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..checkpoint.pretrained import file_sha256
from ..errors import MediaError
from ..face.packed import PackedLandmarks
from ..face.track import FaceTrack
from ..files import LOCK, take_lock, write_text
from ..media.colour import Box
from ..media.patch import trim
from ..media.picture import Picture
from ..media.pixels import PixelLayout, copy_frame, layout_of, planes_of
from ..motion.motion import Motion
from ..tensor_files import FileKind, read_metadata, read_tensors, write_tensors
from .rendered import Edit, RenderedClip

Made = TypeVar("Made")

FORMAT = "mytalk-run-1"
SUFFIX = ".resume"
STATE = "run.json"
# So many frames at most, and those that are drawn ahead, are drawn a second time.
PIECE_FRAMES = 32
# What a piece says of a frame beside 0, it was not edited, and 1, it was.
PARTIAL = 2
TRACK = FileKind(
    "track of a run",
    "--resume",
    {
        "steps": (("I16",), ("T", "N", 3)),
        "centre": (("F32",), ("T", 1, 3)),
        "unit": (("F32",), ("T", 1, 1)),
        "present": (("U8",), ("T",)),
        "similarity": (("F32",), ("T", 2, 3)),
        "times_s": (("F64", "F32"), ("T",)),
        "shots": (("I32",), ("T",)),
    },
)
MOTION = FileKind(
    "motion of a run", "--resume", {"landmarks": (("F32",), ("F", "P", 2)), "points": (("I64",), ("P",))}
)
PIECE = FileKind(
    "piece of a run",
    "--resume",
    {"edited": (("U8",), ("F",)), "boxes": (("I32",), ("P", 5)), "samples": (("U8",), ("B",))},
)


@dataclass(frozen=True, eq=False)
class Change:
    """What a patch did to a frame.

    box: (top, left, bottom, right) px; planes: each plane's new samples in it; coverage: uint8 (h, w), how
    much of every pixel is new.
    """

    box: Box
    planes: list[np.ndarray]
    coverage: np.ndarray


# Of a frame: whether it is partly covered, what changed, and whether it was drawn.
Kept = tuple[bool, list[Change], bool]


@dataclass(frozen=True)
class KeptEdit(Edit):
    """An edit whose result is known: the samples it changed. drawn: whether patches were pasted."""

    changes: list[Change]
    drawn: bool

    @staticmethod
    def of(edit: Edit) -> KeptEdit:
        """Paste an edit, and keep what that changed."""
        picture, pasted, changes = edit.picture, planes_of(edit.pasted.frame), []
        layout, mask = layout_of(picture.format_name), edit.mask()
        for whole in edit.patches:
            patch = trim(whole, picture.height, picture.width)
            if patch is None:
                continue
            height, width = patch.alpha.shape
            box = (patch.top, patch.left, patch.top + height, patch.left + width)
            planes = [plane[_window(box, layout, number)].copy() for number, plane in enumerate(pasted)]
            changes.append(Change(box, planes, mask[_window(box, layout, 0)].copy()))
        return KeptEdit(picture, [], edit.is_partial, changes, edit.is_edited)

    @property
    def is_edited(self) -> bool:
        """See `Edit.is_edited`."""
        return self.drawn

    @property
    def pasted(self) -> Picture:
        """See `Edit.pasted`; made anew each time: a piece waits until it is whole, its pictures need not."""
        if not self.changes:
            return self.picture
        frame = copy_frame(self.picture.frame)
        planes, layout = planes_of(frame), layout_of(self.picture.format_name)
        for change in self.changes:
            for number, samples in enumerate(change.planes):
                planes[number][_window(change.box, layout, number)] = samples
        return Picture(self.picture.index, frame, self.picture.colour, self.picture.converter)

    def mask(self) -> np.ndarray:
        """See `Edit.mask`."""
        mask = np.zeros((self.picture.height, self.picture.width), np.uint8)
        for top, left, bottom, right, coverage in ((*c.box, c.coverage) for c in self.changes):
            mask[top:bottom, left:right] = coverage
        return mask


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

    def track(self, make: Callable[[], FaceTrack], number: int = 0) -> FaceTrack:
        """The face of a speaker, as it was kept, or made and kept."""
        return self._once(f"track{number or ''}", make, _keep_track, _read_track)

    def motion(self, make: Callable[[], Motion], number: int = 0) -> Motion:
        """The motion of a speaker, as it was kept, or made and kept."""
        return self._once(f"motion{number or ''}", make, _keep_motion, _read_motion)

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
                    _write_piece(self._piece(piece), fresh)
                    fresh = []

    def _kept(self, clip: RenderedClip, rows: np.ndarray) -> Iterator[KeptEdit]:
        """What was kept, up to the first piece that was not."""
        layout, piece = layout_of(clip.format_name), list[Kept]()
        for number, picture in enumerate(clip.untouched(rows)):
            place = number % PIECE_FRAMES
            if place == 0:
                length = min(PIECE_FRAMES, len(rows) - number)
                path = self._piece(number // PIECE_FRAMES)
                piece = _read_piece(path, length, layout, (clip.height, clip.width))
                if not piece:
                    return
            yield KeptEdit(picture, [], *piece[place])

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


def _keep(path: Path, tensors: dict[str, np.ndarray], facts: dict[str, str]) -> None:
    """Write a file of the journal, sealed: a bit that turned would be drawn otherwise."""
    write_tensors(path, tensors, facts | {"seal": _seal(tensors, facts)})


def _kept(path: Path, kind: FileKind) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What `_keep` wrote. Raises MediaError for anything else."""
    tensors, facts = read_tensors(path, kind), read_metadata(path, kind)
    if facts.pop("seal", "") != _seal(tensors, facts):
        raise kind.refusal(path, "its seal is broken")
    return tensors, facts


def _seal(tensors: dict[str, np.ndarray], facts: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape}".encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _keep_track(path: Path, track: FaceTrack) -> None:
    tensors = {name: getattr(track, name) for name in ("similarity", "times_s", "shots")}
    tensors |= track.landmarks.parts | {"present": track.present.astype(np.uint8)}
    _keep(path, tensors, {"layout": track.layout})


def _read_track(path: Path) -> FaceTrack:
    tensors, facts = _kept(path, TRACK)
    landmarks = PackedLandmarks.from_parts(*(tensors.pop(name) for name in ("steps", "centre", "unit")))
    return FaceTrack(landmarks, tensors.pop("present").astype(bool), layout=facts["layout"], **tensors)


def _keep_motion(path: Path, motion: Motion) -> None:
    tensors = {"landmarks": motion.landmarks, "points": np.asarray(motion.points, np.int64)}
    _keep(path, tensors, {"layout": motion.layout, "rate_hz": repr(motion.rate_hz)})


def _read_motion(path: Path) -> Motion:
    tensors, facts = _kept(path, MOTION)
    return Motion(tensors["landmarks"], facts["layout"], tensors["points"], float(facts["rate_hz"]))


def _write_piece(path: Path, edits: list[KeptEdit]) -> None:
    boxes = [(number, *change.box) for number, edit in enumerate(edits) for change in edit.changes]
    parts = [
        plane for edit in edits for change in edit.changes for plane in (change.coverage, *change.planes)
    ]
    # Differences along the rows pack to half of what the samples do.
    data = b"".join(np.diff(part, axis=1, prepend=part.dtype.type(0)).tobytes() for part in parts)
    tensors: dict[str, np.ndarray] = {
        "edited": np.array([PARTIAL if edit.is_partial else edit.drawn for edit in edits], np.uint8),
        "boxes": np.array(boxes, np.int32).reshape(-1, 5),
        "samples": np.frombuffer(zlib.compress(data, 1), np.uint8),
    }
    _keep(path, tensors, {})


def _read_piece(path: Path, length: int, layout: PixelLayout, size: tuple[int, int]) -> list[Kept]:
    """For each of `length` frames of `size` (height, width) whether it is partly covered, what changed, and
    whether it was drawn; empty where the piece is not there or damaged."""
    if not path.exists():
        return []
    try:
        tensors, _ = _kept(path, PIECE)
        data = memoryview(zlib.decompress(tensors["samples"].tobytes()))
    except (MediaError, zlib.error):
        return []
    frames: list[Kept] = [(edited == PARTIAL, [], edited > 0) for edited in tensors["edited"].tolist()]
    boxes = tensors["boxes"]
    if len(frames) != length or not _fit(boxes, length, size):
        return []
    position = 0
    for number, *box in boxes.tolist():
        planes: list[np.ndarray] = []
        for plane in (0, *range(layout.planes)):
            dtype = np.dtype(np.uint8) if not planes else layout.dtype
            rows, columns = _window(tuple(box), layout, plane)
            height, width = rows.stop - rows.start, columns.stop - columns.start
            count = height * width * dtype.itemsize
            if position + count > len(data):
                return []
            steps = np.frombuffer(data[position : position + count], dtype).reshape(height, width)
            planes.append(np.cumsum(steps, axis=1, dtype=dtype))
            position += count
        frames[number][1].append(Change(tuple(box), planes[1:], planes[0]))
    return frames


def _fit(boxes: np.ndarray, length: int, size: tuple[int, int]) -> bool:
    """Whether boxes (P,5) of frame, top, left, bottom, right lie in `length` frames of that size."""
    number, top, left, bottom, right = boxes.T
    inside = (number >= 0) & (number < length) & (top >= 0) & (left >= 0)
    return bool((inside & (top < bottom) & (left < right) & (bottom <= size[0]) & (right <= size[1])).all())


def _window(box: tuple[int, ...], layout: PixelLayout, plane: int) -> tuple[slice, slice]:
    """The rows and columns of a plane that a box of pixels touches."""
    top, left, bottom, right = box
    chroma = plane in (1, 2) and not layout.is_gray
    step_y, step_x = (layout.step_y, layout.step_x) if chroma else (1, 1)
    return slice(top // step_y, -(-bottom // step_y)), slice(left // step_x, -(-right // step_x))
