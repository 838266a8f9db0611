"""Runs that are killed at any moment, two onto one output, and eight at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from pictures import Spec, person, write_pictures, write_speech
from trials import Result, environment

from mytalk_core.media.file_clip import FileClip
from mytalk_core.pipeline.journal import folder_of

SIGNALS = {"KILL": -9, "TERM": 143, "HUP": 129, "INT": 130}
FRAMES, SIDE = 80, 128
LEFTOVER = re.compile(r"\.mytalk-[0-9a-f]{8}-[0-9a-f]{8}")
LIMIT_S = 300


def start(folder: Path, output: Path, *options: str) -> subprocess.Popen:
    """`mytalk sync` of the folder's source in a process of its own."""
    home = folder / "home"
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "mytalk_core", "sync", str(folder / "in.mkv"), str(folder / "in.wav")]
    return subprocess.Popen(
        [*command, "-o", str(output), "--steps", "2", *options],
        env=environment(home),
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Shells let processes in the background ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finish(process: subprocess.Popen) -> tuple[int, str]:
    """The exit code, and what was said."""
    try:
        _, said = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return 124, "hangs"
    return process.returncode, said


def prepare(folder: Path) -> tuple[Path, float]:
    """The source; the output of an unbroken run, and the seconds that it took."""
    folder.mkdir()
    frames = np.tile(person(count=40, side=SIDE), (FRAMES // 40, 1, 1, 1))
    write_pictures(folder / "in.mkv", frames, Spec("ffv1"))
    write_speech(folder / "in.wav", 3.0)
    began = time.perf_counter()
    code, said = finish(start(folder, folder / "whole.mp4"))
    if code:
        raise RuntimeError(f"an unbroken run ended with {code}: {said}")
    return folder / "whole.mp4", time.perf_counter() - began


def same_pictures(one: Path, other: Path) -> bool:
    """Whether two files decode to the same frames at the same times."""
    clips = FileClip.open(one), FileClip.open(other)
    if len(clips[0]) != len(clips[1]) or (clips[0].times_s != clips[1].times_s).any():
        return False
    pairs = zip(*(clip.frames() for clip in clips), strict=True)
    return all((first == second).all() for first, second in pairs)


def left_over(folder: Path, known: set[str]) -> set[str]:
    """What lies there beside what is known."""
    return {path.name for path in folder.iterdir()} - known


def run_kills(names: Sequence[str], times: int, seed: int, folder: Path) -> Iterator[Result]:
    """Each signal `times` times, with and without --resume by turns; a run that was kept goes on."""
    whole, length_s = prepare(folder)
    known = {path.name for path in folder.iterdir()}
    random = np.random.default_rng(seed)
    for name in names:
        for number in range(times):
            # Most of a short run is the start of Python, in which there is nothing to lose.
            moment_s = length_s * float(random.uniform(0.4, 1.0))
            yield one_kill(name, moment_s, number % 2 == 0, folder, whole, known)


def one_kill(name: str, moment_s: float, resume: bool, folder: Path, whole: Path, known: set[str]) -> Result:
    """Kill a run, look at what lies there, and run again."""
    output, options = folder / "out.mp4", ("--resume",) if resume else ()
    process = start(folder, output, *options)
    time.sleep(moment_s)
    process.send_signal(getattr(signal, f"SIG{name}"))
    code, said = finish(process)
    kept = folder_of(output).is_dir()
    left = left_over(folder, known | ({folder_of(output).name} if resume else set()))
    by_signal = -getattr(signal, f"SIG{name}")
    # The signal may come when all is done and only Python is still to end.
    ended = code in (0, by_signal) and left == {output.name} and same_pictures(output, whole)
    # After a kill that nobody can answer the next run takes what lies there.
    allowed = {entry for entry in left if name == "KILL" and LEFTOVER.fullmatch(entry)}
    good = ended or (code == SIGNALS[name] and left == allowed)
    # Before Python runs our program a signal ends it without a word, as any other.
    good = good or (code == by_signal and not left)
    good = good and "Traceback" not in said
    state = "had ended" if ended else f"code {code}, {'kept' if kept else 'nothing kept'}"
    state += "".join(
        f", left {entry}" for entry in sorted(left - allowed - ({output.name} if ended else set()))
    )
    output.unlink(missing_ok=True)
    again, said = finish(start(folder, output, *options))
    rest = left_over(folder, known | {output.name})
    equal = again == 0 and same_pictures(output, whole)
    after = (
        "then as unbroken"
        if equal
        else f"then code {again}, {'another result' if not again else said[-200:]}"
    )
    output.unlink(missing_ok=True)
    return Result(
        "kill",
        f"SIG{name} after {moment_s:.1f} s{', --resume' if resume else ''}",
        f"nothing left{' but what --resume needs' if resume else ''}; the next run as unbroken",
        f"{state}; {after}" + "".join(f"; left {entry}" for entry in sorted(rest)),
        good and equal and not rest,
    )


def run_together(folder: Path, count: int) -> Iterator[Result]:
    """Two runs onto one output, without and with --resume; `count` beside each other."""
    whole = folder / "whole.mp4"
    known = {path.name for path in folder.iterdir()}
    output = folder / "out.mp4"
    ends = [finish(process) for process in [start(folder, output) for _ in range(2)]]
    good = [code for code, _ in ends] == [0, 0] and same_pictures(output, whole)
    good = good and not left_over(folder, known | {output.name})
    observed = f"codes {ends[0][0]} and {ends[1][0]}, {'one whole file' if good else 'not one whole file'}"
    yield Result("together", "two runs onto one output", "codes 0 and 0, one whole file", observed, good)
    output.unlink(missing_ok=True)
    ends = [finish(process) for process in [start(folder, output, "--resume") for _ in range(2)]]
    codes = sorted(code for code, _ in ends)
    told = any("another run with --resume" in said for _, said in ends)
    good = (codes == [0, 0] or (codes == [0, 1] and told)) and same_pictures(output, whole)
    good = good and not left_over(folder, known | {output.name})
    wanted = "one refused in a line, or done after the other; one whole file"
    observed = f"codes {codes}, {'one whole file' if good else 'not one whole file'}"
    yield Result("together", "two runs onto one output, --resume", wanted, observed, good)
    output.unlink(missing_ok=True)
    outputs = [folder / f"out{number}.mp4" for number in range(count)]
    ends = [finish(process) for process in [start(folder, path) for path in outputs]]
    equal = sum(
        code == 0 and path.read_bytes() == whole.read_bytes()
        for (code, _), path in zip(ends, outputs, strict=True)
    )
    yield Result(
        "together", f"{count} at once", f"{count} equal files", f"{equal} equal files", equal == count
    )


def supported() -> bool:
    """Signals of POSIX are there."""
    return os.name == "posix"
