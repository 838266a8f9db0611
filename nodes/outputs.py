"""Where outputs go: names in ComfyUI's output and temp folders."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import folder_paths

# The page fills these in for ComfyUI's own nodes only: %date% and, with a pattern, %date:yyyy-MM-dd%.
DATE = re.compile(r"%date(?::([^%]*))?%")
DATE_PARTS = {"yyyy": "%Y", "yy": "%y", "MM": "%m", "dd": "%d", "hh": "%H", "mm": "%M", "ss": "%S"}
PART = re.compile("|".join(DATE_PARTS))
WHOLE_DATE = "yyyyMMddhhmmss"


def dated(prefix: str, now: datetime) -> str:
    """A prefix with the date in place of its patterns."""

    def fill(pattern: re.Match) -> str:
        return PART.sub(lambda part: now.strftime(DATE_PARTS[part[0]]), pattern[1] or WHOLE_DATE)

    return DATE.sub(fill, prefix)


def output_path(name: str) -> Path:
    """A folder or file in ComfyUI's output folder. Raises ValueError for one outside."""
    root = Path(folder_paths.get_output_directory()).resolve()
    path = (root / name.strip()).resolve()
    if not path.is_relative_to(root):
        raise ValueError(
            f"a place in ComfyUI's output folder was required, but {name!r} lies outside: name one within"
        )
    return path


def check_prefix(prefix: str | None) -> bool | str:
    """True, or the line that says why outputs cannot be named so; None is a value that is not known yet."""
    try:
        output_path(prefix or "")
    except ValueError as error:
        return str(error)
    return True


def numbered_file(prefix: str, suffix: str, root: str, width: int = 0, height: int = 0) -> tuple[Path, str]:
    """The next free name in one of ComfyUI's folders, `root`, and the subfolder of it that it lies in."""
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        dated(prefix, datetime.now()), root, width, height
    )
    return Path(folder) / f"{name}_{counter:05}_{suffix}", subfolder
