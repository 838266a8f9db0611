"""The paper-size models run for real, with random weights: seconds and peak memory.

One motion window (the preset's 250 frames) and one frame of the appearance model, each in a process of its
own so that the peaks are theirs. On a GPU also frames a second, beside the 33 of an estimate: 13.6 TFLOP a
frame at 45 % of an H200's bf16 peak.

    python benchmarks/paper_models.py -o benchmarks/results/paper_models.md [--device cuda]
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from mytalk_core.appearance.networks.generator import AppearanceGenerator
from mytalk_core.memory import peak_memory_mb
from mytalk_core.models.preset import Preset
from mytalk_core.models.sizes import measure
from mytalk_core.motion.denoiser import MotionDenoiser
from mytalk_core.motion.diffusion import PROCESSES
from mytalk_core.motion.identity import IdentityExtractor
from mytalk_core.motion.sampler import sample_motion

ESTIMATED_FPS = 33.0
GPU_FRAMES = 16


def timed(device: torch.device, work: Callable[[], object]) -> tuple[float, object]:
    """Seconds of `work` and what it returned."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, result


def build(cls: type, config: object, device: torch.device, dtype: torch.dtype) -> torch.nn.Module:
    """A model with random weights, made in its own dtype: no float32 copy stands beside it."""
    torch.manual_seed(0)
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            return cls(config).eval()
    finally:
        torch.set_default_dtype(default)


@torch.no_grad()
def run_motion(preset: Preset, device: torch.device, dtype: torch.dtype, steps: int) -> dict[str, float]:
    """One window: speech features and identity landmarks (random) -> lower-face channels."""
    config, frames = preset.motion, preset.sampling.window
    denoiser = build(MotionDenoiser, config, device, dtype)
    identity = build(IdentityExtractor, preset.identity, device, torch.float32)
    features = torch.randn(1, 2 * frames, len(config.speech_layers), config.speech_width)
    token = identity(torch.randn(1, preset.identity.channels).to(device))
    seconds_speech, speech = timed(device, lambda: denoiser.encode_speech(features.to(device, dtype))[0])
    upper = torch.randn(frames, config.upper)

    def sample() -> torch.Tensor:
        process = PROCESSES[config.process]()
        return sample_motion(denoiser, process, speech, upper, token, steps=steps, window=frames)

    seconds, channels = timed(device, sample)
    assert channels.shape == (frames, config.lower) and channels.isfinite().all()
    return {"speech_s": seconds_speech, "step_s": seconds / steps, "total_s": seconds_speech + seconds}


@torch.no_grad()
def run_appearance(preset: Preset, device: torch.device, dtype: torch.dtype) -> dict[str, float]:
    """Three references, then one frame with them cached (on a GPU the mean of many, batch 1)."""
    config = preset.appearance
    generator = build(AppearanceGenerator, config, device, dtype)

    def pictures(*shape: int) -> torch.Tensor:
        return (2 * torch.rand(*shape, 3, config.size, config.size) - 1).to(device, dtype)

    references, non_lip, landmarks = pictures(1, config.reference_count), pictures(1), pictures(1)
    seconds_references, encoded = timed(device, lambda: generator.encode_references(references))
    count = 1
    if device.type == "cuda":
        count = GPU_FRAMES
        for _ in range(3):
            generator(encoded, non_lip, landmarks)

    def render() -> torch.Tensor:
        for _ in range(count):
            frames = generator(encoded, non_lip, landmarks).frames
        return frames

    seconds, frames = timed(device, render)
    assert frames.shape == (1, 3, config.size, config.size) and frames.isfinite().all()
    return {"references_s": seconds_references, "frame_s": seconds / count}


def run_stage(arguments: argparse.Namespace) -> dict[str, float]:
    """One stage in this process: its seconds and its peak."""
    torch.set_num_threads(arguments.threads)
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    preset = Preset.load("paper")
    if arguments.stage == "motion":
        figures = run_motion(preset, device, dtype, arguments.steps)
    else:
        figures = run_appearance(preset, device, dtype)
    if device.type == "cuda":
        figures["peak_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    else:
        figures["peak_mb"] = peak_memory_mb()
    return figures


def table(motion: dict[str, float], appearance: dict[str, float], arguments: argparse.Namespace) -> str:
    """The Markdown of both stages."""
    flops = measure(Preset.load("paper")).flops
    on_gpu = arguments.device.startswith("cuda")
    hardware = (
        torch.cuda.get_device_name() if on_gpu else f"{arguments.threads} threads of {os.cpu_count()} cores"
    )
    teraflops = flops["frame: references cached"] / 1e12
    step, frame_s = flops["window: a sampling step"] / 1e9, appearance["frame_s"]
    rows = [
        ("motion: speech of a window of 250 frames", flops["window: speech"] / 1e9, motion["speech_s"]),
        ("motion: a step of DPM-Solver++", step, motion["step_s"]),
        (f"motion: the window, {arguments.steps} steps", None, motion["total_s"]),
        ("appearance: three references", flops["references: once"] / 1e9, appearance["references_s"]),
        ("appearance: one frame, references cached", 1e3 * teraflops, frame_s),
    ]
    lines = ["| work | GFLOP | seconds |", "|---|---|---|"]
    lines += [f"| {name} | {f'{g:,.0f}' if g else ''} | {s:.3f} |" for name, g, s in rows]
    lines += [
        "",
        f"Peak memory: motion {motion['peak_mb']:,.0f} MB, appearance {appearance['peak_mb']:,.0f} MB.",
        f"The frame ran at {teraflops / frame_s:.2f} TFLOP/s.",
    ]
    if on_gpu:
        fps = 1 / frame_s
        share = fps / ESTIMATED_FPS
        lines.append(f"{fps:.1f} frames/s, {share:.0%} of the estimate of {ESTIMATED_FPS:.0f} frames/s.")
    return (
        "# The paper preset, run\n\n"
        f"{datetime.date.today()}, {hardware}, {arguments.dtype}, random weights, "
        f"PyTorch {torch.__version__}. The machine may have been shared: seconds are upper bounds.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float16", "float32"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--stage", choices=["motion", "appearance"], help="run one and print its figures")
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(run_stage(arguments)))
        return
    figures = []
    for stage in ("motion", "appearance"):
        command = [sys.executable, __file__, "--stage", stage, "--device", arguments.device]
        command += ["--dtype", arguments.dtype, "--threads", str(arguments.threads)]
        command += ["--steps", str(arguments.steps)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        figures.append(json.loads(done.stdout.splitlines()[-1]))
        print(stage, figures[-1], flush=True)
    text = table(*figures, arguments)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
