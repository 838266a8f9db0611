"""Peak memory of a ComfyUI server that lip-syncs a long video, beside one that lip-syncs a short one.

Each length gets a fresh server, which runs "Lip sync a long video" through `/prompt`. The resident memory
of the server and all of its children is added up twice a second, and the operating system's own record of
the server's peak is read at the end; the larger figure counts. Run it with the server tests' folder on
Python's path, for its server:

    PYTHONPATH=tests/comfyui python benchmarks/comfyui_memory.py COMFYUI_DIR CLIP_1080P SPEECH \
        --python COMFYUI_PYTHON -o benchmarks/results/comfyui_memory.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from comfy_server import ComfyServer
from pack_loader import ROOT
from whole_process import SECONDS, repeat_speech, repeat_video

from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip

WORKFLOW = "Lip sync a long video"
SAMPLE_EVERY_S = 0.5
LIMIT_MB = 500


@dataclass(frozen=True)
class Run:
    """One length: the server's memory when idle and at its peak, how long it took, what the file holds."""

    seconds: int
    idle_mb: float
    peak_mb: float
    wall_s: float
    frames: int
    sound_s: float


@dataclass
class MemoryRecord:
    """The largest memory that a process and its children have held, added up while the record is open."""

    pid: int
    peak_mb: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> MemoryRecord:
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak_mb = max(self.peak_mb, status_mb(self.pid, "VmHWM"))

    def _sample(self) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            self.peak_mb = max(self.peak_mb, tree_mb(self.pid))


def status_mb(pid: int, name: str) -> float:
    """A process's VmRSS or VmHWM in MB; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)


def tree_mb(pid: int) -> float:
    """Resident memory in MB of a process and all of its descendants."""
    try:
        listed = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return status_mb(pid, "VmRSS") + sum(tree_mb(int(child)) for child in " ".join(listed).split())


def run(comfyui: Path, clip: Path, speech: Path, seconds: int, model: str, renderer: str) -> Run:
    """A fresh server that makes one video of that length."""
    workflow = json.loads((ROOT / "workflows" / "api" / f"{WORKFLOW}.json").read_text())
    by_type = {node["class_type"]: node["inputs"] for node in workflow.values()}
    by_type["MyTalkLoadModel"]["model"], by_type["MyTalkAppearanceGenerate"]["renderer"] = model, renderer
    by_type["LoadVideo"]["file"], by_type["MyTalkLoadSpeech"]["audio"] = "long.mp4", "long.wav"
    with tempfile.TemporaryDirectory() as folder:
        server = ComfyServer.start(comfyui, Path(folder) / "base")
        try:
            repeat_video(clip, seconds, server.base / "input" / "long.mp4")
            repeat_speech(speech, seconds, server.base / "input" / "long.wav")
            idle_mb, start = tree_mb(server.process.pid), time.perf_counter()
            with MemoryRecord(server.process.pid) as record:
                result = server.result(server.submit(workflow), limit_s=12 * 3600)
            wall_s = time.perf_counter() - start
            if result["status"] != "success":
                raise RuntimeError(result["messages"].get("execution_error"))
            made = FileClip.open(next(path for path in result["files"] if path.suffix == ".mp4"))
            return Run(seconds, idle_mb, record.peak_mb, wall_s, len(made), made.speech().duration_s)
        finally:
            server.stop()


def table(runs: list[Run], clip: Clip, comfyui: Path, renderer: str) -> list[str]:
    """Markdown lines."""
    version = (comfyui / "comfyui_version.py").read_text().split('"')[-2]
    lines = [
        "# Memory of a ComfyUI server",
        "",
        f"{datetime.date.today()}, ComfyUI {version} `--cpu`, {os.cpu_count()}-core CPU, "
        f"{clip.width}x{clip.height} at {float(clip.fps):g} frames/s, face in every frame, the graph of "
        f'"{WORKFLOW}" with renderer `{renderer}`, a fresh server each. '
        "`python benchmarks/comfyui_memory.py`",
        "",
        "| input | frames out | sound, s | server idle, MB | peak, MB | wall, s |",
        "|---|---|---|---|---|---|",
        *(
            f"| {r.seconds} s | {r.frames} | {r.sound_s:.1f} | {r.idle_mb:.0f} | "
            f"{r.peak_mb:.0f} | {r.wall_s:.0f} |"
            for r in runs
        ),
    ]
    if len(runs) > 1:
        grown = runs[-1].peak_mb - runs[0].peak_mb
        lines += [
            "",
            f"{runs[-1].seconds} s need {grown:+.0f} MB beside {runs[0].seconds} s; {LIMIT_MB} are allowed.",
        ]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comfyui", type=Path, help="folder of ComfyUI")
    parser.add_argument("clip", type=Path)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--python", help="ComfyUI's Python; by default this one")
    parser.add_argument("--seconds", type=int, nargs="+", default=SECONDS)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--renderer", default="warp")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    if args.python:
        os.environ["COMFYUI_PYTHON"] = args.python
    runs = []
    for seconds in args.seconds:
        runs.append(run(args.comfyui, args.clip, args.speech, seconds, args.model, args.renderer))
        args.out.write_text(
            "\n".join(table(runs, FileClip.open(args.clip), args.comfyui, args.renderer)) + "\n"
        )
    print(args.out.read_text())


if __name__ == "__main__":
    main()
