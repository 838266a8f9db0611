"""The running node's bar and preview, and Cancel."""

from __future__ import annotations

import time

import comfy.model_management
import comfy.utils
from PIL import Image

from ..mytalk_core.media.picture import Picture

PREVIEW_PX = 512
PREVIEW_EVERY_S = 0.5


class NodeProgress:
    """Core's progress callback, shown on the node that runs; raises where the user has pressed Cancel."""

    def __init__(self) -> None:
        self._bar: comfy.utils.ProgressBar | None = None
        self._shown_s = 0.0

    def __call__(self, stage: str, done: int, total: int, picture: Picture | None = None) -> None:
        """`done` of `total` of a stage; picture: the latest result."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        if self._bar is None:
            self._bar = comfy.utils.ProgressBar(total)
        preview = None
        if picture is not None and time.monotonic() - self._shown_s > PREVIEW_EVERY_S:
            preview = ("JPEG", thumbnail(picture), PREVIEW_PX)
            self._shown_s = time.monotonic()
        self._bar.update_absolute(done, total, preview)


def thumbnail(picture: Picture) -> Image.Image:
    """A small image of a picture."""
    image = Image.fromarray(picture.rgb)
    image.thumbnail((PREVIEW_PX, PREVIEW_PX))
    return image
