"""The workflows in ComfyUI's template browser.

ComfyUI serves a pack's folders `examples` and `workflows` under one address, and the first hides the second:
each workflow gets its own address here, which goes before both. Whoever opens one finds the samples that it
names in ComfyUI's input folder.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import folder_paths
from aiohttp import web
from server import PromptServer

from ..mytalk_core.errors import MediaError
from ..mytalk_core.files import replacing
from ..mytalk_core.media.container import VIDEO_SUFFIXES

PACK = Path(__file__).parents[1]
# A folder below ComfyUI's input folder, of which a workflow takes every video.
SAMPLES = "MyTalk samples"


def serve_workflows() -> None:
    """Add the addresses; to be called while ComfyUI loads the pack.

    The page's own address ?template=NAME knows no spaces, so that each workflow has one with dashes too.
    """
    for path in sorted((PACK / "workflows").glob("*.*")):
        for name in {path.name, path.name.replace(" ", "-")}:
            PromptServer.instance.routes.get(f"/workflow_templates/{PACK.name}/{name}")(sender(path))


def sender(path: Path) -> Callable[[web.Request], Awaitable[web.FileResponse]]:
    """A handler that answers with the file."""

    async def send(request: web.Request) -> web.FileResponse:
        if path.suffix == ".json":
            try:
                lay_samples(path)
            except (OSError, MediaError) as error:
                # A folder that may not be written: the workflow opens all the same.
                logging.warning("the samples of %s are not laid: %s", path.stem, error)
        return web.FileResponse(path)

    return send


def lay_samples(workflow: Path) -> None:
    """Copy the samples that a workflow names into ComfyUI's input folder, all videos into a folder where it
    names that; a file that is there stays."""
    folder, text = Path(folder_paths.get_input_directory()), workflow.read_text(encoding="utf-8")
    for sample in (PACK / "examples").iterdir():
        if f'"{sample.name}"' in text:
            lay(sample, folder)
        if f'"{SAMPLES}"' in text and sample.suffix in VIDEO_SUFFIXES:
            lay(sample, folder / SAMPLES)


def lay(sample: Path, folder: Path) -> None:
    """Copy a sample into a folder, which is made if it is missing."""
    if not (folder / sample.name).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / sample.name) as temporary:
            temporary.write_bytes(sample.read_bytes())
