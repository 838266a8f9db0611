"""Many videos: jobs handed to workers that have loaded the model once, each done once, a report each."""

from __future__ import annotations

import json
import os
import platform
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..checkpoint.pretrained import own_folder, weights_in
from ..files import alone, replacing, write_text
from ..media.clip import Clip
from ..media.source import open_clip
from ..media.threads import available_cores
from .jobs import Job

if TYPE_CHECKING:
    from .model import LipSync

LOCK = ".mytalk-batch.lock"
# What a worker takes of a 1080p video, so that as many workers start as fit.
WORKER_BYTES = 1.5e9


@dataclass(frozen=True)
class Loading:
    """What a worker loads, once: see `LipSync.from_pretrained`. threads: that it may keep busy."""

    model: str = "mini"
    revision: str | None = None
    renderer: str = "auto"
    device: str = "auto"
    dtype: str = "auto"
    recognition: str | None = None
    threads: int = 1

    @property
    def made_by(self) -> dict[str, str | None]:
        """What of it changes the pictures; a job that was done by another is done again.

        Read anew each time: the weights in a model's folder may be others by now.
        """
        made_by = {"model": self.model, "revision": self.revision, "renderer": self.renderer}
        # What was made before there was a choice stays made.
        if self.recognition is not None:
            made_by["recognition"] = self.recognition
        if self.dtype != "auto":
            made_by["dtype"] = self.dtype
        folder = own_folder(self.model)
        return made_by if folder is None else made_by | {"weights": weights_in(folder)}


@dataclass(frozen=True)
class WorkerReady:
    """A worker is ready; or it never will be, and `problem` says why in a line."""

    problem: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a job went. error: a line, None where the video is written; frames, edited, duration_s, warnings:
    as in `Report`; spent: the worker met what nobody foresaw, and is not to be used again."""

    error: str | None = None
    frames: int = 0
    edited: int = 0
    duration_s: float = 0.0
    warnings: tuple[str, ...] = ()
    spent: bool = False


@dataclass(frozen=True)
class WorkerLost:
    """A worker ended without an answer."""

    why: str


Answer = WorkerReady | Outcome | WorkerLost


class Engine(Protocol):
    """Where workers live. A member is what an engine knows a worker by; it answers once to each job, and once
    with `WorkerReady` before the first."""

    def start(self, loading: Loading) -> Any:
        """A new member, which begins to load."""
        ...

    def give(self, member: Any, job: Job) -> None:
        """Hand over a job; a member that is lost says so in its answer."""
        ...

    def wait(self, members: Sequence[Any]) -> list[tuple[Any, Answer]]:
        """Answers of some of these members, at least one."""
        ...

    def stop(self, member: Any) -> None:
        """End a member, whatever it does, and what it left half-written."""
        ...


class Worker:
    """Who does jobs one after the other: what each worker process holds, the loaded model.

    In a program that works itself, as a ComfyUI server does: opened: how it opens a video, as `open_clip`;
    ends: errors that end the worker and not its job alone, as its Cancel; more: settings of `lip_sync` that
    change nothing in the result, as its progress.
    """

    def __init__(
        self,
        loading: Loading,
        *,
        model: LipSync | None = None,
        opened: Callable[[Path, Fraction | None], Clip] = open_clip,
        ends: type[BaseException] | tuple[type[BaseException], ...] = (),
        **more: Any,
    ) -> None:
        self.loading, self.opened, self.ends, self.more = loading, opened, ends, more
        # By what is loaded now, whatever its folder holds later.
        self.made_by = loading.made_by
        if model is not None:
            self.model = model

    def load(self) -> WorkerReady:
        """Load the model, on as many threads as were given."""
        import cv2
        import torch

        from .model import LipSync

        loading = self.loading
        torch.set_num_threads(loading.threads)
        cv2.setNumThreads(loading.threads)
        try:
            self.model = LipSync.from_pretrained(
                loading.model,
                renderer=loading.renderer,
                device=loading.device,
                dtype=loading.dtype,
                revision=loading.revision,
                recognition=loading.recognition,
            )
        except (ValueError, OSError) as error:
            return WorkerReady(str(error))
        return WorkerReady()

    def do(self, job: Job) -> Outcome:
        """Make a video and its report, which take their names together. A failure is an outcome, too."""
        from .lip_sync import lip_sync

        facts = job.facts(self.made_by)
        how = job.settings
        try:
            with replacing(job.report) as temporary:
                report = lip_sync(
                    self.opened(job.video, how.frame_rate),
                    job.speech,
                    job.output,
                    model=self.model,
                    face=how.face,
                    emotion=how.emotion,
                    sync_mode=how.sync_mode,
                    options=how.options,
                    codec=how.codec,
                    crf=how.crf,
                    strict=how.strict,
                    **self.more,
                )
                said = report.to_dict() | {"bytes": job.output.stat().st_size}
                said |= {"worker": f"{platform.node()} {os.getpid()}", "job": facts}
                temporary.write_text(_text(said), encoding="utf-8")
        except self.ends:
            raise
        except (ValueError, OSError) as error:
            return fail(job, facts, str(error))
        # One job's mishap, as a card without memory, must not end those that wait.
        except Exception as error:
            return replace(fail(job, facts, f"{type(error).__name__}: {error}"), spent=True)
        return Outcome(None, report.frames, report.frames_edited, report.duration_s, tuple(report.warnings))


def fail(job: Job, facts: dict[str, Any], why: str) -> Outcome:
    """The outcome of a job that failed, and its report."""
    line = " ".join(why.split())
    with suppress(OSError):
        write_text(job.report, _text({"error": line, "job": facts}))
    return Outcome(line)


def _text(report: dict[str, Any]) -> str:
    return json.dumps(report, indent=2) + "\n"


def run_batch(
    jobs: Sequence[Job], engine: Engine, loading: Loading, workers: int
) -> Iterator[tuple[Job, Outcome]]:
    """Do all jobs of one folder, and yield each as it ends; one that fails stops no other.

    jobs: those that are to be done, see `Job.is_done`; workers: how many at most. Raises ValueError where no
    worker can load the model; MediaError where another run works in the folder.
    """
    if not jobs:
        return
    with alone(jobs[0].output.parent / LOCK, f"works in {jobs[0].output.parent}"):
        yield from _hand_out(jobs, engine, loading, workers)


def _hand_out(
    jobs: Sequence[Job], engine: Engine, loading: Loading, workers: int
) -> Iterator[tuple[Job, Outcome]]:
    waiting = deque(jobs)
    crew: dict[Any, Job | None] = {}
    try:
        for _ in range(min(workers, len(jobs))):
            crew[engine.start(loading)] = None
        while crew:
            for member, answer in engine.wait(list(crew)):
                job, crew[member] = crew[member], None
                if job is not None:
                    yield job, _outcome(job, answer, loading)
                if _is_fit(answer) and waiting:
                    crew[member] = following = waiting.popleft()
                    engine.give(member, following)
                    continue
                del crew[member]
                engine.stop(member)
                if job is None and not _is_fit(answer) and not crew:
                    why = answer.why if isinstance(answer, WorkerLost) else getattr(answer, "problem", None)
                    raise ValueError(f"a model that loads was required: {why}")
                if job is not None and waiting:
                    crew[engine.start(loading)] = None
    finally:
        for member in crew:
            engine.stop(member)


def _is_fit(answer: Answer) -> bool:
    """Whether who answered so can take a job."""
    if isinstance(answer, WorkerReady):
        return answer.problem is None
    return isinstance(answer, Outcome) and not answer.spent


def _outcome(job: Job, answer: Answer, loading: Loading) -> Outcome:
    if isinstance(answer, WorkerLost):
        return fail(job, job.facts(loading.made_by), answer.why)
    assert isinstance(answer, Outcome)  # a member that has a job answers to it
    return answer


def workers_here(jobs: int, cuda: int) -> int:
    """How many workers suit this machine: one a card where there are `cuda` of them, else one a core, as far
    as memory goes: one thread a worker wastes least."""
    most = cuda or available_cores()
    if not cuda and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        most = min(most, int(memory / WORKER_BYTES))
    return max(1, min(jobs, most))
