"""What newer ComfyUIs take and older ones refuse: passed on only where this one's signature has it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from comfy_api.latest import io

# What people type into the search who have never heard of us.
SEARCH_ALIASES = (
    "lip sync",
    "lipsync",
    "talking head",
    "dub",
    "dubbing",
    "wav2lip",
    "mouth",
    "speech to video",
)
CATEGORY = "MyTalk"
# A group of the page's Essentials.
ESSENTIALS = "Video Tools"


def schema(*, shows: bool = False, **settings: Any) -> io.Schema:
    """`io.Schema` of one of our nodes, found by what people search for.

    shows: the node says or shows something without being an output node; a page that was opened since is told
    it again by a run in which the node itself need not run.
    """
    newer = {"search_aliases": list(SEARCH_ALIASES), "essentials_category": ESSENTIALS}
    own = {"category": CATEGORY, **settings}
    return with_known(io.Schema, own, newer | {"has_intermediate_output": shows})


def rare(make: Callable[..., Any], name: str, **settings: Any) -> Any:
    """An input of type `make` that few need: the page folds it away where it can."""
    return with_known(make, {"id": name, **settings}, {"advanced": True})


def with_known(make: Callable[..., Any], settings: Mapping[str, Any], newer: Mapping[str, Any]) -> Any:
    """make(**settings), and of `newer` what it knows."""
    known = inspect.signature(make).parameters
    return make(**settings, **{name: value for name, value in newer.items() if name in known})
