"""Time from Run to a finished video on a warm ComfyUI server, and after another `crf`.

Each pack, of one or several, gets a fresh server, which first lip-syncs another video, so that every network
is there; then it runs the pack's own "Lip sync a video", and once more with nothing changed but the crf. The
figure is the processor time of the server's process, which other work on the machine leaves alone; the wall
time stands beside it. Run it with the server tests' folder on Python's path, for its server:

    PYTHONPATH=tests/comfyui python benchmarks/comfyui_time.py COMFYUI_DIR before=FOLDER after=. \
        --python COMFYUI_PYTHON -o benchmarks/results/comfyui_time.md
"""

from __future__ import annotations

import argparse
import copy
import datetime
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from comfy_server import ComfyServer, probe

WORKFLOW = Path("workflows", "api", "Lip sync a video.json")
# By class: the number of the node in that workflow may change.
VIDEO, SPEECH, COMBINE = "LoadVideo", "MyTalkLoadSpeech", "MyTalkVideoCombine"
OTHER_VIDEO, OTHER_CRF = "cartoon_boy.mp4", 30


@dataclass(frozen=True)
class Spent:
    """What a run took: processor and wall seconds."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Timed:
    """A pack: its name, the first run, the one with another crf; the video's frames and (width, height)."""

    name: str
    first: Spent
    again: Spent
    frames: int
    size: tuple[int, int]


def cpu_s(pid: int) -> float:
    """Processor seconds of a process, all threads, so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(comfyui: Path, pack: Path) -> Iterator[ComfyServer]:
    """A fresh server with that pack."""
    with tempfile.TemporaryDirectory() as folder:
        server = ComfyServer.start(comfyui, Path(folder) / "base", pack)
        try:
            yield server
        finally:
            server.stop()


def spend(server: ComfyServer, workflow: dict) -> tuple[Spent, Path]:
    """Run a workflow; what it took, and its video."""
    cpu, wall = cpu_s(server.process.pid), time.perf_counter()
    files = server.run(workflow)["files"]
    spent = Spent(cpu_s(server.process.pid) - cpu, time.perf_counter() - wall)
    return spent, next(path for path in files if path.suffix == ".mp4")


def measure(comfyui: Path, name: str, pack: Path) -> Timed:
    """One pack on a server of its own."""
    workflow = json.loads((pack / WORKFLOW).read_text())
    other = copy.deepcopy(workflow)
    inputs_of(other, VIDEO)["file"] = OTHER_VIDEO
    inputs_of(other, SPEECH)["duration_s"] = 1.0
    with serving(comfyui, pack) as server:
        spend(server, other)
        first, video = spend(server, workflow)
        inputs_of(workflow, COMBINE)["crf"] = OTHER_CRF
        again, _ = spend(server, workflow)
        found = probe(video)
    return Timed(name, first, again, found.frames, found.size)


def inputs_of(workflow: dict, kind: str) -> dict:
    """The inputs of the node of a class."""
    return next(node["inputs"] for node in workflow.values() if node["class_type"] == kind)


def table(rows: list[Timed], comfyui: Path) -> str:
    """Markdown."""
    version = (comfyui / "comfyui_version.py").read_text().split('"')[-2]
    frames, size = rows[0].frames, rows[0].size
    lines = [
        "# Time from Run to a finished video in ComfyUI",
        "",
        f"{datetime.date.today()}, ComfyUI {version} `--cpu`, {os.cpu_count()}-core CPU, {frames} frames of "
        f'{size[0]} x {size[1]}, "{WORKFLOW.stem}", a fresh server each, warmed by another video. Processor '
        "seconds of the server, in brackets wall seconds. `python benchmarks/comfyui_time.py`",
        "",
        "| pack | Run to the finished video | again with another crf |",
        "|---|---|---|",
        *(
            f"| {row.name} | {row.first.cpu_s:.1f} ({row.first.wall_s:.1f}) | "
            f"{row.again.cpu_s:.1f} ({row.again.wall_s:.1f}) |"
            for row in rows
        ),
    ]
    return "\n".join(lines) + "\n"


def named(text: str) -> tuple[str, Path]:
    """A name and a folder, of NAME=FOLDER."""
    name, _, folder = text.partition("=")
    if not (Path(folder) / WORKFLOW).is_file():
        raise argparse.ArgumentTypeError(f"NAME=FOLDER, a folder with {WORKFLOW}, was required; got {text!r}")
    return name, Path(folder).resolve()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comfyui", type=Path, help="folder of ComfyUI")
    parser.add_argument("packs", type=named, nargs="+", metavar="NAME=FOLDER", help="node packs to measure")
    parser.add_argument("--python", help="ComfyUI's Python; by default this one")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    if args.python:
        os.environ["COMFYUI_PYTHON"] = args.python
    rows = [measure(args.comfyui, *pack) for pack in args.packs]
    args.out.write_text(table(rows, args.comfyui))
    print(args.out.read_text())


if __name__ == "__main__":
    main()
