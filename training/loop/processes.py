"""Which process this is, of how many, as the launcher says it."""

from __future__ import annotations

import os

# Where launchers say which process this is, and of how many.
LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)


def rank_and_count() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun, accelerate launch and mpirun say it; nothing
    is exchanged, so no process group is needed."""
    for number, count in LAUNCHERS:
        if number in os.environ and count in os.environ:
            return int(os.environ[number]), int(os.environ[count])
    return 0, 1


def check_launcher() -> None:
    """ValueError where accelerate launch was asked for several processes and started one: without GPUs it
    (1.15 and before) leaves them to MPI, and only names the port where they would have met."""
    started = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_PORT" in os.environ
    if started and not any(number in os.environ for number, _ in LAUNCHERS):
        raise ValueError(
            "accelerate launch started one process of several: on CPUs it leaves the others to MPI; start "
            "with torchrun --nproc_per_node N -m PROGRAM (or unset MASTER_PORT if one is meant)"
        )
