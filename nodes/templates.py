"""The workflows in ComfyUI's template browser.

ComfyUI serves a pack's folders `examples` and `workflows` under one address, and the first hides the second:
each workflow gets its own address here, which goes before both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from server import PromptServer

PACK = Path(__file__).parents[1]


def serve_workflows() -> None:
    """Add the addresses; to be called while ComfyUI loads the pack."""
    for path in sorted((PACK / "workflows").glob("*.*")):
        PromptServer.instance.routes.get(f"/workflow_templates/{PACK.name}/{path.name}")(sender(path))


def sender(path: Path) -> Callable[[web.Request], Awaitable[web.FileResponse]]:
    """A handler that answers with the file."""

    async def send(request: web.Request) -> web.FileResponse:
        return web.FileResponse(path)

    return send
