"""Nodes that stand in for ours where a package is missing, and say which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from .host import CATEGORY

NAMES = Path(__file__).parents[1] / "locales" / "en" / "nodeDefs.json"
# ComfyUI's own modules: without one of these it is ComfyUI that is too old.
HOST = {"comfy", "comfy_api", "comfy_execution", "folder_paths", "server"}


def is_missing_package(error: ModuleNotFoundError) -> bool:
    """Whether the module is another project's: neither a part of this pack nor of ComfyUI."""
    pack = __name__.rpartition(".nodes.")[0]
    name = error.name or ""
    return name.partition(".")[0] not in HOST and not name.startswith(pack)


def remedy(package: str | None) -> str:
    """What the user reads."""
    return (
        f"MyTalk's nodes need the package {package!r}, which is not installed: run `pip install -r "
        "requirements.txt` in the pack's folder with ComfyUI's Python, then restart"
    )


def nodes_that_tell(message: str) -> list[type[io.ComfyNode]]:
    """A node under each of our ids, so that shared workflows open, which raises the message when it runs."""
    names = json.loads(NAMES.read_text(encoding="utf-8"))
    return [node_that_tells(node_id, entry["display_name"], message) for node_id, entry in names.items()]


def node_that_tells(node_id: str, name: str, message: str) -> type[io.ComfyNode]:
    """One of them. Each is an output node: ComfyUI runs no others for their own sake."""

    class Missing(io.ComfyNode):
        """Tells instead of working."""

        @classmethod
        def define_schema(cls) -> io.Schema:
            """No sockets: what a workflow has linked stays linked on the page."""
            return io.Schema(
                node_id=node_id,
                display_name=f"{name} (package missing)",
                category=CATEGORY,
                description=message,
                is_output_node=True,
            )

        @classmethod
        def execute(cls, **inputs: Any) -> io.NodeOutput:
            """Raises ModuleNotFoundError, always."""
            raise ModuleNotFoundError(message)

    return Missing
