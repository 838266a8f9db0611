"""How programs end: a line of their own for a mistake, exit codes of signals, nothing left when they stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from mytalk_core.media.remux import copy_untagged
from mytalk_core.pipeline.device import choose_device
from mytalk_core.program import Stopped, in_one_line

ROOT = Path(__file__).parents[1]
posix = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
SIGNALS = {"SIGTERM": 143, "SIGHUP": 129, "SIGINT": 130}
# Stays in its block until it is told to stop, and unwinds until it reads a line.
WAITING = """
import sys, time
from mytalk_core.program import in_one_line
def wait():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("unwinding", flush=True)
        print(sys.stdin.readline(), end="", flush=True)
sys.exit(in_one_line(wait, "a program"))
"""


def failing(error: BaseException):
    def command() -> None:
        raise error

    return command


def test_a_mistake_is_one_line_with_the_programs_own_name(capsys):
    for error, line in (
        (ValueError("no such thing"), "train: no such thing"),
        (
            FileNotFoundError(2, "No such file or directory", "x.mp4"),
            "train: x.mp4: No such file or directory",
        ),
        (FileExistsError("README.md was written by hand"), "train: README.md was written by hand"),
        (FloatingPointError("step 3: the loss is nan"), "train: step 3: the loss is nan"),
        (BrokenPipeError(32, "Broken pipe"), "train: [Errno 32] Broken pipe"),
        (ValueError("clips/x\n\x1b[2J: é is not there"), "train: clips/x\\n\\x1b[2J: é is not there"),
    ):
        assert in_one_line(failing(error), "train") == 1
        assert capsys.readouterr().err == f"{line}\n"
    assert in_one_line(failing(KeyboardInterrupt()), "train") == 130
    # It does not say that nothing was written: a program that keeps checkpoints has written them.
    assert capsys.readouterr().err == "train: interrupted\n"
    assert in_one_line(lambda: None, "train") == 0
    with pytest.raises(RuntimeError):
        in_one_line(failing(RuntimeError("a fault of ours keeps its traceback")), "train")


@posix
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_unwinds_once_and_the_handlers_are_put_back(name, capsys):
    number = getattr(signal, name)
    before = signal.getsignal(number)

    def command() -> None:
        try:
            os.kill(os.getpid(), number)
            time.sleep(5)
        except Stopped:
            # A closing terminal sends it again.
            os.kill(os.getpid(), number)
            raise

    assert in_one_line(command, "train") == SIGNALS[name]
    assert capsys.readouterr().err == f"train: stopped by {name}\n"
    assert signal.getsignal(number) == before == signal.SIG_DFL


@posix
def test_other_handlers_are_left_alone(monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert in_one_line(lambda: os.kill(os.getpid(), signal.SIGHUP), "train") == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(in_one_line(lambda: None, "train")))
    thread.start()
    thread.join()
    assert codes == [0]


@posix
def test_a_signal_from_outside_and_once_more_while_it_unwinds():
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    for name, code in SIGNALS.items():
        process = subprocess.Popen(
            [sys.executable, "-c", WAITING], cwd=ROOT, text=True, preexec_fn=heed_ctrl_c, **pipes
        )
        assert process.stdout.readline() == "ready\n"
        process.send_signal(getattr(signal, name))
        assert process.stdout.readline() == "unwinding\n"
        if name != "SIGINT":
            process.send_signal(getattr(signal, name))
        out, err = process.communicate("unwound\n", timeout=60)
        word = "interrupted" if name == "SIGINT" else f"stopped by {name}"
        assert (process.returncode, out, err) == (code, "unwound\n", f"a program: {word}\n")


def heed_ctrl_c() -> None:
    """In the child: a shell that starts these tests in the background has it ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@posix
def test_a_stopped_sync_leaves_nothing(tmp_path, examples):
    """Three runs at once, each told to stop in another way while it renders."""
    video = tmp_path / "in.mp4"
    copy_untagged(examples / "ai_woman.mp4", video, 1.5)
    runs = {}
    for name in SIGNALS:
        folder = tmp_path / name
        folder.mkdir()
        outputs = [
            "-o",
            "out.mp4",
            "--save-mask",
            "mask.mkv",
            "--save-motion",
            "motion",
            "--report",
            "report",
        ]
        command = [sys.executable, "-m", "mytalk_core", "sync", str(video), str(examples / "speech_en.wav")]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        runs[name] = subprocess.Popen(
            [*command, *outputs, "--steps", "1"],
            cwd=folder,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=heed_ctrl_c,
        )
    waiting = set(runs)
    while waiting:
        for name in sorted(waiting):
            assert runs[name].poll() is None, runs[name].stderr.read()
            if list((tmp_path / name).glob(".*/new.mp4")):
                runs[name].send_signal(getattr(signal, name))
                waiting.remove(name)
        time.sleep(0.02)
    for name, code in SIGNALS.items():
        _, err = runs[name].communicate(timeout=120)
        assert runs[name].returncode == code, err
        word = "interrupted" if name == "SIGINT" else f"stopped by {name}"
        assert err.splitlines()[-1] == f"mytalk: {word}" and "Traceback" not in err
        assert list((tmp_path / name).iterdir()) == []


@posix
def test_a_signal_in_a_destructor_is_not_lost():
    code = (
        "import os, signal, sys, time\nfrom mytalk_core.program import in_one_line\n"
        "class Thing:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(0.01)\n"
        "def work():\n"
        "    Thing()\n"
        "    for _ in range(500): time.sleep(0.01)\n"
        "sys.exit(in_one_line(work, 'a program'))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (143, "a program: stopped by SIGTERM\n")


@posix
def test_a_reader_that_goes_away_is_no_error():
    code = (
        "import sys\nfrom mytalk_core.program import in_one_line\n"
        "sys.exit(in_one_line(lambda: print('line\\n' * 100000), 'a program'))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == "" and process.wait() == 141
    process.stderr.close()


def test_devices_that_are_not_there():
    assert choose_device("cpu") == torch.device("cpu")
    absent = {"bogus", "", "meta", "cpu:7", "cuda:99", "mps:3", "xla"}
    if not torch.cuda.is_available():
        absent.add("cuda")
    for word in absent:
        with pytest.raises(
            ValueError, match=rf"was required \(auto, .*cpu\), but {word!r} arrived: choose one"
        ):
            choose_device(word)


def test_importing_sets_no_handlers():
    code = (
        "import signal\nbefore = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]\n"
        "import mytalk_core.program, mytalk_core.cli.main\n"
        "assert before == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_no_training_program_needs_the_command():
    for path in (ROOT / "training").rglob("*.py"):
        assert "mytalk_core.cli" not in path.read_text(encoding="utf-8"), path
