"""What a frame costs: CPU seconds of every stage, beside decode and encode alone and Wav2Lip's networks.

One clip is brought to several sizes, lengths and numbers of faces, and run on one thread and on more; all
ratios are of one run. The machine may be busy: CPU seconds hardly mind.

    python benchmarks/speed.py CLIP SPEECH -o benchmarks/results/speed.md
    python benchmarks/speed.py CLIP SPEECH -o benchmarks/results/speed_device.md --devices cuda cpu

The second form measures nothing but frames a second on devices, in a few minutes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from speed_tables import device_table, machine, plain_table, renderer_table, stage_table, stage_walls
from stage_costs import Cost, make_clip, measure
from wav2lip_shape import FACE_PX, MEL, S3FD, Generator

SIZES = {"512 px": (512, 512), "1080p": (1080, 1920), "2160p": (2160, 3840)}
# Wav2Lip's generator is run on so many frames at once.
TOGETHER = 16
# These are held against the first, on the smallest so many sizes.
RENDERERS, COMPARED = ["warp", "network"], 2
# So many frames warm a device.
WARM = 20
# Larger frames take S3FD minutes and gigabytes.
LARGEST_DETECTED = 1920 * 1080


def measure_shape(height: int, width: int, threads: int) -> dict[str, float]:
    """CPU seconds a frame of Wav2Lip's two networks on frames of that size, on the CPU."""
    torch.set_num_threads(threads)
    generator, found = Generator().eval(), {}
    with torch.inference_mode():
        mel, faces = torch.rand(TOGETHER, 1, *MEL), torch.rand(TOGETHER, 6, FACE_PX, FACE_PX)
        generator(mel[:1], faces[:1])
        begin = time.process_time()
        generator(mel, faces)
        found["generator"] = (time.process_time() - begin) / TOGETHER
        begin = time.process_time()
        S3FD().eval()(torch.rand(1, 3, height, width))
        found["S3FD"] = time.process_time() - begin
    return found


def start_up(clip: Path, speech: Path, folder: Path) -> dict[str, float]:
    """CPU seconds of processes that begin: the command's help, the import, one frame from start to file."""
    one = folder / "one.mp4"
    sync = ["sync", str(clip), str(speech), "-o", str(one), "--device", "cpu"]
    commands = {
        "mytalk --help": ["-m", "mytalk_core", "--help"],
        "import mytalk_core.pipeline": ["-c", "import mytalk_core.pipeline"],
        "mytalk sync, one frame": ["-m", "mytalk_core", *sync],
    }
    return {name: _child_seconds([sys.executable, *words]) for name, words in commands.items()}


def _child_seconds(command: list[str]) -> float:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, **quiet)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def in_child(
    clips: list[Path], speech: Path, device: str, threads: int, renderers: list[str], alone: bool = False
) -> list[Cost]:
    """`measure` in a process of its own, whose threads and memory nothing before has touched."""
    job = {"clips": [str(clip) for clip in clips], "speech": str(speech), "alone": alone}
    rows = _child(job | {"device": device, "threads": threads, "renderers": renderers})
    return [Cost(**row) for row in rows]


def shape_in_child(size: tuple[int, int], threads: int) -> dict[str, float]:
    """`measure_shape` in a process of its own."""
    return _child({"height": size[0], "width": size[1], "threads": threads})


def _child(job: dict[str, Any]) -> Any:
    """What this program prints of a job."""
    # As the command has it: threads that wait for each other do not spin.
    environment = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, __file__, "--measure", json.dumps(job)]
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return json.loads(answer.splitlines()[-1])


def device_report(source: Path, speech: Path, plan: Plan, devices: list[str], folder: Path) -> list[str]:
    """Frames a second on each device, by all renderers; markdown lines."""
    clips = [folder / "warm.mp4", *(folder / f"{name}.mp4" for name in plan.sizes)]
    for clip, size in zip(clips[1:], plan.sizes.values(), strict=True):
        make_clip(source, clip, size, plan.frames)
    make_clip(source, clips[0], next(iter(plan.sizes.values())), min(WARM, plan.frames))
    costs = [
        cost
        for device in devices
        for cost in in_child(clips, speech, device, max(plan.threads), RENDERERS, alone=True)
    ]
    return [
        "# Speed on devices",
        "",
        f"{machine()}. Seconds of the clock, {plan.frames} frames, loading apart; threads of PyTorch and "
        f"OpenCV. `python benchmarks/speed.py --devices {' '.join(devices)}`",
        "",
        *device_table(costs),
        "",
        "## Milliseconds a frame",
        "",
        *stage_walls(costs),
    ]


@dataclass(frozen=True)
class Plan:
    """What is measured: sizes by name, threads, frames a clip, lengths in seconds, numbers of faces."""

    sizes: dict[str, tuple[int, int]]
    threads: tuple[int, ...]
    frames: int
    lengths_s: tuple[float, ...]
    faces: tuple[int, ...]


def report(source: Path, speech: Path, plan: Plan, renderer: str, folder: Path) -> list[str]:
    """Measure all of it; markdown lines."""
    small = next(iter(plan.sizes.values()))
    wide = (small[0], small[1] * max(plan.faces))
    made = {f"{seconds:g} s": (small, round(25 * seconds), 1) for seconds in plan.lengths_s}
    made |= {f"{faces}": (wide, plan.frames, faces) for faces in plan.faces}
    made |= {name: (size, plan.frames, 1) for name, size in plan.sizes.items()}
    clips = [folder / f"{name}.mp4" for name in made]
    for clip, (size, frames, faces) in zip(clips, made.values(), strict=True):
        make_clip(source, clip, size, frames, faces)
    # The long ones before the large ones: the peak of the memory is the process's.
    costs = in_child(clips, speech, "cpu", plan.threads[0], [renderer])
    lengths, costs = costs[: len(plan.lengths_s)], costs[len(plan.lengths_s) :]
    crowds, costs = costs[: len(plan.faces)], costs[len(plan.faces) :]
    clips = clips[-len(plan.sizes) :]
    for threads in plan.threads[1:]:
        costs += in_child(clips, speech, "cpu", threads, [renderer])
    if torch.cuda.is_available():
        costs += in_child(clips, speech, "cuda", max(plan.threads), [renderer])
    drawn = in_child(clips[:COMPARED], speech, "cpu", plan.threads[0], RENDERERS)
    shapes = {
        (name, threads): shape_in_child(size, threads)
        for name, size in plan.sizes.items()
        for threads in plan.threads
        if math.prod(size) <= LARGEST_DETECTED
    }
    one = folder / "one frame.mp4"
    make_clip(source, one, small, 1)
    return [
        "# Speed",
        "",
        f"{machine()}; renderer `{renderer}`. CPU seconds a frame, user "
        f"and system, all threads, of {plan.frames} frames, loading apart. `python benchmarks/speed.py`",
        "",
        *stage_table(costs, shapes),
        "",
        "Wav2Lip's networks have random weights and its published shape, in PyTorch on the same CPU: "
        "arithmetic only, no decoding, no pasting. Loading: "
        f"{costs[0].seconds['load']:.1f} CPU seconds.",
        "",
        f"## Length ({small[1]}x{small[0]}, one process from the shortest to the longest)",
        "",
        *plain_table(lengths, "length"),
        "",
        f"## Faces ({wide[1]}x{wide[0]}; all are tracked, one is drawn)",
        "",
        *plain_table(crowds, "faces"),
        "",
        "## Renderers (CPU seconds a frame, one process)",
        "",
        *renderer_table(drawn),
        "",
        "## Start",
        "",
        "| process | CPU seconds |",
        "|---|---|",
        *(f"| `{name}` | {seconds:.2f} |" for name, seconds in start_up(one, speech, folder).items()),
    ]


def _measured(job: dict[str, Any]) -> Any:
    """A child's answer to `_child`."""
    if "clips" not in job:
        return measure_shape(**job)
    clips = [Path(clip) for clip in job.pop("clips")]
    return [asdict(cost) for cost in measure(clips, Path(job.pop("speech")), **job)]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, nargs="?")
    parser.add_argument("speech", type=Path, nargs="?")
    parser.add_argument("--renderer", default="warp")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 60, 600])
    parser.add_argument("--devices", nargs="+", help="frames a second on these devices, and nothing else")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--quick", action="store_true", help="few and small: whether it runs")
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args(argv)
    if args.measure is not None:
        print(json.dumps(_measured(args.measure)))
        return
    if args.clip is None or args.speech is None or args.out is None:
        parser.error("CLIP, SPEECH and -o are needed")
    sizes = {name: SIZES[name] for name in args.sizes}
    plan = Plan(sizes, tuple(args.threads), args.frames, tuple(sorted(args.seconds)), (1, 2, 4))
    if args.quick:
        plan = Plan({"256 px": (256, 256)}, (1,), 5, (0.2, 0.4), (1, 2))
    with tempfile.TemporaryDirectory() as folder:
        lines = (
            device_report(args.clip, args.speech, plan, args.devices, Path(folder))
            if args.devices
            else report(args.clip, args.speech, plan, args.renderer, Path(folder))
        )
    args.out.write_text("\n".join(lines) + "\n")
    print(args.out.read_text())


if __name__ == "__main__":
    main()
