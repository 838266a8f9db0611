"""The part of comfy_api.latest that the pack uses; an argument that 0.8.0 does not know is a TypeError
here too."""

from __future__ import annotations

import io as streams
from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace


@dataclass
class Input:
    id: str
    display_name: str | None = None
    optional: bool = False
    tooltip: str | None = None
    lazy: bool | None = None
    extra_dict: dict | None = None
    raw_link: bool | None = None
    io_type: str = field(init=False, default="*")


@dataclass
class WidgetInput(Input):
    default: object = None
    socketless: bool | None = None


@dataclass
class Number(WidgetInput):
    min: float | None = None
    max: float | None = None
    step: float | None = None
    control_after_generate: bool | None = None
    display_mode: object = None


@dataclass
class Output:
    id: str | None = None
    display_name: str | None = None
    tooltip: str | None = None
    is_output_list: bool = False
    io_type: str = field(init=False, default="*")


def Custom(io_type: str, base: type = Input) -> type:  # noqa: N802
    """A socket type: Input and Output classes that carry its name."""
    made_input = dataclass(
        type("Input", (base,), {"__post_init__": lambda self: setattr(self, "io_type", io_type)})
    )
    made_output = dataclass(
        type("Output", (Output,), {"__post_init__": lambda self: setattr(self, "io_type", io_type)})
    )
    return type(io_type, (), {"Input": made_input, "Output": made_output, "io_type": io_type})


@dataclass
class ComboInput(WidgetInput):
    options: list | None = None
    control_after_generate: bool | None = None
    upload: object = None
    image_folder: object = None
    remote: object = None


@dataclass
class StringInput(WidgetInput):
    multiline: bool = False
    placeholder: str | None = None
    dynamic_prompts: bool | None = None


@dataclass
class BooleanInput(WidgetInput):
    label_on: str | None = None
    label_off: str | None = None


SocketInput = Input


class MultiType:
    class Input(SocketInput):
        def __init__(self, id: str, types: list, **settings: object) -> None:
            super().__init__(id, **settings)
            self.io_type = ",".join(kind.io_type for kind in types)


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    hidden: list = field(default_factory=list)
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False


class NodeOutput:
    def __init__(self, *args: object, ui: object = None, expand: dict | None = None) -> None:
        self.args, self.ui = args, ui


class ComfyNode:
    hidden = None


class ComfyExtension:
    pass


class FolderType(str, Enum):
    input, output, temp = "input", "output", "temp"


class UploadType(str, Enum):
    audio, video, image = "audio_upload", "video_upload", "image_upload"


class Hidden(str, Enum):
    prompt, extra_pnginfo, unique_id = "PROMPT", "EXTRA_PNGINFO", "UNIQUE_ID"


io = SimpleNamespace(
    ComfyNode=ComfyNode,
    NodeOutput=NodeOutput,
    Schema=Schema,
    Custom=Custom,
    MultiType=MultiType,
    Hidden=Hidden,
    HiddenHolder=object,
    FolderType=FolderType,
    UploadType=UploadType,
    Image=Custom("IMAGE"),
    Mask=Custom("MASK"),
    Audio=Custom("AUDIO"),
    Video=Custom("VIDEO"),
    Int=Custom("INT", Number),
    Float=Custom("FLOAT", Number),
    String=Custom("STRING", StringInput),
    Boolean=Custom("BOOLEAN", BooleanInput),
    Combo=Custom("COMBO", ComboInput),
)


class VideoInput:
    def get_components(self) -> VideoComponents:
        raise NotImplementedError

    def get_stream_source(self) -> streams.BytesIO:
        buffer = streams.BytesIO()
        self.save_to(buffer)
        return buffer


@dataclass
class VideoComponents:
    images: object
    frame_rate: object
    audio: dict | None = None
    metadata: dict | None = None


class SavedResult(dict):
    def __init__(self, filename: str, subfolder: str, type: FolderType) -> None:
        super().__init__(filename=filename, subfolder=subfolder, type=type.value)


class Shown(dict):
    def as_dict(self) -> dict:
        return dict(self)


# The API has the name twice: io's inputs above, and the values that arrive on them.
Input = SimpleNamespace(Video=VideoInput, Audio=dict, Image=object)
InputImpl = SimpleNamespace(VideoFromFile=lambda path: path)
Types = SimpleNamespace(VideoComponents=VideoComponents, VideoContainer=str, VideoCodec=str)
ui = SimpleNamespace(
    SavedResult=SavedResult,
    SavedImages=lambda results, is_animated=False: Shown(images=results),
    PreviewVideo=lambda results: Shown(images=results),
    PreviewText=lambda text: text,
)
