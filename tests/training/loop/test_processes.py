"""Which process a program is, and what becomes of one that accelerate launch left alone."""

from __future__ import annotations

import os
import sys

import psutil
import pytest
from mytalk_training.loop.processes import asked_for, place_among_processes, start_missing_processes

NAMES = ("RANK", "WORLD_SIZE", "MASTER_PORT", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK")
LAUNCH = ["python", "accelerate", "launch", "--cpu"]


@pytest.fixture(autouse=True)
def nothing_launched(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def started(monkeypatch):
    """What this process would have become."""
    commands = []
    monkeypatch.setattr(os, "execv", lambda _, command: commands.append(command))
    return commands


def launched_by(monkeypatch, *options: str, **environment: str):
    monkeypatch.setattr(psutil.Process, "cmdline", lambda self: [*LAUNCH, *options, "-m", "x", "DATA"])
    for name, value in environment.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, (3, 8)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"MASTER_PORT": "29500"}, (0, 1)),
    ],
)
def test_launchers_say_which_process_this_is(monkeypatch, environment, place):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert place_among_processes() == place


@pytest.mark.parametrize(
    ("command", "count"),
    [
        ([*LAUNCH, "--num_processes", "4", "-m", "mytalk_training.dataset.prepare", "IN", "-o", "OUT"], 4),
        ([*LAUNCH, "--num_processes=2", "train.py"], 2),
        ([*LAUNCH, "--num-processes", "3", "train.py"], 3),
        ([*LAUNCH, "train.py", "--steps", "9"], 1),
    ],
)
def test_how_many_were_asked_for(command, count):
    assert asked_for(command) == count


def test_one_of_several_becomes_torchrun_with_all(monkeypatch, started):
    launched_by(monkeypatch, "--num_processes", "2", MASTER_PORT="29500")
    monkeypatch.setattr(sys, "argv", ["program", "DATA", "-o", "OUT"])
    start_missing_processes()
    assert started[0][1:6] == ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    assert started[0][-3:] == ["DATA", "-o", "OUT"]


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (["--num_processes", "2"], {}),
        (["--num_processes", "1"], {"MASTER_PORT": "29500"}),
        (["--num_processes", "2"], {"MASTER_PORT": "29500", "RANK": "1", "WORLD_SIZE": "2"}),
        (["--num_processes", "2"], {"MASTER_PORT": "29500", "PMI_RANK": "0"}),
    ],
)
def test_whoever_is_not_left_alone_stays(monkeypatch, started, options, environment):
    launched_by(monkeypatch, *options, **environment)
    start_missing_processes()
    assert started == []
