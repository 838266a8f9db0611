"""What layers compute in: `--mixed-precision auto` takes what this device is fastest with."""

from __future__ import annotations

import time
from contextlib import nullcontext

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import nn

REPEATS = 5


def choose_precision(asked: str, cpu: bool) -> tuple[str, str]:
    """One of "no", "bf16" and "fp16" for `Accelerator`, the same on all processes, and why, in words.

    asked: one of these, or "auto": bfloat16 on a GPU that has it, float16 on an older one, on a CPU whichever
    of float32 and bfloat16 takes less processor time now. cpu: whether the run is on one.
    """
    if asked != "auto":
        return asked, "asked for"
    state = PartialState(cpu=cpu)
    answer = [_fastest(state.device) if state.is_main_process else ("", "")]
    broadcast_object_list(answer)
    return answer[0]


def _fastest(device: torch.device) -> tuple[str, str]:
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16", "this GPU has it") if native else ("fp16", "this GPU has no bfloat16")
    if device.type != "cpu":
        return "no", f"nothing else was tried on {device.type}"
    half, full = step_seconds(torch.bfloat16), step_seconds(torch.float32)
    reason = f"a step of a few layers takes {half / full:.2g} times as long in bfloat16 on this CPU"
    return ("bf16" if half < full else "no"), reason


def step_seconds(dtype: torch.dtype) -> float:
    """Processor seconds of one forward and backward pass of a few layers under autocast on a CPU, the least
    of several."""
    with torch.random.fork_rng(devices=()):
        module = nn.Sequential(
            nn.Conv2d(32, 64, 3, padding=1),
            nn.GroupNorm(8, 64),
            nn.SiLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.Flatten(2),
            nn.Linear(32 * 32, 256),
        )
        pictures = torch.randn(8, 32, 32, 32)
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        half = dtype != torch.float32
        with torch.autocast("cpu", dtype=dtype) if half else nullcontext():
            loss = module(pictures).square().mean()
        loss.backward()
        seconds.append(time.process_time() - start)
    return min(seconds)
