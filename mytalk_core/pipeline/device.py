"""Where networks run, and how precisely."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import torch


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
    """`choose_dtype` for the networks that draw, whose "auto" is bfloat16 on a CPU with AMX, too.

    It takes half as long as float32 there, one and a half times with AVX-512's dot products alone, 20 to 40
    times without. What is asked is the CPU and not the clock, so that one machine always draws the same.
    """
    if dtype == "auto" and device.type == "cpu" and has_amx():
        return torch.bfloat16
    return choose_dtype(dtype, device)


def has_amx() -> bool:
    """Whether this CPU multiplies matrices of bfloat16; a PyTorch too old to know it counts as none."""
    capabilities: Callable[[], Mapping[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    return bool(capabilities().get("amx_bf16"))
