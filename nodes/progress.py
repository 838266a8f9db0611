"""The running node's bar and preview, and Cancel."""

from __future__ import annotations

import time

import comfy.model_management
import comfy.utils
from comfy_execution.progress import get_progress_state
from PIL import Image

from ..mytalk_core.media.picture import Picture

PREVIEW_PX = 512
PREVIEW_EVERY_S = 0.5


class NodeProgress:
    """Core's progress callback, shown on the node that runs; raises where the user has pressed Cancel.

    preview_node: id of the node that shows the live picture, None for no picture. It must not be a node that
    shows a result of its own: the page would go on showing the last picture in its place.
    """

    def __init__(self, preview_node: str | None = None) -> None:
        self._bar: comfy.utils.ProgressBar | None = None
        self._preview_node = preview_node
        self._shown_s = 0.0

    def __call__(self, stage: str, done: int, total: int, picture: Picture | None = None) -> None:
        """`done` of `total` of a stage; picture: the latest result."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        if self._bar is None:
            self._bar = comfy.utils.ProgressBar(total)
        self._bar.update_absolute(done, total)
        if picture is not None and self._preview_node is not None:
            self._show(done, total, picture)

    def _show(self, done: int, total: int, picture: Picture) -> None:
        if time.monotonic() - self._shown_s > PREVIEW_EVERY_S or done == total:
            preview = ("JPEG", thumbnail(picture), PREVIEW_PX)
            comfy.utils.ProgressBar(total, self._preview_node).update_absolute(done, total, preview)
            self._shown_s = time.monotonic()
        if done == total:
            get_progress_state().finish_progress(self._preview_node)


def thumbnail(picture: Picture) -> Image.Image:
    """A small image of a picture."""
    image = Image.fromarray(picture.rgb)
    image.thumbnail((PREVIEW_PX, PREVIEW_PX))
    return image
