"""The renderer and composite of a clip alone: frames are decoded and cut before, mouths those of others."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from mytalk_core.appearance.covers.cover import FREE
from mytalk_core.appearance.rendering import Rendering
from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.appearance.warp_renderer import WarpRenderer
from mytalk_core.pipeline.ahead import made_ahead, work_threads
from mytalk_core.pipeline.rendered import RenderedClip

# Calls one after the other, and what each does; as many at once as the pipeline has.
ALONE = ("call by call", "masks", "pixels", "composite", "several calls at once")
# So many frames at most are drawn.
MOST_ALONE = 64


def seconds_alone(drawn: RenderedClip, device: torch.device) -> dict[str, float]:
    """Seconds of the clock a frame, see `ALONE`, `drawn.together()` frames a call."""
    face = drawn.track
    rows = np.flatnonzero(face.present)[:MOST_ALONE]
    source, similarity = face.canonical[rows], face.similarity[rows]
    size, shape = drawn.references.size, (drawn.height, drawn.width)
    crops = np.stack([cut_crop(p.rgb, face.similarity[p.index], size) for p in drawn.untouched(rows)])
    targets, renderer = np.roll(source, 1, axis=0), drawn.renderer
    assert isinstance(renderer, WarpRenderer)
    together = drawn.together()
    parts = [slice(start, start + together) for start in range(0, len(rows), together)]

    def prepare(part: slice) -> None:
        given = zip(rows[part], crops[part], source[part], targets[part], strict=True)
        for number, (row, crop, own, wanted) in enumerate(given):
            renderer.prepared(number, int(row), crop, own, wanted, None)

    def render(part: slice) -> Rendering:
        return renderer.render(crops[part], source[part], targets[part], rows[part])

    def draw(part: slice) -> None:
        count = len(rows[part])
        render(part).patches(shape, similarity[part], [FREE] * count, [1.0] * count)

    def seconds(work: Callable[[list[slice]], object]) -> float:
        work(parts[:1])  # what is done once belongs to no frame
        synchronise(device)
        begin = time.perf_counter()
        work(parts)
        synchronise(device)
        return (time.perf_counter() - begin) / len(rows)

    whole = seconds(lambda parts: [draw(part) for part in parts])
    prepared = seconds(lambda parts: [prepare(part) for part in parts])
    rendered = seconds(lambda parts: [render(part) for part in parts])
    several = seconds(lambda parts: list(made_ahead(draw, parts, work_threads())))
    shares = (whole, prepared, rendered - prepared, whole - rendered, several)
    return dict(zip(ALONE, shares, strict=True))


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()
