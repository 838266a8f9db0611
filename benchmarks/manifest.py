"""The rows of a manifest of clips: JSON lines with "id", "file" (a path beside the manifest) and "split"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mytalk_core.json_text import read_rows


def rows_of(manifest: Path, split: str) -> list[dict[str, Any]]:
    """The rows of a split, in order. Raises as `read_rows`; KeyError for a row without a split."""
    return [row for _, row in read_rows(manifest) if row["split"] == split]
