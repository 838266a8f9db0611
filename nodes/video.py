"""VIDEO that is a core clip: rendered while it is saved, never one tensor."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import folder_paths
from comfy_api.latest import Input, Types

from ..mytalk_core.files import held
from ..mytalk_core.media.arranged import part_of
from ..mytalk_core.media.clip import Clip
from ..mytalk_core.media.cut import cut_speech
from ..mytalk_core.pipeline import write
from .lazy import clip_images
from .progress import NodeProgress
from .screen import plainly
from .sound import to_audio

CODECS = {"auto": None, "h264": "h264"}


class ClipVideo(Input.Video):
    """A VIDEO whose frames are read from a clip when somebody needs them, a few at a time.

    made_by: id of the node that made it, which shows the frames as they are rendered.
    """

    def __init__(self, clip: Clip, made_by: str | None = None) -> None:
        self.clip = clip
        self.made_by = made_by

    @plainly
    def get_components(self) -> Types.VideoComponents:
        """All frames as one float tensor, for nodes that ask for that; made when they look at it."""
        audio = to_audio(self.clip.speech()) if self.clip.has_audio else None
        return Types.VideoComponents(images=clip_images(self.clip), audio=audio, frame_rate=self.clip.fps)

    @plainly
    def save_to(
        self,
        path: str | Path | BytesIO,
        format: Types.VideoContainer | str = "auto",
        codec: Types.VideoCodec | str = "auto",
        metadata: dict[str, Any] | None = None,
        bit_depth: int | None = None,
        crf: float | None = None,
        color_space: str | None = None,
        **newer: Any,
    ) -> None:
        """Render into a file, or into a buffer as MP4. Depth and colour stay the source's own.

        newer: what later cores ask for beside these, as the encoder's speed; not used.
        Raises ValueError for a codec other than auto and h264.
        """
        codec = getattr(codec, "value", codec)
        if codec not in CODECS:
            raise ValueError(
                f"codec auto or h264 was required, but {codec} arrived: use MyTalk's Video Combine for others"
            )
        write_to = partial(
            write_video,
            self.clip,
            codec=CODECS[codec],
            crf=18 if crf is None else round(crf),
            metadata=metadata,
            preview_node=self.made_by,
        )
        if isinstance(path, str | Path):
            write_to(Path(path))
            return
        # The writer replaces whole files, so a buffer is filled from one.
        with TemporaryDirectory(dir=existing(folder_paths.get_temp_directory())) as folder:
            file = Path(folder) / "video.mp4"
            write_to(file)
            path.write(file.read_bytes())

    def get_dimensions(self) -> tuple[int, int]:
        """(width, height) px."""
        return self.clip.width, self.clip.height

    def get_duration(self) -> float:
        """Seconds."""
        return self.clip.duration_s

    def get_frame_count(self) -> int:
        """Frames."""
        return len(self.clip)

    def get_frame_rate(self) -> Fraction:
        """Frames a second, on average."""
        return self.clip.fps

    def get_container_format(self) -> str:
        """What `save_to` makes by default."""
        return "mp4"

    @plainly
    def as_trimmed(
        self, start_time: float | None = None, duration: float | None = None, strict_duration: bool = False
    ) -> ClipVideo | None:
        """A part of it, seconds; a start below 0 counts from the end. None where no such part exists."""
        start_s, length_s = start_time or 0.0, duration or None
        start_s = max(0.0, self.clip.duration_s + start_s) if start_s < 0 else start_s
        left_s = self.clip.duration_s - start_s
        if left_s <= 0 or (strict_duration and length_s is not None and length_s > left_s):
            return None
        return ClipVideo(cut_clip(self.clip, start_s, length_s), self.made_by)


def cut_clip(clip: Clip, start_s: float, length_s: float | None) -> Clip:
    """`part_of` a clip with its sound from the first of those frames on; without, where that has ended."""
    part = part_of(clip, start_s, length_s)
    sound = clip.speech() if clip.has_audio else None
    first_s = float(clip.times_s[part.timeline.source_index[0]])
    if sound is None or round(first_s * sound.sample_rate) >= sound.samples:
        return part
    left_s = None if length_s is None else start_s + length_s - first_s
    return replace(part, has_audio=True, sound=cut_speech(sound, first_s, left_s))


def write_video(
    clip: Clip,
    path: Path,
    *,
    metadata: dict[str, Any] | None = None,
    preview_node: str | None = None,
    warn: Callable[[str], None] | None = None,
    **settings: Any,
) -> int:
    """Render a clip into a file, with progress on the running node; how many of its frames were edited.

    metadata: tags, made JSON where they are not text; preview_node: see `NodeProgress`; warn: as in
    `write`, by default into the log; settings: as there.
    """
    tags = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()
    }
    progress = NodeProgress(preview_node)
    with held(path):
        return write(
            clip,
            path,
            metadata=tags,
            progress=lambda done, total, picture: progress("render", done, total, picture),
            warn=warn or logging.getLogger(__name__).warning,
            **settings,
        )


def existing(folder: str) -> Path:
    """A folder, made if it is not there."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    return path
