"""Exponential moving average of a model's parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor


class MovingAverage:
    """Parameters' average; young averages follow faster: decay = min(decay, (1 + n) / (10 + n)).

    Of a model whose parameters are sharded (FSDP), so is the average: make it after the sharding.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.tensors = {key: value.detach().clone() for key, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's parameters."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for key, value in model.named_parameters():
            self.tensors[key].lerp_(value, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        """The whole averages by parameter name; every process of a sharded model must call."""
        tensors = {
            key: value.full_tensor() if isinstance(value, DTensor) else value
            for key, value in self.tensors.items()
        }
        return {"updates": self.updates, "tensors": tensors}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave; KeyError or RuntimeError if it is of another model."""
        self.updates = state["updates"]
        for key, own in self.tensors.items():
            value = state["tensors"][key].to(own.device)
            if isinstance(own, DTensor):
                value = distribute_tensor(value, own.device_mesh, own.placements)
            own.copy_(value)
