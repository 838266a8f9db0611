"""Two-stage talking-video lip sync: speech to dense face landmarks, landmarks to lips."""

import re
from pathlib import Path


def _version() -> str:
    """The version that pyproject.toml gives: this checkout's, which ComfyUI loads without installing it, else
    the installed package's; "unknown" for a copy of this folder alone."""
    project = Path(__file__).parents[1] / "pyproject.toml"
    text = project.read_text(encoding="utf-8") if project.is_file() else ""
    own = re.search(r'^name = "mytalk"\nversion = "(.+)"$', text, re.MULTILINE)
    if own:
        return own[1]
    from importlib import metadata

    try:
        return metadata.version("mytalk")
    except metadata.PackageNotFoundError:
        return "unknown"


__version__ = _version()
