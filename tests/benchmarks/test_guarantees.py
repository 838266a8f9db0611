"""A few of the guarantees are tried with every run of the tests."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from repository import ROOT


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_a_few_of_each_hold(tmp_path):
    table = tmp_path / "guarantees.md"
    command = [sys.executable, str(ROOT / "benchmarks" / "guarantees"), "--quick", "-o", str(table)]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    text = table.read_text()
    assert "0 not as expected" in text and "**NO**" not in text
    kinds = ("case", "media", "model", "motion", "track", "manifest", "kept run", "process", "kill")
    assert all(f"| {kind} |" in text for kind in kinds)
