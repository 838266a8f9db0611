"""The pages of reports and studies: HTML templates, styles and scripts."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..extra import evaluation_extra

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

FOLDER = Path(__file__).parent


def render(name: str, **values: Any) -> Markup:
    """A template of this folder filled in; whatever is not a `Markup` already is escaped.

    Raises ValueError where jinja2 is not installed.
    """
    text = environment().get_template(name).render(**values)
    from markupsafe import Markup

    return Markup(text)


@cache
def environment() -> Environment:
    """The templates of this folder. Raises ValueError where jinja2 is not installed."""
    with evaluation_extra("a page"):
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Styles and scripts are our own, and no templates: braces in them mean nothing.
    made.globals["file"] = lambda name: Markup((FOLDER / name).read_text(encoding="utf-8"))
    return made
