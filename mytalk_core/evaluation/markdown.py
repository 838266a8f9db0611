"""Names of files and systems in Markdown: what a user wrote is text, never a table's border or a tag."""

from __future__ import annotations

import re

# An underscore inside a word and a lone "&" mean nothing in Markdown, and file names are full of them.
SPECIAL = re.compile(r"[\\`*\[\]<|~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)|^[#>+-]")
LIST_NUMBER = re.compile(r"^(\d+)([.)])(?!\S)")


def escaped(text: object) -> str:
    """As one line of Markdown that shows just this text, in a table's cell too."""
    line = SPECIAL.sub(r"\\\g<0>", " ".join(str(text).split()))
    return LIST_NUMBER.sub(r"\1\\\2", line)
