"""Workers as processes of this machine, spawned: a fork would take over the locks of threads, but no threads.

Beside `concurrent.futures`: a process that dies, as when memory runs out, costs its own job only; and all end
when the batch does, also where it is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ..program import stoppable
from .batch import Answer, Loading, Worker, WorkerLost
from .jobs import Job

ENDING_S = 10
# Windows has no masks of signals.
HOLDS_SIGNALS = hasattr(signal, "pthread_sigmask")


@dataclass(frozen=True, eq=False)
class WorkerProcess:
    """A worker's process, and this end of its pipe."""

    process: BaseProcess
    pipe: Connection


class Processes:
    """An `Engine` on one machine. cuda: how many cards its workers are dealt out to; 0: none is meant."""

    def __init__(self, cuda: int = 0) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._cuda, self._started = cuda, 0

    def start(self, loading: Loading) -> WorkerProcess:
        """See `Engine.start`."""
        if self._cuda:
            loading = replace(loading, device=f"cuda:{self._started % self._cuda}")
        self._started += 1
        here, there = self._context.Pipe()
        process = self._context.Process(target=serve, args=(there, loading), name="mytalk worker")
        with _ctrl_c_held():
            process.start()
        there.close()
        return WorkerProcess(process, here)

    def give(self, member: WorkerProcess, job: Job) -> None:
        """See `Engine.give`."""
        # Where it is gone, waiting for its answer tells.
        with suppress(OSError):
            member.pipe.send(job)

    def wait(self, members: Sequence[WorkerProcess]) -> list[tuple[WorkerProcess, Answer]]:
        """See `Engine.wait`."""
        ready = wait([member.pipe for member in members])
        return [(member, self._answer(member)) for member in members if member.pipe in ready]

    def _answer(self, member: WorkerProcess) -> Answer:
        try:
            return member.pipe.recv()
        except (EOFError, OSError):
            member.process.join(ENDING_S)
            code = member.process.exitcode or 0
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            return WorkerLost(
                f"its worker process {how}, as when memory runs out: see whether fewer workers help"
            )

    def stop(self, member: WorkerProcess) -> None:
        """See `Engine.stop`."""
        member.pipe.close()
        member.process.terminate()
        member.process.join(ENDING_S)
        if member.process.is_alive():
            member.process.kill()
            member.process.join()


def serve(pipe: Connection, loading: Loading) -> None:
    """A worker process: says that it has loaded, then does what comes, until nobody is there any more."""
    # The batch has ended (EOFError), or is stopped, and so is this, with nothing half-written.
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt), stoppable():
        if HOLDS_SIGNALS:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        threading.Thread(target=_end_with_parent, daemon=True).start()
        worker = Worker(loading)
        pipe.send(worker.load())
        while True:
            outcome = worker.do(pipe.recv())
            pipe.send(outcome)
            if outcome.spent:
                return


@contextmanager
def _ctrl_c_held() -> Iterator[None]:
    """What is started in the block gets Ctrl-C, which a terminal sends to all, once it unblocks it: a worker
    that still imports would end with a traceback."""
    if not HOLDS_SIGNALS:
        yield
        return
    # Its start, which is part of the first worker's, would unblock the signal.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Who would work on for a batch that was killed would do what its next run does again."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # this is a child
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
