"""What a frame costs: CPU seconds of every stage, beside decode and encode alone and Wav2Lip's networks.

One clip is brought to several sizes, lengths and numbers of faces, and run on one thread and on more; all
ratios are of one run. The machine may be busy: CPU seconds hardly mind.

    python benchmarks/speed.py CLIP SPEECH -o benchmarks/results/speed.md
    python benchmarks/speed.py CLIP SPEECH -o benchmarks/results/speed_device.md --devices cuda cpu

The second form measures nothing but frames a second on devices, in a few minutes.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from wav2lip_shape import FACE_PX, MEL, S3FD, Generator

from mytalk_core.appearance.crop import cut_crop
from mytalk_core.appearance.occlusion import FREE
from mytalk_core.appearance.renderer import WarpRenderer
from mytalk_core.appearance.rendering import Rendering
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.memory import peak_memory_mb, share_heap
from mytalk_core.pipeline import LipSync, write
from mytalk_core.pipeline.ahead import made_ahead, work_threads
from mytalk_core.pipeline.rendered import RenderedClip

SIZES = {"512 px": (512, 512), "1080p": (1080, 1920), "2160p": (2160, 3840)}
STAGES = ("decode + encode", "track", "speak", "references", "render + write")
# Of the renderer alone: calls one after the other, and what each does; as many at once as the pipeline has.
ALONE = ("call by call", "masks", "pixels", "composite", "several calls at once")
# Wav2Lip's generator is run on so many frames at once.
TOGETHER = 16
# So many frames warm a device; so many at most are drawn by the renderer alone.
WARM, MOST_ALONE = 20, 64
# Larger frames take S3FD minutes and gigabytes.
LARGEST_DETECTED = 1920 * 1080


@dataclass
class Cost:
    """What a clip cost. seconds: CPU seconds by stage, load among them; walls: seconds of the clock by stage;
    wall_s: of all but load; alone: seconds of the clock a frame of the renderer and the composite alone, see
    `ALONE`, `together` frames a call; dtype: of the networks."""

    name: str
    height: int
    width: int
    frames: int
    device: str
    threads: int
    seconds: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    peak_mb: float | None = None
    walls: dict[str, float] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)
    together: int = 1
    dtype: str = ""
    renderer: str = "warp"

    @property
    def ours(self) -> float:
        """CPU seconds a frame of all stages."""
        return sum(self.seconds[stage] for stage in STAGES[1:]) / self.frames

    def a_frame(self, stage: str) -> float:
        """CPU seconds a frame of one stage."""
        return self.seconds[stage] / self.frames


def make_clip(source: Path, path: Path, size: tuple[int, int], frames: int, faces: int = 1) -> None:
    """The source's frames, forth and back, as high as `size` (height, width), beside each other so often as
    `faces` says and grey around; H.264."""
    pictures = [picture.rgb for picture in FileClip.open(source).pictures(np.arange(min(frames, 50)))]
    order = np.concatenate([np.arange(len(pictures)), np.arange(len(pictures))[::-1]])
    height, width = size
    side = min(height, width // faces)
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=Fraction(25), options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            picture = pictures[order[number % len(order)]]
            frame = np.full((height, width, 3), 128, np.uint8)
            scaled = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
            left = (width - faces * side) // 2
            for face in range(faces):
                frame[:side, left + face * side : left + (face + 1) * side] = scaled
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        target.mux(stream.encode(None))


def measure(
    clips: list[Path],
    speech: Path,
    device: str,
    threads: int,
    renderers: list[str],
    alone: bool = False,
    told: Callable[[Cost], object] = lambda cost: None,
) -> list[Cost]:
    """By every renderer every clip in turn, in this process; alone: the renderers too, and of the first clip
    nothing; told: each cost as soon as it is known."""
    share_heap()  # as the command does
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    sound, costs = Speech.open(speech), []
    for renderer in renderers:
        begin = time.process_time()
        model = LipSync.from_pretrained("mini", renderer, device)
        load_s = time.process_time() - begin
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out.mp4"
            # What is done once a process (the first convolution, the first file) belongs to no clip.
            _cost(model, FileClip.open(clips[0]), sound, out, threads, "warm")
            for path in clips[1:] if alone else clips:
                cost, drawn = _cost(model, FileClip.open(path), sound, out, threads, path.stem)
                cost.seconds["load"], cost.renderer = load_s, renderer
                if alone:
                    _draw_alone(model, drawn, cost)
                costs.append(cost)
                told(cost)
    return costs


def _cost(
    model: LipSync, clip: FileClip, sound: Speech, out: Path, threads: int, name: str
) -> tuple[Cost, RenderedClip]:
    """What a clip cost, and the clip with new lips."""
    cost = Cost(name, clip.height, clip.width, len(clip), model.device.type, threads)
    timeline = plan_timeline(clip, sound.duration_s)
    clock = _Clock(cost, model.device)
    write(clip, out, sound=sound)
    clock.lap("decode + encode")
    begin = time.perf_counter()
    face = model.track(clip).choose("largest")
    clock.lap("track")
    motion = model.speak(sound, face, timeline)
    clock.lap("speak")
    drawn = model.draw(clip, face, motion, timeline)
    clock.lap("references")
    write(drawn, out, sound=sound)
    clock.lap("render + write")
    cost.wall_s = time.perf_counter() - begin
    cost.peak_mb = peak_memory_mb()
    return cost, drawn


def _draw_alone(model: LipSync, drawn: RenderedClip, cost: Cost) -> None:
    """The renderer and the composite of a clip's frames, decoded and cut before; each mouth is another
    frame's."""
    face = drawn.track
    rows = np.flatnonzero(face.present)[:MOST_ALONE]
    source, similarity = face.canonical[rows], face.similarity[rows]
    size, shape = drawn.references.size, (drawn.height, drawn.width)
    crops = np.stack([cut_crop(p.rgb, face.similarity[p.index], size) for p in drawn.untouched(rows)])
    cost.together, cost.dtype = drawn.together(), str(model.dtype).removeprefix("torch.")
    targets, renderer = np.roll(source, 1, axis=0), drawn.renderer
    assert isinstance(renderer, WarpRenderer)
    parts = [slice(start, start + cost.together) for start in range(0, len(rows), cost.together)]

    def prepare(part: slice) -> None:
        for number, row in enumerate(rows[part]):
            renderer.prepared(number, int(row), source[part][number], targets[part][number], None)

    def render(part: slice) -> Rendering:
        return renderer.render(crops[part], source[part], targets[part], rows[part])

    def draw(part: slice) -> None:
        count = len(rows[part])
        render(part).patches(shape, similarity[part], [FREE] * count, [1.0] * count)

    def seconds(work: Callable[[list[slice]], object]) -> float:
        work(parts[:1])  # what is done once belongs to no frame
        synchronise(model.device)
        begin = time.perf_counter()
        work(parts)
        synchronise(model.device)
        return (time.perf_counter() - begin) / len(rows)

    whole = seconds(lambda parts: [draw(part) for part in parts])
    prepared = seconds(lambda parts: [prepare(part) for part in parts])
    rendered = seconds(lambda parts: [render(part) for part in parts])
    several = seconds(lambda parts: list(made_ahead(draw, parts, work_threads())))
    shares = (whole, prepared, rendered - prepared, whole - rendered, several)
    cost.alone = dict(zip(ALONE, shares, strict=True))


def synchronise(device: torch.device) -> None:
    """Wait until a device has done all that it was given."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


class _Clock:
    """Seconds of this process, all threads, and of the clock, from lap to lap."""

    def __init__(self, cost: Cost, device: torch.device) -> None:
        self.cost, self.device = cost, device
        self.last, self.last_wall = time.process_time(), time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage."""
        synchronise(self.device)
        now, wall = time.process_time(), time.perf_counter()
        self.cost.seconds[stage], self.last = now - self.last, now
        self.cost.walls[stage], self.last_wall = wall - self.last_wall, wall


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


def stage_table(costs: list[Cost], shapes: dict[tuple[str, int], dict[str, float]]) -> list[str]:
    """Markdown: stages of every size beside decode and encode, and Wav2Lip's networks."""
    lines = [
        f"| input | device, threads | {' | '.join(STAGES)} | all but the first | : decode + encode | "
        "frames/s, wall | Wav2Lip's S3FD, generator | Wav2Lip : ours |",
        "|---|---|" + "---|" * (len(STAGES) + 5),
    ]
    for cost in costs:
        shape = shapes.get((cost.name, cost.threads)) if cost.device == "cpu" else None
        stages = " | ".join(f"{cost.a_frame(stage):.4f}" for stage in STAGES)
        theirs = f"{shape['S3FD']:.2f}, {shape['generator']:.3f}" if shape else "–"
        ratio = f"{sum(shape.values()) / cost.ours:.0f}" if shape else "–"
        lines.append(
            f"| {cost.name} ({cost.width}x{cost.height}) | {cost.device}, {cost.threads} | {stages} | "
            f"{cost.ours:.4f} | {cost.ours / cost.a_frame(STAGES[0]):.1f} | "
            f"{cost.frames / cost.wall_s:.1f} | {theirs} | {ratio} |"
        )
    return lines


def plain_table(costs: list[Cost], first: str) -> list[str]:
    """Markdown: CPU seconds a frame and the process's peak memory, a clip a row."""
    lines = [
        f"| {first} | frames | track | all | : decode + encode | peak memory, MB |",
        "|---|---|---|---|---|---|",
    ]
    for cost in costs:
        peak = "–" if cost.peak_mb is None else f"{cost.peak_mb:.0f}"
        lines.append(
            f"| {cost.name} | {cost.frames} | {cost.a_frame('track'):.4f} | {cost.ours:.4f} | "
            f"{cost.ours / cost.a_frame(STAGES[0]):.1f} | {peak} |"
        )
    return lines


def device_table(costs: list[Cost]) -> list[str]:
    """Markdown: frames a second of the clock, and the share of each stage."""
    columns = ("renderer", "input", "device, threads", "dtype", "frames a call")
    rates = ("renderer and composite alone, frames/s", f"{ALONE[-1]}", "all, frames/s")
    shares = [f"{stage}, %" for stage in STAGES[1:]]
    titles = [*columns, *rates, *shares]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for cost in costs:
        cells = [*_named(cost), cost.dtype, str(cost.together)]
        cells += [f"{1 / cost.alone[way]:.1f}" for way in (ALONE[0], ALONE[-1])]
        cells += [f"{cost.frames / cost.wall_s:.1f}"]
        cells += [f"{100 * cost.walls[stage] / cost.wall_s:.0f}" for stage in STAGES[1:]]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def stage_walls(costs: list[Cost]) -> list[str]:
    """Markdown: milliseconds of the clock a frame of every stage, and within the renderer alone."""
    titles = ["renderer", "input", "device, threads", *STAGES, *(f"alone: {part}" for part in ALONE)]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles)]
    for cost in costs:
        cells = [f"{1000 * cost.walls[stage] / cost.frames:.2f}" for stage in STAGES]
        cells += [f"{1000 * cost.alone[part]:.2f}" for part in ALONE]
        lines.append(f"| {' | '.join([*_named(cost), *cells])} |")
    return lines


def _named(cost: Cost) -> list[str]:
    return [
        f"`{cost.renderer}`",
        f"{cost.name} ({cost.width}x{cost.height})",
        f"{cost.device}, {cost.threads}",
    ]


def device_report(source: Path, speech: Path, plan: Plan, devices: list[str], folder: Path) -> list[str]:
    """Frames a second on each device, by both renderers; markdown lines."""
    clips = [folder / "warm.mp4", *(folder / f"{name}.mp4" for name in plan.sizes)]
    for clip, size in zip(clips[1:], plan.sizes.values(), strict=True):
        make_clip(source, clip, size, plan.frames)
    make_clip(source, clips[0], next(iter(plan.sizes.values())), min(WARM, plan.frames))
    costs = [
        cost
        for device in devices
        for cost in in_child(clips, speech, device, max(plan.threads), ["warp", "network"], alone=True)
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


def machine() -> str:
    """Date, processor, card and versions."""
    processor = platform.processor() or platform.machine()
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{datetime.date.today()}, {os.cpu_count()} cores ({processor}), {card}, torch {torch.__version__}, "
        f"OpenCV {cv2.__version__}, PyAV {av.__version__}"
    )


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
