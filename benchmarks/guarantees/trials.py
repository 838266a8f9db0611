"""One trial: what is done, in a worker that may crash or hang, and what lies in its folder afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import selectors
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
LIMIT_S = 180.0


@dataclass(frozen=True)
class Result:
    """A line of the table. ok: whether what was observed is what was expected."""

    group: str
    name: str
    expected: str
    observed: str
    ok: bool


@dataclass
class Worker:
    """The process that trials run in; started again where it ended.

    home: an empty folder that is its home, its folder for temporary files and its current one.
    """

    home: Path
    process: subprocess.Popen | None = None
    peak_mb: float = 0.0
    restarts: int = field(default=-1)

    def ask(self, kind: str, arguments: list[str], limit_s: float = LIMIT_S) -> tuple[str, list[str]]:
        """What came of a trial, and the lines for the user."""
        process = self._running()
        try:
            process.stdin.write(json.dumps({"kind": kind, "arguments": arguments}) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            return self._ended(process)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(limit_s):
                process.kill()
                self.process = None
                return f"hangs: nothing for {limit_s:.0f} s", []
        reply = process.stdout.readline()
        if not reply:
            return self._ended(process)
        answer = json.loads(reply)
        self.peak_mb = max(self.peak_mb, answer["peak_mb"] or 0.0)
        return answer["outcome"], answer["lines"]

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def _running(self) -> subprocess.Popen:
        if self.process is None or self.process.poll() is not None:
            self.restarts += 1
            self.process = subprocess.Popen(
                [sys.executable, str(HERE / "worker.py")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=self.home,
                env=environment(self.home),
            )
        return self.process

    def _ended(self, process: subprocess.Popen) -> tuple[str, list[str]]:
        self.process = None
        return f"crash, code {process.wait()}", []


def environment(home: Path) -> dict[str, str]:
    """A process's environment in which whatever is written beside the outputs lies in `home`."""
    root = str(HERE.parents[1])
    paths = os.pathsep.join(path for path in (root, os.environ.get("PYTHONPATH", "")) if path)
    return os.environ | {"HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}


def contents(folder: Path) -> dict[str, str]:
    """A hash of every file below a folder, by its path in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def files_in(folder: Path) -> list[str]:
    """The files below a folder; torch makes itself an empty folder for temporary files."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def strewn(before: dict[str, str], folder: Path, made: set[str], home: Path) -> str:
    """What lies where nothing should, or is not what it was; empty where all is well."""
    after = contents(folder)
    changed = [name for name in before if after.get(name) != before[name]]
    new = [name for name in after if name not in before and name not in made]
    outside = files_in(home)
    words = [*(f"changed {name}" for name in changed), *(f"left {name}" for name in new + outside)]
    return ", ".join(words)
