"""LipSyncFolder."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
from comfy_api.latest import InputImpl, io, ui

from ..mytalk_core.appearance.renderers import RENDERERS
from ..mytalk_core.files import stamp_of_all
from ..mytalk_core.media.clip import Clip
from ..mytalk_core.media.source import open_clip
from ..mytalk_core.motion.generate import MotionOptions
from ..mytalk_core.motion.manner import MANNERS
from ..mytalk_core.pipeline.batch import Answer, Loading, Outcome, Worker, WorkerReady, run_batch
from ..mytalk_core.pipeline.jobs import Job, Settings, read_jobs, under_free_names
from .clips import CancellableClip
from .formats import FORMATS, check_format, quality_inputs
from .host import rare, schema
from .inputs import emotion_strength_input, expression_input, sampling_inputs, sync_mode_input
from .linked import checked, never_the_same
from .memory import LoadedModel
from .outputs import output_path
from .progress import NodeProgress
from .screen import plainly, said
from .sockets import ModelSocket
from .video import existing

# Where each stage begins and ends in a video's share of the bar.
SHARES = {"landmarks": (0.0, 0.4), "motion": (0.4, 0.5), "render": (0.5, 1.0)}
STEPS = 100


class LipSyncFolder(io.ComfyNode):
    """Every video of a folder to a video."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See the help page."""
        return schema(
            node_id="MyTalkLipSyncFolder",
            display_name="Lip Sync Folder",
            description="Makes every video of a folder say its speech, one after the other, into files named "
            "after them, with a report each. One that fails stops no other, and no file is replaced.",
            inputs=[
                ModelSocket.Input("model", tooltip="From Load MyTalk Model."),
                io.String.Input(
                    "videos",
                    default="videos",
                    tooltip="A folder of videos: in ComfyUI's input folder, or a whole path.",
                ),
                io.String.Input(
                    "speeches",
                    default="speeches",
                    tooltip="A folder of speeches, each with its video's name (anna.mp4, anna.wav); or one "
                    "file that every video says. In ComfyUI's input folder, or a whole path.",
                ),
                io.String.Input(
                    "output_folder",
                    default="MyTalk/folder",
                    tooltip="Folder of the results, in ComfyUI's output folder; made if it is missing.",
                ),
                io.Combo.Input(
                    "face",
                    options=["largest", "left", "right"],
                    default="largest",
                    tooltip="Which face of each video: the largest, or the one at the left or right.",
                ),
                sync_mode_input(),
                expression_input(),
                rare(
                    io.Combo.Input,
                    "manner",
                    options=list(MANNERS),
                    default="own",
                    tooltip="How far mouths open. own: about as far as each person's does in the source; "
                    "model: as far as most people's.",
                ),
                rare(
                    io.Int.Input,
                    "seed",
                    default=0,
                    min=0,
                    max=2**63 - 1,
                    control_after_generate=False,
                    tooltip="The same seed gives the same motion.",
                ),
                io.Combo.Input(
                    "renderer",
                    options=list(RENDERERS),
                    default="auto",
                    tooltip="How lips are drawn, as in Appearance Generate.",
                ),
                *quality_inputs(),
                io.Boolean.Input(
                    "resume",
                    default=False,
                    tooltip="For long videos: finished pieces are kept beside the output, so that a run that "
                    "was cancelled or broke goes on after the last one, to the same bits.",
                ),
                io.String.Input(
                    "emotion",
                    default="",
                    optional=True,
                    tooltip="A video or picture whose largest face's expression every face takes on; empty: "
                    "each keeps its own. In ComfyUI's input folder, or a whole path.",
                ),
                emotion_strength_input("emotion"),
                *sampling_inputs(optional=True),
            ],
            outputs=[
                io.Video.Output(
                    display_name="videos",
                    is_output_list=True,
                    tooltip="The videos that are there now, one after the other, for nodes behind this one.",
                ),
                io.String.Output(display_name="paths", is_output_list=True, tooltip="Where each of them is."),
                io.String.Output(display_name="summary", tooltip="A line for each video."),
            ],
            is_output_node=True,
        )

    @classmethod
    @plainly
    @checked
    def execute(
        cls,
        model: LoadedModel,
        videos: str,
        speeches: str,
        output_folder: str,
        face: str,
        sync_mode: str,
        expression: float,
        manner: str,
        seed: int,
        renderer: str,
        format: str,
        crf: int,
        resume: bool,
        emotion: str = "",
        **sampling: Any,
    ) -> io.NodeOutput:
        """Do what is not done yet, say how each went."""
        codec, suffix = FORMATS[format]
        options = MotionOptions(seed=seed, expression=expression, manner=manner, **sampling)
        reference = input_path(emotion) if emotion.strip() else None
        settings = Settings(
            sync_mode=sync_mode, face=face, codec=codec, crf=crf, options=options, emotion=reference
        )
        loading = Loading(str(model.model.source), model.model.revision, renderer)
        folder = existing(str(output_path(output_folder)))
        jobs = read_jobs(input_path(videos), input_path(speeches), folder, settings, suffix)
        jobs = under_free_names(jobs, loading.made_by)
        outcomes = work(jobs, loading, model.with_renderer(renderer), resume)
        lines, paths = summary(jobs, outcomes), there(jobs, outcomes)
        shown = ui.PreviewVideo([saved(path) for path in paths]).as_dict() | said("Lip Sync Folder", lines)
        made = [InputImpl.VideoFromFile(str(path)) for path in paths]
        return io.NodeOutput(made, [str(path) for path in paths], "\n".join(lines), ui=shown)

    @classmethod
    def validate_inputs(
        cls,
        videos: str | None,
        speeches: str | None,
        output_folder: str | None,
        format: str | None,
        crf: int | None,
        emotion: str | None = None,
    ) -> bool | str:
        """What cannot be read or written is refused before the run; a linked value is None here."""
        if videos is not None and not input_path(videos).is_dir():
            return f"No folder {videos!r} in ComfyUI's input folder: name one there, or give its whole path"
        if speeches is not None and not input_path(speeches).exists():
            return (
                f"No folder or file {speeches!r} in ComfyUI's input folder: name one there, or give its "
                "whole path"
            )
        if emotion and emotion.strip() and not input_path(emotion).is_file():
            return (
                f"No video or picture {emotion!r} in ComfyUI's input folder: name one there, give its whole "
                "path, or leave emotion empty"
            )
        try:
            output_path(output_folder or "")
        except ValueError as error:
            return str(error)
        return check_format(format, crf)

    @classmethod
    def fingerprint_inputs(
        cls,
        videos: str | None,
        speeches: str | None,
        output_folder: str | None,
        emotion: str | None = "",
        **rest: object,
    ) -> str | float:
        """What is in the folders, the results too: what is missing is made again. A linked name is None here,
        and runs each time."""
        if videos is None or speeches is None or output_folder is None or emotion is None:
            return never_the_same()
        places = [input_path(videos), input_path(speeches), output_path(output_folder)]
        places += [input_path(emotion)] if emotion.strip() else []
        files = [place.glob("*") if place.is_dir() else [place] for place in places]
        return stamp_of_all(chain.from_iterable(files))


class InlineEngine:
    """The engine of a node: its one member is this process, which does a job when it is waited for."""

    def __init__(self, worker: Worker, model: LoadedModel) -> None:
        self.worker, self.model = worker, model
        self.job: Job | None = None

    def start(self, loading: Loading) -> Worker:
        """Nothing is to be loaded."""
        return self.worker

    def give(self, member: Worker, job: Job) -> None:
        """See `Engine`."""
        self.job = job

    def wait(self, members: Sequence[Worker]) -> list[tuple[Worker, Answer]]:
        """Do the job."""
        job, self.job = self.job, None
        if job is None:
            return [(self.worker, WorkerReady())]
        self.worker.model = self.model.all_ready()
        return [(self.worker, self.worker.do(job))]

    def stop(self, member: Worker) -> None:
        """Nothing of it stays."""


def work(jobs: Sequence[Job], loading: Loading, model: LoadedModel, resume: bool) -> dict[Path, Outcome]:
    """Do the jobs that are not done yet; how each went, by its output."""
    made_by = loading.made_by
    todo = [job for job in jobs if not job.is_done(made_by)]
    outcomes: dict[Path, Outcome] = {}
    bar = NodeProgress()

    def show(stage: str, done: int, total: int) -> None:
        begin, end = SHARES[stage]
        share = len(outcomes) + begin + (end - begin) * done / max(total, 1)
        bar("folder", round(STEPS * share), STEPS * len(todo))

    cancelled = comfy.model_management.InterruptProcessingException
    worker = Worker(loading, opened=open_cancellable, ends=cancelled, progress=show, resume=resume)
    for job, outcome in run_batch(todo, InlineEngine(worker, model), loading, 1):
        outcomes[job.output] = outcome
    return outcomes


def open_cancellable(path: Path, frame_rate: Fraction | None) -> Clip:
    """A video that Cancel stops whoever reads it."""
    return CancellableClip.of(open_clip(path, frame_rate))


def there(jobs: Sequence[Job], outcomes: dict[Path, Outcome]) -> list[Path]:
    """The outputs that are there now. Raises ValueError where all failed."""
    failed = {path: outcome.error for path, outcome in outcomes.items() if outcome.error is not None}
    if len(failed) == len(jobs):
        first, why = next(iter(failed.items()))
        raise ValueError(
            f"at least one video that can be lip-synced was required, but all {len(jobs)} failed; "
            f"{first.name}: {why}"
        )
    return [job.output for job in jobs if job.output not in failed]


def summary(jobs: Sequence[Job], outcomes: dict[Path, Outcome]) -> list[str]:
    """How many of each kind, then a line for each video, and for what one should know of it."""
    failed = sum(outcome.error is not None for outcome in outcomes.values())
    made = len(outcomes) - failed
    lines = [f"{made} made, {len(jobs) - len(outcomes)} were there, {failed} failed"]
    for job in jobs:
        outcome, name = outcomes.get(job.output), f"{job.video.name} -> {job.output.name}"
        if outcome is None:
            lines.append(f"{name}: was there")
        elif outcome.error is not None:
            lines.append(f"{job.video.name}: failed: {outcome.error}")
        else:
            lines.append(f"{name}: {outcome.frames} frames, {outcome.edited} edited")
            lines += [f"{job.output.name}: {warning}" for warning in outcome.warnings]
    return lines


def saved(path: Path) -> ui.SavedResult:
    """How the page is told of a file in the output folder."""
    below = path.relative_to(output_path("."))
    folder = below.parent.as_posix()
    return ui.SavedResult(below.name, "" if folder == "." else folder, io.FolderType.output)


def input_path(name: str) -> Path:
    """A folder or file of ComfyUI's input folder by its name there; a whole path as it is."""
    return Path(folder_paths.get_input_directory()) / Path(name.strip()).expanduser()


NODES = [LipSyncFolder]
