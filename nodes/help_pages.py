"""The nodes' help, in the page's language where there is one of it.

The page asks for NODE/LANGUAGE.md first and for NODE.md, ours in English, only after an error in its console.
"""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from server import PromptServer

PACK = Path(__file__).parents[1]
PAGES = PACK / "web" / "docs"


def serve_help() -> None:
    """Add the address; to be called while ComfyUI loads the pack."""
    PromptServer.instance.routes.get(f"/extensions/{PACK.name}/docs/{{node}}/{{language}}.md")(send)


async def send(request: web.Request) -> web.FileResponse:
    """A node's page. Raises HTTPNotFound for a node that is not ours."""
    node, language = (Path(request.match_info[name]).name for name in ("node", "language"))
    for page in (PAGES / node / f"{language}.md", PAGES / f"{node}.md"):
        if page.is_file():
            return web.FileResponse(page)
    raise web.HTTPNotFound
