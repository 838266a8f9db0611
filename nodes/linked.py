"""Values that are linked to widgets: ComfyUI checks what a widget holds before a run, but not these."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from fractions import Fraction
from numbers import Integral
from typing import Any

from comfy_api.latest import io

WIDGETS = (io.Int.Input, io.Float.Input, io.String.Input, io.Boolean.Input, io.Combo.Input)


def checked(execute: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    """A node's `execute` that gets numbers and texts as ComfyUI makes them of a widget's value, and that the
    node's `validate_inputs` has allowed.

    An optional widget to which nothing (None) is linked has its default. Raises ValueError for other values.
    """
    names = list(inspect.signature(execute).parameters)[1:]

    @functools.wraps(execute)
    def run(cls: type[io.ComfyNode], *args: Any, **named: Any) -> io.NodeOutput:
        values = dict(zip(names, args, strict=False)) | named
        for entry in cls.define_schema().inputs:
            if entry.id not in values or not isinstance(entry, WIDGETS):
                continue
            if values[entry.id] is None and entry.optional:
                del values[entry.id]
            else:
                values[entry.id] = as_widget(entry, values[entry.id])
        refuse_invalid(cls, values)
        return execute(cls, **values)

    return run


def as_widget(entry: io.Input, value: Any) -> Any:
    """A value as the widget holds it; raises ValueError for one that is none."""
    wanted = "a value"
    try:
        if isinstance(entry, io.Int.Input):
            wanted = "a whole number"
            return whole(value)
        if isinstance(entry, io.Float.Input):
            wanted = "a number"
            return finite(value)
        if value is None:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        arrived = "nothing" if value is None else repr(value)[:80]
        raise ValueError(
            f"{entry.id}: {wanted} was required, but {arrived} arrived: link a node that gives one, or set "
            "it on the node"
        ) from None
    return str(value) if isinstance(entry, io.String.Input) else value


def whole(value: Any) -> int:
    """An integer, of a text too; raises ValueError, or TypeError for what is no number."""
    # A float has too few digits for most seeds.
    exact = Fraction(value if isinstance(value, str | Integral) else float(value))
    if exact.denominator != 1:
        raise ValueError
    return int(exact)


def finite(value: Any) -> float:
    """A number, of a text too; raises ValueError, or TypeError for what is no number."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number


def refuse_invalid(node: type[io.ComfyNode], values: dict[str, Any]) -> None:
    """Raises ValueError for what a node refuses of its widgets before a run."""
    validate = getattr(node, "validate_inputs", None)
    if validate is None or validate.__module__ != node.execute.__module__:
        return
    named = {name: values[name] for name in inspect.signature(validate).parameters if name in values}
    answer = validate(**named)
    if answer is not True:
        raise ValueError(answer)
