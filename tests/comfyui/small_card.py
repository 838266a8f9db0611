"""A node pack for the tests: this machine's memory as a card of `CARD_MB`, and what the manager lists on it.

A machine without a card cannot run ComfyUI with --lowvram, so that `CARD_STATE` names what the flag would
set: NORMAL_VRAM, LOW_VRAM or NO_VRAM. `/card` tells, for each call that brought networks, what was asked for
and what lay on the card then, in bytes.
"""

from __future__ import annotations

import os

import comfy.model_management as management
import torch
from aiohttp import web
from server import PromptServer

# Equal to no other device, while its tensors are the processor's.
CARD = torch.device("cpu", 0)
TOTAL = int(os.environ["CARD_MB"]) << 20
CALLS: list[dict] = []
NODE_CLASS_MAPPINGS: dict[str, type] = {}

others_free, others_total = management.get_free_memory, management.get_total_memory
is_cpu, load = management.is_device_cpu, management.load_models_gpu


def on_card() -> dict[str, int]:
    """Class name of each network on the card -> bytes of it that are there."""
    listed = [one for one in management.current_loaded_models if one.device == CARD]
    return {type(one.model.model).__name__: one.model_loaded_memory() for one in listed}


def free(device: torch.device | None = None, torch_free_too: bool = False) -> float | tuple[float, float]:
    """What the networks leave of the card."""
    if device not in (None, CARD):
        return others_free(device, torch_free_too)
    left = TOTAL - sum(on_card().values())
    return (left, 0) if torch_free_too else left


def total(device: torch.device | None = None, torch_total_too: bool = False) -> float | tuple[float, float]:
    """Of the card."""
    if device not in (None, CARD):
        return others_total(device, torch_total_too)
    return (TOTAL, 0) if torch_total_too else TOTAL


def load_and_tell(models: list, *settings: object, **named: object) -> None:
    """Load, and note what is there then."""
    load(models, *settings, **named)
    asked = {type(patcher.model).__name__: patcher.model_size() for patcher in models}
    CALLS.append({"asked": asked, "on_card": on_card(), "free": free()})


management.get_torch_device = lambda: CARD
management.get_free_memory, management.get_total_memory = free, total
management.is_device_cpu = lambda device: device != CARD and is_cpu(device)
management.vram_state = getattr(management.VRAMState, os.environ["CARD_STATE"])
management.load_models_gpu = load_and_tell


@PromptServer.instance.routes.get("/card")
async def card(request: web.Request) -> web.Response:
    """All calls so far."""
    return web.json_response(CALLS)
