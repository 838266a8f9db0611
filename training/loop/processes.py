"""Which process this is, of how many; and those that `accelerate launch --cpu --num_processes N` leaves out.

accelerate (1.15 and before) leaves the processes of a CPU run to MPI: without an MPI host file it starts one,
tells it MASTER_ADDR and MASTER_PORT, and N to nobody. N stands on its own command line.
"""

from __future__ import annotations

import argparse
import os
import sys

import psutil

# Where launchers say which process this is, and of how many.
LAUNCHERS = (
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
)


def place_among_processes() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun, accelerate launch and mpirun say it; nothing
    is exchanged, so no process group is needed."""
    for number, count in LAUNCHERS:
        if number in os.environ and count in os.environ:
            return int(os.environ[number]), int(os.environ[count])
    return 0, 1


def start_missing_processes() -> None:
    """Where the launcher started one process of N, this one becomes torchrun with N; else nothing happens."""
    if "MASTER_PORT" not in os.environ or any(number in os.environ for number, _ in LAUNCHERS):
        return
    count = asked_for(psutil.Process(os.getppid()).cmdline())
    if count < 2:
        return
    # Its own rendezvous finds a free port; the launcher's is the same for every run on the machine.
    del os.environ["MASTER_PORT"]
    main = sys.modules["__main__"]
    program = ["-m", main.__spec__.name] if main.__spec__ else [sys.argv[0]]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    sys.stdout.flush()
    os.execv(sys.executable, [*torchrun, *program, *sys.argv[1:]])


def asked_for(command: list[str]) -> int:
    """N of an accelerate launch command line; 1 if it names none."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--num_processes", "--num-processes", type=int, default=1)
    return parser.parse_known_args(command)[0].num_processes
