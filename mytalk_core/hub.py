"""Files of a Hub repository: download, resume, and offline use of what is already there."""

from __future__ import annotations

import re
from pathlib import Path

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def is_repository(text: str) -> bool:
    """Whether `text` has the form OWNER/NAME."""
    return _REPOSITORY.fullmatch(text) is not None


def download(
    repository: str, files: tuple[str, ...], subfolder: str | None = None, revision: str | None = None
) -> Path:
    raise NotImplementedError
