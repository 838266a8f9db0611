"""Load MyTalk Model and LoadSpeech."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import Input, io

from ..mytalk_core.files import stamp, stamp_of_all
from ..mytalk_core.media.audio import Speech
from ..mytalk_core.media.cut import cut_speech
from .host import rare, schema
from .linked import checked, never_the_same
from .memory import BUNDLED, LoadedModel, bundled_model
from .screen import plainly, said
from .sockets import ModelSocket
from .sound import of_several, to_audio, to_speech

FOLDER = "mytalk"
FROM_HUB = "Hugging Face repository"
# A linked input is None before a run, as its value is not made yet, and in a run where that is nothing.
UNLINKED: Any = object()


def register_model_folder() -> None:
    """Tell ComfyUI of models/mytalk, beside the folders that extra_model_paths.yaml may name."""
    folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


def installed_models() -> dict[str, Path]:
    """Name -> folder of every model below models/mytalk: a folder with motion/config.json in it."""
    found: dict[str, Path] = {}
    for folder in map(Path, folder_paths.get_folder_paths(FOLDER)):
        # Path.glob does not enter linked folders, and models are often kept elsewhere and linked.
        for parent, below, _ in os.walk(folder, followlinks=True):
            below[:] = [name for name in below if not leads_back(Path(parent, name))]
            if (Path(parent) / "motion" / "config.json").is_file():
                found.setdefault(Path(parent).relative_to(folder).as_posix(), Path(parent))
    return dict(sorted(found.items()))


def leads_back(folder: Path) -> bool:
    """Whether a folder is a link to one that it lies in, as linking a folder twice leaves."""
    return folder.is_symlink() and folder.parent.resolve().is_relative_to(folder.resolve())


class LoadModel(io.ComfyNode):
    """The model that turns speech into motion."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkLoadModel",
            display_name="Load MyTalk Model",
            description="Loads the model that turns speech into mouth movement. 'mini' comes with the pack.",
            inputs=[
                io.Combo.Input(
                    "model",
                    options=[BUNDLED, *(name for name in installed_models() if name != BUNDLED), FROM_HUB],
                    default=BUNDLED,
                    tooltip="mini is part of the pack; others are folders in models/mytalk; the last entry "
                    "downloads the repository named below.",
                ),
                io.String.Input(
                    "repository",
                    default="",
                    tooltip="OWNER/NAME on Hugging Face, for the entry 'Hugging Face repository' only. It is "
                    "downloaded once; HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE are honoured.",
                ),
                rare(
                    io.String.Input,
                    "revision",
                    default="",
                    tooltip="Branch, tag or commit of the repository; empty is its main branch.",
                ),
            ],
            outputs=[
                ModelSocket.Output(display_name="model", tooltip="For the motion sampler and identity.")
            ],
        )

    @classmethod
    @plainly
    @checked
    def execute(cls, model: str, repository: str, revision: str) -> io.NodeOutput:
        """Load once; ComfyUI caches the result."""
        if model == FROM_HUB:
            return io.NodeOutput(LoadedModel.load(f"hub:{repository.strip()}", revision.strip() or None))
        if model == BUNDLED and model not in installed_models():
            return io.NodeOutput(bundled_model())
        return io.NodeOutput(LoadedModel.load(installed_models().get(model, model), None))

    @classmethod
    def fingerprint_inputs(cls, model: str, **rest: str) -> str:
        """When each of an installed model's files was written: other weights under its name are loaded."""
        folder = installed_models().get(model)
        return stamp_of_all([] if folder is None else (path for path in folder.rglob("*") if path.is_file()))


class LoadSpeech(io.ComfyNode):
    """Speech from any audio or video file, or from an AUDIO."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkLoadSpeech",
            shows=True,
            display_name="Load Speech",
            description="Speech from any sound or video file, or from an AUDIO input, trimmed and levelled.",
            inputs=[
                # All are optional, and so in the order in which shared workflows hold their values.
                io.Combo.Input(
                    "audio",
                    options=sound_files(),
                    optional=True,
                    upload=io.UploadType.audio,
                    tooltip="A sound file, or a video whose sound is taken, in ComfyUI's input folder. Not "
                    "used when the AUDIO input is linked.",
                ),
                io.Float.Input(
                    "start_s",
                    default=0.0,
                    optional=True,
                    min=0.0,
                    max=36000.0,
                    step=0.01,
                    tooltip="Seconds: where the speech begins in the file.",
                ),
                io.Float.Input(
                    "duration_s",
                    default=0.0,
                    optional=True,
                    min=0.0,
                    max=36000.0,
                    step=0.01,
                    tooltip="Seconds of speech to take; 0 takes all to the end.",
                ),
                io.Float.Input(
                    "gain_db",
                    default=0.0,
                    optional=True,
                    min=-60.0,
                    max=60.0,
                    step=0.5,
                    tooltip="Decibels: makes the speech louder (+) or quieter (-).",
                ),
                io.Audio.Input(
                    "sound",
                    optional=True,
                    tooltip="AUDIO from another node, for example text to speech; replaces the file.",
                ),
            ],
            outputs=[io.Audio.Output(display_name="speech", tooltip="At the file's own rate and channels.")],
        )

    @classmethod
    @plainly
    @checked
    def execute(
        cls,
        audio: str | None = None,
        start_s: float = 0.0,
        duration_s: float = 0.0,
        gain_db: float = 0.0,
        sound: Input.Audio | None = UNLINKED,
    ) -> io.NodeOutput:
        """Open, cut, level."""
        lines = list[str]()
        if sound is not UNLINKED:
            speech, lines = to_speech(sound), of_several(sound)
        elif audio:
            speech = Speech.open(folder_paths.get_annotated_filepath(audio))
        else:
            raise FileNotFoundError("a sound is needed: choose or upload a file, or link an AUDIO to `sound`")
        part = to_audio(cut_speech(speech, start_s, duration_s or None, gain_db))
        return io.NodeOutput(part, ui=said("Load Speech", lines))

    @classmethod
    def fingerprint_inputs(
        cls, audio: str | None = "", sound: Input.Audio | None = UNLINKED, **rest: float
    ) -> tuple[int, int] | float | None:
        """When the file was written: another one under the same name is read again. A linked name is None
        here, and runs each time."""
        if audio == "" or sound is not UNLINKED:
            return None
        if audio is None:
            return never_the_same()
        return stamp(Path(folder_paths.get_annotated_filepath(audio)))

    @classmethod
    def validate_inputs(cls, audio: str | None = None, sound: Input.Audio | None = UNLINKED) -> bool | str:
        """A file outside the list, as from a workflow, is fine if it exists; with `sound` none is needed."""
        if not audio or sound is not UNLINKED or folder_paths.exists_annotated_filepath(audio):
            return True
        return f"No file {audio!r} in ComfyUI's input folder: choose one, or upload it with the button"


def sound_files() -> list[str]:
    """Sound and video files in ComfyUI's input folder."""
    folder = Path(folder_paths.get_input_directory())
    files = [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return sorted(folder_paths.filter_files_content_types(files, ["audio", "video"]))


NODES = [LoadModel, LoadSpeech]
