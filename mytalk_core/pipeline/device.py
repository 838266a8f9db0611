"""Where networks run, and how precisely."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import cache

import torch
from torch import nn

REPEATS = 7


def choose_device(device: str | torch.device = "auto") -> torch.device:
    """The device of that name; "auto" takes CUDA, then Apple's, then the CPU.

    Raises: ValueError for a word that names none, or a device that is not there.
    """
    if isinstance(device, torch.device):
        return device
    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    there = [name for name, count in counts.items() if count]
    if device == "auto":
        return torch.device(there[0])
    chosen = None
    with suppress(RuntimeError):
        chosen = torch.device(device)
    if chosen is None or (chosen.index or 0) >= counts.get(chosen.type, 0):
        raise ValueError(
            f"a device that is there was required (auto, {', '.join(there)}), but {device!r} arrived: choose "
            "one of these"
        )
    return chosen


def choose_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The named dtype; "auto" is bfloat16 on CUDA and float32 elsewhere.

    Raises ValueError for another name.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    names = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if dtype not in names:
        raise ValueError(f"a dtype is one of auto, {', '.join(names)}; got {dtype!r}")
    return names[dtype]


def choose_drawing_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """`choose_dtype` for the networks that draw, whose "auto" is bfloat16 on a CPU, too, if that is quicker
    with it: by a margin, so that one machine draws the same every time."""
    if dtype == "auto" and device.type == "cpu" and bfloat16_cost() < 0.8:
        return torch.bfloat16
    return choose_dtype(dtype, device)


@cache
def bfloat16_cost() -> float:
    """Processor time of a convolution on this CPU in bfloat16, as a share of that in float32.

    0.1 to 0.5 where it multiplies matrices of bfloat16 (AMX), 1.5 where it knows only their dot product, 10
    to 40 elsewhere.
    """
    half, full = (convolution_seconds(dtype) for dtype in (torch.bfloat16, torch.float32))
    return half / full


def convolution_seconds(dtype: torch.dtype) -> float:
    """Processor seconds of a convolution on a CPU, the least of several."""
    with torch.random.fork_rng(devices=()), torch.inference_mode():
        convolution = nn.Conv2d(64, 64, 3).to(dtype, memory_format=torch.channels_last)
        pictures = torch.randn(1, 64, 64, 64, dtype=dtype)
        seconds = []
        for _ in range(REPEATS):
            start = time.process_time()
            convolution(pictures)
            seconds.append(time.process_time() - start)
    return min(seconds)
