"""The pages of reports and studies: HTML, styles and scripts."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def read_page(name: str) -> str:
    """A file of this folder."""
    return (FOLDER / name).read_text(encoding="utf-8")
