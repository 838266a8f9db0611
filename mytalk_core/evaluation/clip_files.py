"""Which file of one folder belongs to which of another: files are paired by name, extensions aside."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..media.container import VIDEO_SUFFIXES

SOUNDS = (".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", *VIDEO_SUFFIXES)


@dataclass(frozen=True)
class ClipFiles:
    """One clip: its reference, videos by system's name (those that have it), speech if given."""

    name: str
    reference: Path
    generated: dict[str, Path]
    speech: Path | None = None


def list_media(folder: Path, suffixes: tuple[str, ...], what: str) -> dict[str, Path]:
    """Files of a folder by stem. Raises FileNotFoundError (no such folder), ValueError (two of one name)."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; a folder of {what} was required")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in found:
            raise ValueError(
                f"{folder}: {found[path.stem].name} and {path.name} have one name; files are paired by name, "
                "so leave one"
            )
        found[path.stem] = path
    return found


def pair_files(
    reference: Path, generated: dict[str, Path], speech: Path | None = None
) -> tuple[list[ClipFiles], list[str]]:
    """Clips that a reference and at least one system have, in order of name, and lines about the others.

    generated: a folder for each system's name. Raises FileNotFoundError (folders, speech that is missing),
    ValueError (a system without any pair).
    """
    truths = list_media(reference, VIDEO_SUFFIXES, "reference videos")
    made = {
        name: list_media(folder, VIDEO_SUFFIXES, "generated videos") for name, folder in generated.items()
    }
    sounds = list_media(speech, SOUNDS, "speech files") if speech is not None else None
    for name, files in made.items():
        if not set(files) & set(truths):
            raise ValueError(
                f"{name}: none of {len(files)} videos in {generated[name]} has the name of one of "
                f"{len(truths)} in {reference} ({_some(files)} and {_some(truths)}); give them the same names"
            )
    names = sorted(set(truths) & set().union(*made.values()))
    notes = []
    for name, files in made.items():
        missing = [clip for clip in names if clip not in files]
        if missing:
            notes.append(f"{name}: lacks {len(missing)} of {len(names)} clips ({_some(missing)})")
        strange = sorted(set(files) - set(truths))
        if strange:
            notes.append(f"{name}: {len(strange)} videos have no reference ({_some(strange)})")
    clips = []
    for clip in names:
        if sounds is not None and clip not in sounds:
            raise FileNotFoundError(f"{speech}: no speech for {clip}; a file of that name was required")
        files = {name: files[clip] for name, files in made.items() if clip in files}
        clips.append(ClipFiles(clip, truths[clip], files, sounds[clip] if sounds is not None else None))
    return clips, notes


def _some(names) -> str:
    names = list(names)
    return (", ".join(names[:3]) + (", ..." if len(names) > 3 else "")) or "none"
