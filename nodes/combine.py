"""VideoCombine."""

from __future__ import annotations

from pathlib import Path

import folder_paths
import torch
from comfy.cli_args import args
from comfy_api.latest import Input, InputImpl, io, ui

from ..mytalk_core.media.audio import Speech
from ..mytalk_core.media.clip import Clip
from ..mytalk_core.media.timeline import SYNC_MODES, Timeline, plan_timeline
from ..mytalk_core.pipeline.checks import LipWatch
from ..mytalk_core.pipeline.rendered import RenderedClip
from ..mytalk_core.pipeline.report import face_warnings
from .clips import not_kept, rate_hint, sources, to_clip
from .formats import FORMATS, check_format, quality_inputs
from .host import rare, schema
from .inputs import rate_input
from .linked import checked
from .memory import bundled_model
from .outputs import check_prefix, numbered_file
from .screen import plainly, said
from .sound import of_several, to_speech
from .video import write_video

PIXEL_FORMATS = ["auto", "yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le"]


class VideoCombine(io.ComfyNode):
    """Frames and sound to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkVideoCombine",
            display_name="Video Combine",
            description="Writes a VIDEO or IMAGE batch with sound to a file, frame by frame: the source's "
            "times, size, depth and colour stay, memory does not grow with length.",
            inputs=[
                io.MultiType.Input(
                    "video",
                    [io.Video, io.Image],
                    tooltip="A VIDEO, rendered as it is written, or an IMAGE batch.",
                ),
                rate_input("Frames a second, for an IMAGE batch only; a VIDEO brings its own times."),
                *quality_inputs(),
                rare(
                    io.Combo.Input,
                    "sync_mode",
                    options=list(SYNC_MODES),
                    default="silence",
                    tooltip="For a linked audio under frames whose lips were not animated here: silence "
                    "keeps exactly the frames; cut_off, loop, bounce and remap are as in the Motion "
                    "Diffusion Sampler, which alone decides for a video that it has animated.",
                ),
                io.String.Input(
                    "filename_prefix",
                    default="MyTalk/video",
                    tooltip="Folder and beginning of the name in ComfyUI's output folder; "
                    "%date:yyyy-MM-dd% works.",
                ),
                io.Boolean.Input(
                    "save_output",
                    default=True,
                    tooltip="On: into the output folder. Off: into the temp folder, for a look.",
                ),
                rare(
                    io.Combo.Input,
                    "pix_fmt",
                    options=PIXEL_FORMATS,
                    default="auto",
                    tooltip="How pixels are stored. auto keeps the source's depth and colour resolution as "
                    "nearly as the format can, and makes 8-bit 4:2:0 of an IMAGE.",
                ),
                io.Audio.Input(
                    "audio",
                    optional=True,
                    tooltip="The sound; without it the VIDEO's own, which for a lip-synced one is its "
                    "speech.",
                ),
            ],
            outputs=[
                io.Video.Output(display_name="video", tooltip="The file that was written."),
                io.String.Output(display_name="path", tooltip="Where it is."),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    @plainly
    @checked
    def execute(
        cls,
        video: Input.Video | torch.Tensor,
        frame_rate: float,
        format: str,
        crf: int,
        sync_mode: str,
        filename_prefix: str,
        save_output: bool,
        pix_fmt: str,
        audio: Input.Audio | None = None,
    ) -> io.NodeOutput:
        """Lay out the time, write."""
        codec, extension = FORMATS[format]
        clip, speech = to_clip(video, frame_rate), to_speech(audio) if audio is not None else None
        timeline, lines = lay_out(clip, speech, sync_mode)
        lines += [*of_several(audio), *rate_hint(video, frame_rate), *not_kept(video)]
        watch = watch_of(clip)
        path, saved = free_file(filename_prefix, extension, clip, save_output)
        edited = write_video(
            clip,
            path,
            codec=codec,
            crf=crf,
            timeline=timeline,
            sound=speech,
            pixel_format=None if pix_fmt == "auto" else pix_fmt,
            preview_node=getattr(video, "made_by", None),
            metadata=workflow_metadata(cls.hidden),
            warn=lines.append,
            **({} if watch is None else {"seen": watch.see}),
        )
        output = InputImpl.VideoFromFile(str(path))
        if isinstance(clip, RenderedClip) and watch is not None:
            lines += [*face_warnings(clip.track, edited), *watch.check().doubts]
        shown = ui.PreviewVideo([saved]).as_dict() | said("Video Combine", lines)
        return io.NodeOutput(output, str(path), ui=shown)

    @classmethod
    def validate_inputs(
        cls,
        format: str | None = None,
        crf: int | None = None,
        pix_fmt: str | None = None,
        filename_prefix: str | None = None,
    ) -> bool | str:
        """What the format cannot have, and a name outside, are refused before anything is sampled; a linked
        value is None here."""
        fits = check_format(format, crf, None if pix_fmt == "auto" else pix_fmt)
        return check_prefix(filename_prefix) if fits is True else fits


def watch_of(clip: Clip) -> LipWatch | None:
    """What reads some of a lip sync's lips again while it is written, None for other clips."""
    if not isinstance(clip, RenderedClip):
        return None
    return LipWatch(bundled_model().ready("reader").reader.mesh, clip.track, clip.targets)


def lay_out(clip: Clip, speech: Speech | None, sync_mode: str) -> tuple[Timeline | None, list[str]]:
    """What is shown when with this sound, None for all frames at their own times; and lines for the user.

    A lip sync has been laid out already: its frames stay, whatever sound comes with them.
    """
    if speech is None:
        return None, []
    animated = any(isinstance(made, RenderedClip) for made in sources(clip))
    timeline = plan_timeline(clip, speech.duration_s, "silence" if animated else sync_mode)
    lines = list(timeline.warnings)
    if animated and sync_mode != "silence":
        lines.append(
            f"sync_mode '{sync_mode}' is not used: the lips were animated, and the sync_mode of the Motion "
            "Diffusion Sampler has decided the length"
        )
    return timeline, lines


def free_file(prefix: str, suffix: str, clip: Clip, keep: bool) -> tuple[Path, ui.SavedResult]:
    """The next free name in the output (or temp) folder, and how the page is told of it."""
    root = folder_paths.get_output_directory() if keep else folder_paths.get_temp_directory()
    path, subfolder = numbered_file(prefix, suffix, root, clip.width, clip.height)
    kind = io.FolderType.output if keep else io.FolderType.temp
    return path, ui.SavedResult(path.name, subfolder, kind)


def workflow_metadata(hidden: io.HiddenHolder | None) -> dict:
    """What makes the file open as its workflow on the page; nothing where the user has switched that off."""
    if args.disable_metadata or hidden is None:
        return {}
    metadata = dict(hidden.extra_pnginfo or {})
    return metadata | ({"prompt": hidden.prompt} if hidden.prompt is not None else {})


NODES = [VideoCombine]
