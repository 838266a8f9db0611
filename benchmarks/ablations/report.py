"""Markdown tables of variants: the paper's figures, ours with differences to the default, what agrees."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Column:
    """A figure: its key in the scores, its heading, the digits shown; paper: the paper's heading for it."""

    key: str
    heading: str
    digits: int = 3
    paper: str = ""


@dataclass(frozen=True)
class Row:
    """A variant: scores by key, one a clip (or frame), in one order for all rows, or one of them all; paper:
    figures by key."""

    label: str
    scores: dict[str, np.ndarray]
    paper: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences to the default, and its standard error over clips; None where there is one
    score for them all."""

    mean: float
    error: float | None

    @property
    def clear(self) -> bool:
        """Whether it is beyond two standard errors."""
        return self.error is not None and abs(self.mean) > 2 * self.error


def difference(row: Row, base: Row, key: str) -> Difference:
    """How far a row is from the default, clip by clip."""
    paired = row.scores[key] - base.scores[key]
    error = float(paired.std(ddof=1) / np.sqrt(len(paired))) if len(paired) > 1 else None
    return Difference(float(paired.mean()), error)


def table(rows: list[Row], columns: list[Column]) -> list[str]:
    """Lines of the table; the first row is the default that the others are held against."""
    published = [column for column in columns if column.paper]
    headings = [f"paper: {c.paper}" for c in published] + [c.heading for c in columns]
    lines = [f"| variant | {' | '.join(headings)} |", "|---" * (len(headings) + 1) + "|"]
    base = rows[0]
    for row in rows:
        cells = [str(row.paper.get(column.key, "")) for column in published]
        for column in columns:
            mean = f"{row.scores[column.key].mean():.{column.digits}f}"
            if row is not base:
                found, digits = difference(row, base, column.key), column.digits
                error = "" if found.error is None else f" ± {found.error:.{digits}f}"
                mean += f" ({found.mean:+.{digits}f}{error})"
            cells.append(mean)
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    return lines


def agreement(rows: list[Row], columns: list[Column]) -> str:
    """A sentence: in how many rows each published figure moves away from the default as the paper's does."""
    base, parts = rows[0], []
    for column in (column for column in columns if column.paper):
        others = [row for row in rows[1:] if column.key in row.paper]
        found = [difference(row, base, column.key) for row in others]
        wanted = [_better(row.paper[column.key] - base.paper[column.key], column.paper) for row in others]
        same = [_better(d.mean, column.heading) == sign for d, sign in zip(found, wanted, strict=True)]
        agree = sum(same)
        clear = sum(s and d.clear for s, d in zip(same, found, strict=True))
        against = sum(not s and d.clear for s, d in zip(same, found, strict=True))
        name = column.heading.split(",")[0].rstrip(" ↑↓")
        parts.append(
            f"{name} moves as the paper's {column.paper[:-2]} does in {agree} of {len(others)} "
            f"({clear} beyond two standard errors; {against} clearly the other way)"
        )
    return "; ".join(parts) + "."


def _better(change: float, heading: str) -> bool:
    return change < 0 if "↓" in heading else change > 0
