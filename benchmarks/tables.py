"""Markdown tables, and the words that say when and where a benchmark ran."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable


def table_head(titles: Iterable[str]) -> list[str]:
    """The two lines that a table begins with."""
    titles = list(titles)
    return [table_row(titles), "|---" * len(titles) + "|"]


def table_row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def measured_here() -> str:
    """Today and the machine."""
    return f"{datetime.date.today()}, {os.cpu_count()}-core CPU"
