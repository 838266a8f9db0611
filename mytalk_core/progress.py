"""Bars on the terminal for work with stages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bars() -> Iterator[Callable[[str, int, int], None]]:
    """A progress callback that shows one bar a stage."""
    from tqdm import tqdm

    shown: dict[str, tqdm] = {}

    def progress(stage: str, done: int, total: int) -> None:
        if stage not in shown:
            # A stage that ends within two seconds shows no bar.
            shown[stage] = tqdm(total=total, desc=f"{stage:<10}", delay=2, file=sys.stderr)
        shown[stage].update(done - shown[stage].n)

    try:
        yield progress
    finally:
        for bar in shown.values():
            bar.close()
