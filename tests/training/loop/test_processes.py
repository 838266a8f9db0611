"""Which process a program is, and what is said to one that accelerate launch left alone."""

from __future__ import annotations

import pytest
from mytalk_training.loop.processes import check_launcher, rank_and_count

# What accelerate launch sets for the only process that it starts of several.
ACCELERATE = {"ACCELERATE_MIXED_PRECISION": "no", "MASTER_PORT": "29500"}
NAMES = ("RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK", *ACCELERATE)


@pytest.fixture(autouse=True)
def nothing_launched(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (0, 1)),
        ({"RANK": "3", "WORLD_SIZE": "8"}, (3, 8)),
        ({"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2"}, (1, 2)),
        ({"MASTER_PORT": "29500"}, (0, 1)),
    ],
)
def test_launchers_say_which_process_this_is(monkeypatch, environment, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert rank_and_count() == expected


def test_a_lone_process_of_several_is_refused_with_what_to_start_instead(monkeypatch):
    for name, value in ACCELERATE.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="torchrun --nproc_per_node N"):
        check_launcher()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"ACCELERATE_MIXED_PRECISION": "no"},
        {"MASTER_PORT": "29500"},
        {**ACCELERATE, "RANK": "1", "WORLD_SIZE": "2"},
        {**ACCELERATE, "PMI_RANK": "0"},
    ],
)
def test_whoever_is_not_left_alone_stays(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    check_launcher()
