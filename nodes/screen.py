"""What the user reads: lines on a node, and errors as their sentence alone."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ParamSpec, TypeVar

import folder_paths

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
    """The function with our own exceptions raised as Python's nearest kind, and its files by their names in
    ComfyUI's folders.

    ComfyUI puts an exception's full type name before its message, and the name of ours begins with the
    pack's folder.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            kind = type(error)
            if kind.__module__.startswith(PACK):
                kind = next(base for base in kind.__mro__ if base.__module__ == "builtins")
            sentence = without_folders(str(error))
            if kind is type(error) and (
                sentence == str(error) or kind not in (ValueError, FileNotFoundError)
            ):
                raise
            raise kind(sentence) from error

    return run


def without_folders(sentence: str) -> str:
    """A sentence with the files of ComfyUI's folders by the names that the page has for them."""
    for name in ("input", "output", "temp"):
        folder = getattr(folder_paths, f"get_{name}_directory")()
        sentence = sentence.replace(f"{Path(folder).absolute()}{os.sep}", "")
    return sentence
