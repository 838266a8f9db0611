"""Two preparations of one dataset are kept apart on every system, and a killed one is in nobody's way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mytalk_training.dataset.journal import journal_path, locked

HOLD = """
import sys
from pathlib import Path
from mytalk_training.dataset.journal import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path) -> Path:
    return journal_path(tmp_path / "dataset", 0).with_suffix(".lock")


def test_what_another_process_holds_is_refused_until_it_is_killed(lock):
    command = [sys.executable, "-c", HOLD, str(lock)]
    # pytest's own path, by which a checkout finds the training programs.
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
    try:
        assert other.stdout.readline().strip() == b"held"
        with pytest.raises(ValueError, match="dataset is being prepared by another run"), locked(lock):
            pass
    finally:
        other.kill()
        other.communicate()
    with locked(lock):
        pass


def test_a_lock_is_let_go_whatever_happens_under_it(lock):
    with pytest.raises(KeyError), locked(lock):
        raise KeyError
    with locked(lock), pytest.raises(ValueError, match="another run"), locked(lock):
        pass
