"""How a program ends: one line for a user's mistake, nothing half-written when it is told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

# Windows has no SIGHUP.
STOPPING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
# A signal that was lost comes again after so long.
AGAIN_S = 0.05
BROKEN_PIPE = 141  # 128 and the number of SIGPIPE, as shells count


class Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP came: the program unwinds as on Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number, self.name = number, signal.Signals(number).name


def in_one_line(command: Callable[[], None], name: str) -> int:
    """Run a program; the exit code. name: what its lines on stderr begin with.

    A user's mistake (ValueError, OSError), or a training that ran into NaN (FloatingPointError), is one line
    and code 1. Ctrl-C is code 130; SIGTERM (143) and SIGHUP (129) unwind as Ctrl-C does, so that temporary
    files go. A reader of stdout that went away, as in `mytalk info | head -1`, ends the program without a
    word, code 141.
    """
    try:
        with stoppable():
            command()
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt as interrupt:
        by = f"stopped by {interrupt.name}" if isinstance(interrupt, Stopped) else "interrupted"
        _say(f"{name}: {by}")
        return exit_code(interrupt)
    except (ValueError, OSError, FloatingPointError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return BROKEN_PIPE
        _say(f"{name}: {_os_line(error) if isinstance(error, OSError) else error}")
        return 1
    return 0


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `Stopped` in the block, once; those that something else handles or ignores, as
    under nohup, are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:
            # A forked child, which has nothing of this program's to tidy up.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        # A terminal that closes says so twice; the second time must not end the unwinding.
        for other in ours:
            signal.signal(other, signal.SIG_IGN)
        raise Stopped(number)

    def unraisable(lost: Any) -> None:
        # Where nothing can be raised, as in a destructor, the program would go on, and heed no more signals.
        stopped = lost.exc_value
        if not isinstance(stopped, Stopped):
            others(lost)
            return
        again = threading.Timer(AGAIN_S, os.kill, (process, stopped.number))
        for other in ours:
            signal.signal(other, stop)
        again.daemon = True
        again.start()

    ours = [number for number in STOPPING if signal.getsignal(number) == signal.SIG_DFL]
    others, sys.unraisablehook = sys.unraisablehook, unraisable
    try:
        for number in ours:
            signal.signal(number, stop)
        yield
    finally:
        sys.unraisablehook = others
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """The code of a program that was interrupted: 128 and the number of what did it, as shells count."""
    return 128 + (interrupt.number if isinstance(interrupt, Stopped) else signal.SIGINT)


def _nobody_reads() -> bool:
    """Whether it is stdout that broke; what it still holds is then dropped, for the interpreter flushes it at
    the end and would complain."""
    try:
        # Only a write tells: what failed before is no longer held.
        sys.stdout.write("\n")
        sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)
        return True
    return False


def _say(line: str) -> None:
    # A name from a file can hold what ends a line or moves the cursor.
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)
    with contextlib.suppress(OSError):
        print(plain, file=sys.stderr)


def _os_line(error: OSError) -> str:
    return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
