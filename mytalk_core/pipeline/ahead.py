"""Several things at once, in order: while one frame is encoded, the next ones are decoded and drawn; while
faces are read, the next frames are decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any, NoReturn, TypeVar

import cv2
import torch

Item = TypeVar("Item")
Made = TypeVar("Made")

# More threads than this hinder each other: a good part of the work is Python's, one thread at a time.
MOST_THREADS = 4
# Behind the last item.
_END: Any = object()


def work_threads() -> int:
    """How many frames may be worked on at once: OpenCV's number of threads, within reason."""
    return max(1, min(cv2.getNumThreads(), MOST_THREADS))


def made_ahead(
    make: Callable[[Item], Made], items: Iterable[Item], threads: int
) -> Generator[Made, None, None]:
    """`make` of every item, in their order, made on so many threads while the caller works on those before.

    items are taken on the caller's thread, one a thread ahead of what is given out; with one thread nothing
    is made before it is asked for. An error comes in its place, after all that was before it. Who stops early
    closes the generator, which waits for what is being made just then.
    """
    if threads < 2:
        yield from map(make, items)
        return
    inference, waiting = torch.is_inference_mode_enabled(), deque[Future[Made]]()

    def work(job: Callable[[], Made]) -> Made:
        # PyTorch's modes are a thread's own.
        with torch.inference_mode(inference):
            return job()

    pool = ThreadPoolExecutor(threads, "mytalk")
    try:
        for job in _jobs(make, items):
            waiting.append(pool.submit(work, job))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def made_in_batches(
    make: Callable[[list[Item]], Iterable[Made]],
    items: Iterable[Item],
    threads: int,
    together: Callable[[], int],
) -> Generator[Made, None, None]:
    """`made_ahead` with a `make` that is given several items at once and makes as many: as many as `together`
    says when the first of them is taken."""
    with closing(made_ahead(make, _batches(items, together), threads)) as batches:
        for batch in batches:
            yield from batch


def read_ahead(items: Iterable[Item], threads: int) -> Generator[Item, None, None]:
    """The items, each made on a thread of its own while the caller works on the one before; with one thread
    only when it is asked for. An error comes in its place. Who stops early closes the generator."""
    if threads < 2:
        yield from items
        return
    source = iter(items)
    with ThreadPoolExecutor(1, "mytalk") as pool:
        upcoming = pool.submit(next, source, _END)
        while (item := upcoming.result()) is not _END:
            upcoming = pool.submit(next, source, _END)
            yield item


def _batches(items: Iterable[Item], together: Callable[[], int]) -> Iterator[list[Item]]:
    """Items in lists; an error of the items themselves comes after all that was before it."""
    held, most = list[Item](), 0
    try:
        for item in items:
            most = most if held else together()
            held.append(item)
            if len(held) >= most:
                yield held
                held = []
    except Exception:
        if held:
            yield held
        raise
    if held:
        yield held


def _jobs(make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Callable[[], Made]]:
    """What makes each item; an error of the items themselves is the last job."""
    try:
        for item in items:
            yield partial(make, item)
    except Exception as error:
        yield partial(_fail, error)


def _fail(error: Exception) -> NoReturn:
    raise error
