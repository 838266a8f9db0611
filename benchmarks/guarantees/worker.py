"""Tries one thing after another in a process of its own, so that a crash or a hang is only that.

Reads a trial a line from stdin as JSON, {"kind", "arguments"}, and answers each with a line: what came of it,
"made", "refused", "traceback" or another end; the lines for the user; the peak memory in MB.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mytalk_core.cli.main import main
from mytalk_core.evaluation.benchmark.protocol import list_clips
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.writer import VideoWriter
from mytalk_core.memory import peak_memory_mb
from mytalk_core.motion.motion import Motion
from mytalk_core.pipeline import LipSync
from mytalk_core.program import in_one_line


def run_command(arguments: list[str]) -> tuple[str, list[str]]:
    """`mytalk` with these arguments: refused means exit code 1 and one line that says why."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(arguments)
    # On a slow machine progress bars show before the message.
    lines = [line for line in said.getvalue().splitlines() if line.startswith("mytalk:")]
    errors = [line for line in lines if not line.startswith("mytalk: note:")]
    if code == 0:
        return "made", lines
    return ("refused", errors) if code == 1 and len(errors) == 1 else (f"code {code}", lines)


def run_stopped(arguments: list[str]) -> tuple[str, list[str]]:
    """The same, stopped when all is drawn and nothing has its name yet."""

    def stop(self: VideoWriter) -> None:
        raise KeyboardInterrupt

    finish, VideoWriter._finish = VideoWriter._finish, stop
    try:
        return run_command(arguments)
    finally:
        VideoWriter._finish = finish


def run_reader(read: Callable[[Path], Any]) -> Callable[[list[str]], tuple[str, list[str]]]:
    """Read a file that must be whole, or be refused in one line."""

    def run(arguments: list[str]) -> tuple[str, list[str]]:
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            code = in_one_line(lambda: read(Path(arguments[0])), "mytalk")
        lines = said.getvalue().splitlines()
        if code == 0:
            return "made", []
        return ("refused" if code == 1 and len(lines) == 1 else "more than one line"), lines

    return run


KINDS = {
    "command": run_command,
    "stopped": run_stopped,
    "motion": run_reader(Motion.load),
    "track": run_reader(FaceTrack.load),
    "manifest": run_reader(list_clips),
}


def answer(kind: str, arguments: list[str]) -> dict:
    """One trial."""
    try:
        outcome, lines = KINDS[kind](arguments)
    except Exception:
        outcome, lines = "traceback", traceback.format_exc().splitlines()[-1:]
    return {"outcome": outcome, "lines": lines, "peak_mb": peak_memory_mb()}


if __name__ == "__main__":
    # Networks are read once for all trials of one model.
    LipSync.from_pretrained = staticmethod(functools.lru_cache(maxsize=1)(LipSync.from_pretrained))
    for request in sys.stdin:
        trial = json.loads(request)
        print(json.dumps(answer(trial["kind"], trial["arguments"])), flush=True)
