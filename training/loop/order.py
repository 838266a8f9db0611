"""Which samples a step reads, and the random numbers of each: functions of the seed and the sample's number.

Samples are counted from the start of a run: step s reads the samples s * batch ... (s + 1) * batch - 1. Since
nothing depends on what was drawn before, a resumed run goes on exactly, and neither the number of processes
nor that of micro-batches changes what a sample is. The network's own dropout is drawn for a micro-batch: it
is the same for every split into micro-batches of one size.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

# One stream of random numbers each: what is drawn for one never moves another.
DATA, NOISE, NETWORK, SCALE = range(4)

Batch = TypeVar("Batch")


def derive_seed(*numbers: int) -> int:
    """A seed of 64 bits from non-negative integers; neighbours give unrelated ones."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


class SampleRandom:
    """Random numbers of a batch's samples, each from its own generator on the CPU."""

    def __init__(self, seed: int, stream: int, samples: list[int]) -> None:
        self.generators = [
            torch.Generator().manual_seed(derive_seed(seed, stream, sample)) for sample in samples
        ]

    def stack(self, draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        """What `draw` makes of each sample's generator: (B, ...)."""
        return torch.stack([draw(generator) for generator in self.generators])

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers (B, *shape)."""
        return self.stack(lambda generator: torch.randn(shape, generator=generator))

    def uniform(self, *shape: int) -> Tensor:
        """Numbers from 0 up to, not including, 1: (B, *shape)."""
        return self.stack(lambda generator: torch.rand(shape, generator=generator))


@dataclass(frozen=True)
class MicroBatch:
    """What one forward pass reads: `number` counts a step's micro-batches over all processes."""

    step: int
    number: int
    samples: list[int]

    def seed_network(self, seed: int) -> None:
        """Seed torch's, NumPy's and Python's global generators for this micro-batch's forward pass."""
        value = derive_seed(seed, NETWORK, self.step, self.number)
        torch.manual_seed(value)
        np.random.seed(value % 2**32)
        random.seed(value)


@dataclass(frozen=True)
class Order:
    """The micro-batches of one process, from step `start` on.

    batch: samples a step, over all processes and accumulated micro-batches.
    Raises ValueError if they cannot be split evenly.
    """

    batch: int
    accumulate: int
    processes: int
    process: int
    start: int
    stop: int

    def __post_init__(self) -> None:
        if self.batch % (self.accumulate * self.processes):
            raise ValueError(
                f"--batch must be a multiple of processes x --accumulate = {self.processes} x "
                f"{self.accumulate}; got {self.batch}"
            )

    def __iter__(self) -> Iterator[MicroBatch]:
        size = self.batch // (self.accumulate * self.processes)
        for step in range(self.start, self.stop):
            for part in range(self.accumulate):
                number = part * self.processes + self.process
                first = step * self.batch + number * size
                yield MicroBatch(step, number, list(range(first, first + size)))


class _Drawn(Dataset, Generic[Batch]):
    def __init__(self, draw: Callable[[list[int]], Batch]) -> None:
        self.draw = draw

    # To a worker by value: shared, each of a dataset's thousand tensors would need a file descriptor.
    def __getstate__(self) -> bytes:
        return pickle.dumps(self.draw)

    def __setstate__(self, state: bytes) -> None:
        self.draw = pickle.loads(state)

    def __getitem__(self, micro: MicroBatch) -> tuple[MicroBatch, Batch]:
        return micro, self.draw(micro.samples)


def _unchanged(item: Any) -> Any:
    return item


def load(
    draw: Callable[[list[int]], Batch], order: Order, workers: int
) -> Iterator[tuple[MicroBatch, Batch]]:
    """Micro-batches in order with what `draw` makes of their samples; in `workers` processes, ahead of use,
    or, with 0, when they are asked for. `draw` must pickle: a worker is no fork of this process, whose OpenCV
    and torch threads would be missing there, and waited for without end."""
    loader = DataLoader(
        _Drawn(draw),
        batch_size=None,
        sampler=order,
        num_workers=workers,
        collate_fn=_unchanged,
        # For batches that say how.
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="forkserver" if workers else None,
    )
    return iter(loader)
