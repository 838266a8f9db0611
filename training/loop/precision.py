"""What layers compute in: `--mixed-precision auto` takes what this device is fastest with."""

from __future__ import annotations

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from mytalk_core.pipeline.device import bfloat16_cost


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
    cost = bfloat16_cost()
    reason = f"a convolution takes {cost:.2g} times as long in bfloat16 on this CPU"
    return ("bf16" if cost < 1 else "no"), reason
