"""ComfyUI-MyTalk: open lip-sync. ComfyUI loads this folder; the method itself is in `mytalk_core`."""

from .nodes import comfy_entrypoint

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
