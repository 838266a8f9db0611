"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def check_folder(path: Path) -> None:
    """Raises FileNotFoundError where the folder of an output is missing."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder to write {path.name} into; make it first")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
