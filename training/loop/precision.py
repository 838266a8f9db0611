"""What layers compute in: `--mixed-precision auto` takes what this device is fastest with."""

from __future__ import annotations

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from mytalk_core.pipeline.device import has_amx


def choose_precision(asked: str, cpu: bool) -> tuple[str, str]:
    """One of "no", "bf16" and "fp16" for `Accelerator`, the same on all processes, and why, in words.

    asked: one of these, or "auto": bfloat16 on a GPU that has it, float16 on an older one, on a CPU bfloat16
    where it multiplies matrices of it (AMX), else float32. cpu: whether the run is on one.
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
    # Asked of the CPU and not of a clock, which says something else where others work beside.
    return ("bf16", "this CPU has AMX") if has_amx() else ("no", "this CPU has no AMX")
