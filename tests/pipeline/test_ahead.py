"""Frames made ahead on threads: in order, bounded, errors in their place, nothing left running."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest
import torch

from mytalk_core.pipeline.ahead import made_ahead, read_ahead

WAIT_S = 20.0


def still_running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mytalk")]


def late(item: int) -> int:
    """Those that come first are ready last."""
    time.sleep(0.002 * (3 - item % 4))
    return item * item


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_everything_in_order(threads):
    assert list(made_ahead(late, range(17), threads)) == [item * item for item in range(17)]
    assert list(made_ahead(late, [], threads)) == []
    assert not still_running()


def test_as_many_at_once_as_there_are_threads():
    both = threading.Barrier(2)
    assert list(made_ahead(lambda item: both.wait(WAIT_S) * 0 + item, range(6), 2)) == list(range(6))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_few_are_taken_ahead(threads):
    taken = []
    items = (taken.append(item) or item for item in range(50))
    with closing(made_ahead(late, items, threads)) as made:
        for given, _ in enumerate(made, 1):
            # What the caller works on, and one for each thread.
            assert len(taken) - given <= (threads if threads > 1 else 0)


@pytest.mark.parametrize("threads", [1, 2])
def test_items_are_read_one_ahead(threads):
    here, taken = threading.get_ident(), []

    def items():
        for item in range(9):
            taken.append(threading.get_ident() == here)
            yield item
        raise ZeroDivisionError

    given = []
    with pytest.raises(ZeroDivisionError):
        for item in read_ahead(items(), threads):
            assert len(taken) - item <= threads
            given.append(item)
    assert given == list(range(9)) and taken == [threads == 1] * 9
    with closing(read_ahead(items(), threads)) as some:
        assert next(some) == 0
    assert not still_running()


def test_an_error_comes_in_its_place():
    def odd(item: int) -> int:
        if item == 3:
            raise ZeroDivisionError
        return item

    given = []
    with pytest.raises(ZeroDivisionError):
        given.extend(made_ahead(odd, range(9), 1))
    given.clear()
    with pytest.raises(ZeroDivisionError):
        for item in made_ahead(odd, range(9), 3):
            given.append(item)
    assert given == [0, 1, 2] and not still_running()


def test_what_was_before_an_unreadable_item_is_given_out():
    def damaged():
        yield from range(4)
        raise OSError("cut off")

    given = []
    with pytest.raises(OSError, match="cut off"):
        for item in made_ahead(late, damaged(), 3):
            given.append(item)
    assert given == [0, 1, 4, 9] and not still_running()


@pytest.mark.parametrize("error", [KeyboardInterrupt, InterruptedError])
def test_who_stops_early_leaves_nothing_running(error):
    ended = threading.Event()

    def endless():
        try:
            while True:
                yield 1
        finally:
            ended.set()

    with pytest.raises(error), closing(made_ahead(late, endless(), 2)) as made:
        for number, _ in enumerate(made):
            if number == 2:
                raise error
    assert ended.wait(WAIT_S) and not still_running()


def test_never_begun_is_never_made():
    made = made_ahead(late, iter([1, 2]), 2)
    made.close()
    assert not still_running()


def test_the_callers_mode_of_torch_holds():
    modes = [True, False]
    found = []
    for mode in modes:
        with torch.inference_mode(mode):
            found += made_ahead(lambda _: torch.is_inference_mode_enabled(), range(3), 2)
    assert found == [True] * 3 + [False] * 3
