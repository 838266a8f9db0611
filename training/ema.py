"""Exponential moving average of a model's parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """Parameters' average; young averages follow faster: decay = min(decay, (1 + n) / (10 + n))."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {key: value.detach().clone() for key, value in model.named_parameters()}
        self.tensors["updates"] = torch.zeros((), dtype=torch.float64)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the model's parameters."""
        self.tensors["updates"] += 1
        count = self.tensors["updates"].item()
        decay = min(self.decay, (1 + count) / (10 + count))
        for key, value in model.named_parameters():
            self.tensors[key].lerp_(value, 1 - decay)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with averaged parameters, its own afterwards."""
        own = {key: value.detach().clone() for key, value in model.named_parameters()}
        self._copy(model, self.tensors)
        try:
            yield
        finally:
            self._copy(model, own)

    @staticmethod
    @torch.no_grad()
    def _copy(model: nn.Module, tensors: dict[str, Tensor]) -> None:
        for key, value in model.named_parameters():
            value.copy_(tensors[key])
