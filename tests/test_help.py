"""What `--help` says: of every option of the command and of the training programs."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path

import pytest

from mytalk_core.cli.main import main

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = sorted(
    ".".join(("mytalk_training", *path.relative_to(ROOT / "training").with_suffix("").parts))
    for path in (ROOT / "training").rglob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


@pytest.fixture
def parser_of(monkeypatch):
    """The parser of a program's entry function."""
    monkeypatch.setenv("COLUMNS", "2000")

    def find(entry) -> argparse.ArgumentParser:
        found = []

        def stop(parser: argparse.ArgumentParser, *_) -> None:
            found.append(parser)
            raise SystemExit

        with monkeypatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr(argparse.ArgumentParser, "parse_args", stop)
            entry()
        return found[0]

    return find


def faults(parser: argparse.ArgumentParser) -> list[str]:
    """Options without a line of text or whose default is said wrongly, of a parser and its subcommands."""
    found, text = [], parser.format_help()
    if re.search(r"default: (None|False|True|\[)", text):
        found.append(f"{parser.prog}: shows a default that is none")
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            listed = {entry.dest for entry in action._choices_actions if entry.help}
            found += [f"{parser.prog} {name}: not in the list" for name in set(action.choices) - listed]
            found += [fault for sub in action.choices.values() for fault in faults(sub)]
            continue
        name = f"{parser.prog} {'/'.join(action.option_strings) or action.dest}"
        if not action.help:
            found.append(f"{name}: no text")
        value = action.default
        if action.nargs == 0 or value in (None, []) or action.required:
            continue
        shown = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        if f"{action.help} (default: {shown})" not in text:
            found.append(f"{name}: its default, {shown}, is not shown")
    return found


def test_the_command_explains_every_option(parser_of):
    parser = parser_of(main)
    assert "example" in parser.format_help() and "mytalk sync" in parser.format_help()
    assert faults(parser) == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_training_program_explains_every_option(parser_of, program):
    parser = parser_of(importlib.import_module(program).main)
    assert parser.description and faults(parser) == []


@pytest.mark.parametrize("room", ["covers", "refiner"])
def test_a_training_program_names_who_makes_its_dataset(parser_of, room):
    text = parser_of(importlib.import_module(f"mytalk_training.{room}.train").main).format_help()
    assert f"folder that mytalk_training.{room}.prepare wrote" in text
