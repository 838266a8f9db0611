"""A clip to a file, rendered while it is written."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from ..media.audio import Speech
from ..media.clip import Clip
from ..media.picture import Picture
from ..media.streams import OtherStreams
from ..media.timeline import Timeline, plan_timeline
from ..media.writer import VideoWriter
from .rendered import Edit, RenderedClip

# progress(done, total, picture): of frames, and the latest one.
Written = Callable[[int, int, Picture], None]


def _ignore(*args: object) -> None:
    """Told something that nobody asked for."""


def _drawn(clip: RenderedClip, rows: np.ndarray) -> Generator[Edit, None, None]:
    """A clip's frames, drawn as they are read."""
    return clip.edits(rows)


def write(
    clip: Clip,
    path: str | Path,
    *,
    sound: Speech | None = None,
    timeline: Timeline | None = None,
    codec: str | None = None,
    crf: int = 18,
    pixel_format: str | None = None,
    masks: str | Path | None = None,
    metadata: Mapping[str, str] | None = None,
    progress: Written = _ignore,
    warn: Callable[[str], None] = _ignore,
    edits: Callable[[RenderedClip, np.ndarray], Generator[Edit, None, None]] = _drawn,
    seen: Callable[[Edit, Picture], None] = _ignore,
    finished: Callable[[], None] = _ignore,
    seal: Callable[[Path], None] | None = None,
) -> int:
    """Write `clip` to `path`, whole or not at all; how many of its frames were edited.

    sound: by default the clip's own; timeline: what is shown when, by default all frames at their own times;
    codec, crf, pixel_format: see `VideoWriter`; masks: a lossless .mkv of which pixels are new, of a
    `RenderedClip`; metadata: container tags beside those that the clip must carry and its file's own; warn:
    told in a line of each thing in the clip's file that the output does not keep (see `OtherStreams`);
    edits: where a `RenderedClip`'s frames by number come from; seen: shown what was done to each frame, and
    the frame; finished: called behind the last frame, before the file takes its name, so that nothing is left
    where it raises; seal: called with the whole file, just as late.
    Raises MediaError, and ValueError for masks of a clip that is not rendered.
    """
    timeline = timeline or plan_timeline(clip, clip.duration_s)
    if sound is None and clip.has_audio:
        sound = clip.speech()
    if masks is not None and not isinstance(clip, RenderedClip):
        raise ValueError("masks of a rendered clip were required, but this clip is not one: leave masks out")
    tags = {**(metadata or {}), **clip.tags}
    writer = VideoWriter(
        path,
        clip,
        codec=codec,
        crf=crf,
        pixel_format=pixel_format,
        speech=sound,
        timeline=timeline,
        metadata=tags,
        others=OtherStreams.of(clip, timeline, Path(path).suffix.lower()),
        seal=seal,
    )
    mask_writer = None if masks is None else VideoWriter.for_masks(masks, clip, timeline=timeline)
    for line in writer.warnings:
        warn(line)
    rows, edited = timeline.source_index, 0
    frames = (
        edits(clip, rows)
        if isinstance(clip, RenderedClip)
        else (Edit(picture, [], False) for picture in clip.pictures(rows))
    )
    with ExitStack() as stack:
        # Both take their names at the end, the video first.
        if mask_writer is not None:
            stack.enter_context(mask_writer)
        stack.enter_context(writer)
        # Nothing is decoded or drawn any more by the time that the writers see an error.
        stack.enter_context(closing(frames))
        for done, edit in enumerate(frames, 1):
            picture = edit.pasted
            writer.write(picture, edit.is_edited)
            if mask_writer is not None:
                mask_writer.write_mask(edit.mask())
            edited += edit.is_edited
            seen(edit, picture)
            progress(done, len(timeline), picture)
        finished()
    if writer.copied is not None:
        warn(writer.copied)
    return edited
