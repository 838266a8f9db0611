"""What the user reads: lines on a node, and errors as their sentence alone."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

PACK = __name__.rpartition(".nodes.")[0]
P = ParamSpec("P")
R = TypeVar("R")


def said(title: str, lines: Sequence[str]) -> dict[str, tuple[str]]:
    """Lines for the user as what a node shows, each in the log too.

    title: the node's name. Without lines the text is empty, so that the page takes away an earlier run's.
    """
    for line in lines:
        logging.warning("%s: %s", title, line)
    return {"text": ("\n".join(lines),)}


def plainly(function: Callable[P, R]) -> Callable[P, R]:
    """The function with our own exceptions raised as Python's nearest kind, same sentence.

    ComfyUI puts an exception's full type name before its message, and the name of ours begins with the
    pack's folder.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if not type(error).__module__.startswith(PACK):
                raise
            kind = next(base for base in type(error).__mro__ if base.__module__ == "builtins")
            raise kind(str(error)) from error

    return run
