"""VIDEO or IMAGE as the core's clip, and what is not kept on the way."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from weakref import WeakKeyDictionary

import comfy.model_management
import folder_paths
import numpy as np
import torch
from comfy_api.latest import Input

from ..mytalk_core.files import replacing
from ..mytalk_core.media.arranged import DerivedClip
from ..mytalk_core.media.clip import Clip
from ..mytalk_core.media.file_clip import FileClip
from ..mytalk_core.media.image_clip import ImageClip
from ..mytalk_core.media.picture import Picture
from .sound import sound_of
from .video import ClipVideo, cut_clip, existing

DEFAULT_RATE = 25.0
RATE_HINT = (
    "the images are shown at 25 a second, the default: set frame_rate where they were made for another rate "
    "(Wan 16, LTX and Hunyuan 24, AnimateDiff 8)"
)


@dataclass(frozen=True, eq=False, kw_only=True)
class CancellableClip(DerivedClip):
    """The source itself, but Cancel stops whoever reads it, at the next picture."""

    def _read(self, rows: np.ndarray) -> Iterator[Picture]:
        for picture in super()._read(rows):
            comfy.model_management.throw_exception_if_processing_interrupted()
            yield picture


def to_clip(video: Input.Video | torch.Tensor, frame_rate: float | Fraction) -> Clip:
    """A VIDEO or IMAGE (T,H,W,C) as a clip; frame_rate, frames a second, is for an IMAGE only.

    A VIDEO in a file is read from there by our own reader, frame by frame, with what a newer core is still to
    do to its pictures done first; one held in memory is used in place. Raises ValueError for neither.
    """
    if isinstance(video, ClipVideo):
        return video.clip
    clip: Clip
    if isinstance(video, torch.Tensor):
        clip = ImageClip.from_frames(levels(video), as_rate(frame_rate))
    elif is_in_memory(video):
        # Its stream source would encode the frames, with loss.
        parts = video.get_components()
        clip = ImageClip.from_frames(levels(parts.images), parts.frame_rate, sound_of(parts.audio))
    elif hasattr(video, "get_stream_source"):
        clip = FileClip.open(stream_path(video.get_stream_source()))
        if waits_for_edits(video, clip):
            # Trimmed, too.
            return CancellableClip.of(FileClip.open(edited_path(video)))
    else:
        arrived = "nothing" if video is None else f"a {type(video).__name__}"
        raise ValueError(
            f"a VIDEO or an IMAGE batch was required, but {arrived} arrived: link a node that gives one"
        )
    return trimmed(CancellableClip.of(clip), *trim_window(video))


def levels(images: torch.Tensor) -> np.ndarray:
    """IMAGE as float32 0..1; whole numbers are levels to 255."""
    return (images.float() if images.is_floating_point() else images / 255).cpu().numpy()


def sources(clip: Clip) -> Iterator[Clip]:
    """The clip and, one after the other, those that it is made of; the last one reads its own pictures."""
    yield clip
    while isinstance(clip, DerivedClip):
        clip = clip.source
        yield clip


def is_in_memory(video: Input.Video) -> bool:
    """Whether a VIDEO is frames and no file: its stream source is the one it inherits, or it has none."""
    inherited = Input.Video.get_stream_source
    has_none = getattr(type(video), "get_stream_source", inherited) is inherited
    return has_none and hasattr(video, "get_components")


def not_kept(video: Input.Video | torch.Tensor) -> list[str]:
    """Lines for the user on what images have and a clip of them has not."""
    if isinstance(video, torch.Tensor):
        if video.shape[-1] == 4 and bool((video[..., 3] < 1).any()):
            return ["the images' transparency is not kept: their colours alone are used"]
        return []
    colours = getattr(video, "get_color_space", lambda: "auto")
    if not isinstance(video, ClipVideo) and is_in_memory(video) and colours().startswith("HDR"):
        return [
            "HDR is not kept, as the video's frames are in memory: write them with Save Video, and load that "
            "file"
        ]
    return []


def rate_hint(video: Input.Video | torch.Tensor, frame_rate: float) -> list[str]:
    """A line for the user where several images were left at the default rate."""
    several = isinstance(video, torch.Tensor) and len(video) > 1
    return [RATE_HINT] if several and frame_rate == DEFAULT_RATE else []


def as_rate(frame_rate: float | Fraction) -> Fraction | int | float:
    """A widget's decimal as it was meant: 25.0 is 25, 29.97 stays for the core to make 30000/1001."""
    return int(frame_rate) if frame_rate == int(frame_rate) else frame_rate


def stream_path(source: str | Path | BytesIO) -> Path:
    """The file of a stream source; a stream in memory is laid into ComfyUI's temp folder, once."""
    if isinstance(source, str | Path):
        return Path(source)
    data = source.getvalue()
    path = existing(folder_paths.get_temp_directory()) / f"mytalk_{hashlib.sha256(data).hexdigest()[:24]}.mkv"
    if not path.exists():
        with replacing(path) as temporary:
            temporary.write_bytes(data)
    return path


def waits_for_edits(video: Input.Video, clip: FileClip) -> bool:
    """Whether a VIDEO is still to be cropped or resized, so that its file, the clip, is not what it shows."""
    pending = getattr(video, "has_pending_frame_edits", None)
    if pending is not None:
        return pending()
    # The first cores that crop do not say so. A file that lies on its side may give its sides either way.
    return hasattr(video, "as_cropped") and sorted(video.get_dimensions()) != sorted(
        (clip.width, clip.height)
    )


# The file of each VIDEO with its edits made, as long as the VIDEO is there.
_edited: WeakKeyDictionary[Input.Video, Path] = WeakKeyDictionary()


def edited_path(video: Input.Video) -> Path:
    """A file in ComfyUI's temp folder with a VIDEO's edits made by ComfyUI, once, without loss.

    ComfyUI writes it frame by frame and keeps times, depth and colours; its tensor would hold none of these.
    """
    if video not in _edited or not _edited[video].exists():
        path = existing(folder_paths.get_temp_directory()) / f"mytalk_{uuid.uuid4().hex}.mkv"
        with replacing(path) as temporary:
            video.save_to(str(temporary), format="mkv", codec="h264", crf=0)
        _edited[video] = path
    return _edited[video]


def trim_window(video: object) -> tuple[float, float]:
    """(start_s, duration_s) of a VIDEO that a newer core has trimmed; duration 0 is to the end."""
    window = getattr(video, "get_active_trim_window", None)
    return window() if window is not None else (0.0, 0.0)


def trimmed(clip: Clip, start_s: float, duration_s: float) -> Clip:
    """A part of a clip with that part of its sound; duration_s 0 is to the end."""
    if start_s == 0 and duration_s == 0:
        return clip
    return cut_clip(clip, start_s, duration_s or None)
