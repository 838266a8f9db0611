"""The files in which a run keeps what it has finished: a face's track, a motion, a piece of drawn frames.

Of every frame that was drawn a piece has the samples that were changed, without loss. Each file has a seal.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from ..errors import MediaError
from ..face.packed import PackedLandmarks
from ..face.track import FaceTrack
from ..media.colour import Box
from ..media.patch import trim
from ..media.picture import Picture
from ..media.pixels import PixelLayout, copy_frame, layout_of, planes_of
from ..motion.motion import Motion
from ..tensor_files import FileKind, read_metadata, read_tensors, write_tensors
from .rendered import Edit

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


@dataclass(frozen=True, eq=False)
class KeptFrame:
    """What a piece says of a frame: whether it is partly covered, what changed, and whether it was drawn."""

    is_partial: bool
    changes: list[Change]
    drawn: bool


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
        for change in self.changes:
            top, left, bottom, right = change.box
            mask[top:bottom, left:right] = change.coverage
        return mask


def keep_track(path: Path, track: FaceTrack) -> None:
    """Write a face's track, whole or not at all."""
    tensors = {name: getattr(track, name) for name in ("similarity", "times_s", "shots")}
    tensors |= track.landmarks.parts | {"present": track.present.astype(np.uint8)}
    _keep(path, tensors, {"layout": track.layout})


def read_track(path: Path) -> FaceTrack:
    """What `keep_track` wrote. Raises MediaError for anything else."""
    tensors, facts = _kept(path, TRACK)
    landmarks = PackedLandmarks.from_parts(*(tensors.pop(name) for name in ("steps", "centre", "unit")))
    return FaceTrack(landmarks, tensors.pop("present").astype(bool), layout=facts["layout"], **tensors)


def keep_motion(path: Path, motion: Motion) -> None:
    """Write a motion, whole or not at all."""
    tensors = {"landmarks": motion.landmarks, "points": np.asarray(motion.points, np.int64)}
    _keep(path, tensors, {"layout": motion.layout, "rate_hz": repr(motion.rate_hz)})


def read_motion(path: Path) -> Motion:
    """What `keep_motion` wrote. Raises MediaError for anything else."""
    tensors, facts = _kept(path, MOTION)
    return Motion(tensors["landmarks"], facts["layout"], tensors["points"], float(facts["rate_hz"]))


def write_piece(path: Path, edits: list[KeptEdit]) -> None:
    """Write frames that follow each other, whole or not at all."""
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


def read_piece(path: Path, length: int, layout: PixelLayout, size: tuple[int, int]) -> list[KeptFrame]:
    """What a piece says of each of `length` frames of `size` (height, width); empty where it is not there or
    damaged."""
    if not path.exists():
        return []
    try:
        tensors, _ = _kept(path, PIECE)
        data = BytesIO(zlib.decompress(tensors["samples"].tobytes()))
        frames = [KeptFrame(edited == PARTIAL, [], edited > 0) for edited in tensors["edited"].tolist()]
        if len(frames) != length or not _fit(tensors["boxes"], length, size):
            return []
        for number, *box in tensors["boxes"].tolist():
            coverage = _read_samples(data, _window(box, layout, 0), np.dtype(np.uint8))
            windows = [_window(box, layout, plane) for plane in range(layout.planes)]
            planes = [_read_samples(data, window, layout.dtype) for window in windows]
            frames[number].changes.append(Change(tuple(box), planes, coverage))
    except (MediaError, zlib.error, EOFError):
        return []
    return frames


def _read_samples(data: BytesIO, window: tuple[slice, slice], dtype: np.dtype) -> np.ndarray:
    """The next samples of a piece, as many as a window has. Raises EOFError where there are fewer."""
    height, width = (side.stop - side.start for side in window)
    steps = data.read(height * width * dtype.itemsize)
    if len(steps) < height * width * dtype.itemsize:
        raise EOFError
    return np.cumsum(np.frombuffer(steps, dtype).reshape(height, width), axis=1, dtype=dtype)


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


def _fit(boxes: np.ndarray, length: int, size: tuple[int, int]) -> bool:
    """Whether boxes (P,5) of frame, top, left, bottom, right lie in `length` frames of that size."""
    number, top, left, bottom, right = boxes.T
    inside = (number >= 0) & (number < length) & (top >= 0) & (left >= 0)
    return bool((inside & (top < bottom) & (left < right) & (bottom <= size[0]) & (right <= size[1])).all())


def _window(box: Sequence[int], layout: PixelLayout, plane: int) -> tuple[slice, slice]:
    """The rows and columns of a plane that a box of pixels touches."""
    top, left, bottom, right = box
    chroma = plane in (1, 2) and not layout.is_gray
    step_y, step_x = (layout.step_y, layout.step_x) if chroma else (1, 1)
    return slice(top // step_y, -(-bottom // step_y)), slice(left // step_x, -(-right // step_x))
