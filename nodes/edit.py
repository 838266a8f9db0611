"""Edit Motion, Save Motion and Load Motion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import folder_paths
from comfy_api.latest import io, ui

from ..mytalk_core.files import stamp
from ..mytalk_core.motion.edit import hold, mix, retime, scale_opening, smooth
from ..mytalk_core.motion.motion import Motion
from .host import rare, schema
from .linked import checked, never_the_same
from .outputs import check_prefix, numbered_file
from .screen import plainly
from .sockets import MotionSocket, Performance

SUFFIX = ".safetensors"


class EditMotion(io.ComfyNode):
    """Changes between the stages."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkEditMotion",
            display_name="Edit Motion",
            description="Changes a motion before it is rendered: opening, timing, smoothness, a part held "
            "still, a second motion mixed in.",
            inputs=[
                MotionSocket.Input("motion", tooltip="From the sampler or a file."),
                io.Float.Input(
                    "opening",
                    default=1.0,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    tooltip="How far the mouth opens: 1 as it is, 0 shut, 1.3 clearly wider. Closed lips "
                    "stay closed.",
                ),
                io.Float.Input(
                    "speed",
                    default=1.0,
                    min=0.1,
                    max=10.0,
                    step=0.01,
                    tooltip="How fast the movement plays: 2 halves its length. The speech is not changed.",
                ),
                io.Float.Input(
                    "delay_s",
                    default=0.0,
                    min=-60.0,
                    max=60.0,
                    step=0.01,
                    tooltip="Seconds the mouth moves later (+) or sooner (-) than the speech.",
                ),
                io.Float.Input(
                    "smoothing_s",
                    default=0.0,
                    min=0.0,
                    max=0.5,
                    step=0.01,
                    tooltip="Seconds over which the movement is averaged; 0 leaves it.",
                ),
                rare(
                    io.Float.Input,
                    "hold_from_s",
                    default=0.0,
                    min=0.0,
                    max=36000.0,
                    step=0.01,
                    tooltip="Seconds: from here the mouth stands still ...",
                ),
                rare(
                    io.Float.Input,
                    "hold_to_s",
                    default=0.0,
                    min=0.0,
                    max=36000.0,
                    step=0.01,
                    tooltip="... to here. Equal times, or an end before the start, hold nothing.",
                ),
                io.Float.Input(
                    "mix",
                    default=0.5,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Share of the second motion, where one is linked: 0 none, 1 only it.",
                ),
                MotionSocket.Input("other", optional=True, tooltip="A second motion to mix in."),
            ],
            outputs=[MotionSocket.Output(display_name="motion", tooltip="The changed motion.")],
        )

    @classmethod
    @plainly
    @checked
    def execute(
        cls,
        motion: Performance,
        opening: float,
        speed: float,
        delay_s: float,
        smoothing_s: float,
        hold_from_s: float,
        hold_to_s: float,
        mix: float,
        other: Performance | None = None,
    ) -> io.NodeOutput:
        """One change after the other, in the order of the widgets."""
        edited = motion.motion
        if other is not None:
            edited = mixed(edited, other.motion, mix)
        edited = smooth(retime(scale_opening(edited, opening), speed, delay_s), smoothing_s)
        edited = hold(edited, hold_from_s, max(hold_from_s, hold_to_s))
        return io.NodeOutput(replace(motion, motion=edited))


# The widget's name hides the function's.
mixed = mix


class SaveMotion(io.ComfyNode):
    """A motion to a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkSaveMotion",
            display_name="Save Motion",
            description="Writes a motion as safetensors, to be loaded, edited or rendered again.",
            inputs=[
                MotionSocket.Input("motion", tooltip="From the sampler or Edit Motion."),
                io.String.Input(
                    "filename_prefix",
                    default="MyTalk/motion",
                    tooltip="Folder and beginning of the name in ComfyUI's output folder.",
                ),
            ],
            outputs=[io.String.Output(display_name="path", tooltip="Where the file is.")],
            is_output_node=True,
        )

    @classmethod
    @plainly
    @checked
    def execute(cls, motion: Performance, filename_prefix: str) -> io.NodeOutput:
        """Under the next free number."""
        path, _ = numbered_file(filename_prefix, SUFFIX, folder_paths.get_output_directory())
        motion.motion.save(path)
        return io.NodeOutput(str(path), ui=ui.PreviewText(str(path)))

    @classmethod
    def validate_inputs(cls, filename_prefix: str | None = None) -> bool | str:
        """A name outside is refused before anything is sampled; a linked value is None here."""
        return check_prefix(filename_prefix)


class LoadMotion(io.ComfyNode):
    """A motion from a file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkLoadMotion",
            display_name="Load Motion",
            description="Reads a motion that Save Motion or `mytalk sync --save-motion` wrote. It plays "
            "from the video's first frame; link the speech to Video Combine.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=motion_files(),
                    tooltip="A .safetensors file in ComfyUI's input folder, or one of output/MyTalk.",
                )
            ],
            outputs=[
                MotionSocket.Output(display_name="motion", tooltip="For Appearance Generate, or to edit.")
            ],
        )

    @classmethod
    @plainly
    @checked
    def execute(cls, file: str) -> io.NodeOutput:
        """Without timeline and speech: a motion does not know its video."""
        return io.NodeOutput(Performance(Motion.load(folder_paths.get_annotated_filepath(file))))

    @classmethod
    def fingerprint_inputs(cls, file: str | None) -> tuple[int, int] | float | None:
        """When it was written; a linked name is None here, and runs each time."""
        return never_the_same() if file is None else stamp(Path(folder_paths.get_annotated_filepath(file)))

    @classmethod
    def validate_inputs(cls, file: str | None = None) -> bool | str:
        """A file outside the list is fine if it exists; a linked value is None here."""
        if file is None or folder_paths.exists_annotated_filepath(file):
            return True
        return f"No motion file {file!r}: save one with Save Motion, or put it into ComfyUI's input folder"


def motion_files() -> list[str]:
    """Motion files by ComfyUI's annotated names."""
    source, output = Path(folder_paths.get_input_directory()), Path(folder_paths.get_output_directory())
    own = [path.name for path in sorted(source.glob(f"*{SUFFIX}"))]
    written = [path.relative_to(output).as_posix() for path in sorted(output.glob(f"MyTalk/*{SUFFIX}"))]
    return own + [f"{name} [output]" for name in written]


NODES = [EditMotion, SaveMotion, LoadMotion]
