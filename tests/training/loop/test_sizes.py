"""Sizes of networks of which there must be at least one, in every program that has such flags."""

from __future__ import annotations

import importlib

import pytest


@pytest.mark.parametrize(
    ("program", "flag"),
    [
        ("refiner", "--width"),
        ("refiner", "--widths"),
        ("refiner", "--references"),
        ("generator", "--width"),
        ("generator", "--groups"),
        ("motion", "--layers"),
    ],
)
def test_a_size_of_nothing_is_refused(program, flag, capsys):
    parse = importlib.import_module(f"mytalk_training.{program}.train").parse
    with pytest.raises(SystemExit):
        parse(["DATA", "-o", "RUN", flag, "0"])
    assert f"argument {flag}: a whole number, 1 or more, was required; got '0'" in capsys.readouterr().err
