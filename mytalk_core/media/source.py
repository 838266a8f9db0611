"""Whatever a user may name as a video: a file, a numbered series of pictures, a folder of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from .clip import Clip
from .file_clip import FileClip
from .sequence_clip import SequenceClip, is_pattern, pictures_of_folder, pictures_of_pattern


def open_clip(path: str | Path | Clip, frame_rate: Fraction | float | None = None) -> Clip:
    """A video file or one picture, a pattern such as f_%04d.png, or a folder of pictures; an open clip as it
    is.

    frame_rate: frames a second of a series of pictures, 25 where None; a video file has its own. Raises as
    `FileClip.open` and `SequenceClip.open`; ValueError for a rate given with a file.
    """
    if isinstance(path, Clip):
        return path
    path = Path(path)
    if path.is_dir() or is_pattern(path):
        return SequenceClip.open(path, frame_rate)
    if frame_rate is not None and path.exists():
        raise ValueError(
            f"a folder or a series of pictures was required with a frame rate, but {path} is a file, which "
            "has its own: leave the frame rate out"
        )
    return FileClip.open(path)


def clip_files(path: str | Path) -> tuple[Path, ...]:
    """The files that `open_clip` would read, none of them opened; errors of a series as there."""
    path = Path(path)
    if path.is_dir():
        return tuple(pictures_of_folder(path))
    return tuple(pictures_of_pattern(path)) if is_pattern(path) else (path,)
