"""Packages of the extra "evaluation": imported where they are used, and named where they are missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def evaluation_extra(purpose: str) -> Iterator[None]:
    """Around an import from a package of the extra; purpose: what it is for.

    Raises ValueError saying what to install where the package is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "a package").partition(".")[0]
        raise ValueError(
            f'{purpose} needs {package}, which is not installed: python -m pip install "mytalk[evaluation]", '
            'or from a checkout python -m pip install -e ".[evaluation]"'
        ) from error
