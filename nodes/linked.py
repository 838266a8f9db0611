"""What is linked: ComfyUI checks what a widget holds before a run, but not the values that come by links."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from numbers import Integral
from typing import Any

from comfy_api.latest import io

from ..mytalk_core.motion.emotion import Identity
from .memory import LoadedModel
from .sockets import IdentitySocket, ModelSocket, MotionSocket, Performance, TrackedFace, TrackSocket


def checked(execute: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    """A node's `execute` that gets what its inputs are for: numbers and texts as ComfyUI makes them of what a
    widget holds, on our own sockets what travels there, all of it allowed by the node's `validate_inputs`.

    Nothing (None) is an optional input's default. Raises ValueError for other values, as nodes with outputs
    of any type may give them.
    """
    names = list(inspect.signature(execute).parameters)[1:]

    @functools.wraps(execute)
    def run(cls: type[io.ComfyNode], *args: Any, **named: Any) -> io.NodeOutput:
        values = dict(zip(names, args, strict=False)) | named
        for entry in cls.define_schema().inputs:
            if entry.id not in values or not any(isinstance(entry, kind) for kind in MADE):
                continue
            if values[entry.id] is None and entry.optional:
                del values[entry.id]
            else:
                values[entry.id] = fitting(entry, values[entry.id])
        refuse_invalid(cls, values)
        return execute(cls, **values)

    return run


def fitting(entry: io.Input, value: Any) -> Any:
    """A value as that input takes it; raises ValueError for one that does not fit."""
    wanted, make = next(made for kind, made in MADE.items() if isinstance(entry, kind))
    if isinstance(entry, io.Float.Input):
        wanted += f" from {entry.min:g} to {entry.max:g}"
        make = partial(within, low=entry.min, high=entry.max)
    try:
        return make(value)
    except (TypeError, ValueError, OverflowError):
        arrived = "nothing" if value is None else f"{value!r:.80}"
        raise ValueError(
            f"{entry.id}: {wanted} was required, but {arrived} arrived: link a node that gives one"
        ) from None


def whole(value: Any) -> int:
    """An integer, of a text too; raises ValueError, or TypeError for what is no number."""
    # A float has too few digits for most seeds.
    exact = Fraction(value if isinstance(value, str | Integral) else float(value))
    if exact.denominator != 1:
        raise ValueError
    return int(exact)


def within(value: Any, low: float, high: float) -> float:
    """A number from low to high, of a text too; raises ValueError, or TypeError for what is no number."""
    number = float(value)
    if not low <= number <= high:
        raise ValueError
    return number


def taken(value: Any, kind: type = object) -> Any:
    """The value; raises TypeError for None and other kinds."""
    if value is None or not isinstance(value, kind):
        raise TypeError
    return value


# Input -> what it takes, and what makes that of a value.
MADE: dict[type, tuple[str, Callable[[Any], Any]]] = {
    io.Int.Input: ("a whole number", whole),
    io.Float.Input: ("a number", float),
    io.String.Input: ("a text", lambda value: str(taken(value))),
    io.Boolean.Input: ("a value", taken),
    io.Combo.Input: ("a value", taken),
    ModelSocket.Input: ("a MyTalk model", partial(taken, kind=LoadedModel)),
    TrackSocket.Input: ("a track", partial(taken, kind=TrackedFace)),
    IdentitySocket.Input: ("an identity", partial(taken, kind=Identity)),
    MotionSocket.Input: ("a motion", partial(taken, kind=Performance)),
}


def refuse_invalid(node: type[io.ComfyNode], values: dict[str, Any]) -> None:
    """Raises ValueError for what a node refuses of its widgets before a run."""
    validate = getattr(node, "validate_inputs", None)
    if validate is None or validate.__module__ != node.execute.__module__:
        return
    named = {name: values[name] for name in inspect.signature(validate).parameters if name in values}
    answer = validate(**named)
    if answer is not True:
        raise ValueError(answer)


def never_the_same() -> float:
    """A fingerprint for a node that runs each time, since a file's linked name is not known beforehand: a nan
    of its own, as ComfyUI takes one and the same object for unchanged."""
    return float("nan")
