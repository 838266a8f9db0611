"""JSON that somebody else wrote: an object, or one line that says what arrived instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def parse_object(text: str | bytes, where: str) -> dict[str, Any]:
    """The object that a text holds. where: file, and line if there are many, for the message.

    Raises ValueError for anything else: no JSON, a list, a number, null, or values nested too deeply.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        why = "values nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ValueError(f"{where}: a JSON object was required, but it cannot be read ({why})") from None
    if not isinstance(found, dict):
        names = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
        raise ValueError(
            f"{where}: a JSON object was required, but {names.get(type(found), 'a number')} arrived"
        )
    return found


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file, UTF-8. Raises FileNotFoundError; ValueError as `parse_object`."""
    return parse_object(path.read_bytes(), str(path))


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """(where, object) of each line that is not empty. Raises FileNotFoundError, and as `parse_object`."""
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, parse_object(line, where)


def text_field(row: dict[str, Any], name: str, where: str) -> str | None:
    """A text of an object, None where it is missing, null or empty. Raises ValueError for another type; a
    number is taken as its text.
    """
    value = row.get(name)
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{where}: {name} must be a text; got {type(value).__name__}")
    return str(value)


def number_field(row: dict[str, Any], name: str, where: str) -> float | None:
    """A finite number of an object, None where it is missing or null. Raises ValueError for anything else."""
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise ValueError(f"{where}: {name} must be a number; got {value!r:.60}")
    return value
