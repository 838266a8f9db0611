"""How long a Hub may take: what asks it runs on a thread of its own, and is left behind where nothing comes.

The library waits as long as a server asks for, and for every byte. Every answer is looked at first, see
`hub_answers`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import WeightsError
from ..limits import HUB_SECONDS
from .hub_answers import Watch
from .hub_client import install, watch_this_thread

Result = TypeVar("Result")

LEAST_BYTES_A_SECOND = 1000
# An answer without a body, as for a file that is there already, may take as long.
ANSWER_S = 5
POLL_S = 0.1
SETTLING_S = 2.0
UNWINDING_S = 2.0
# The part of `limits.HUB_SECONDS` within which a first answer must come, and for how many seconds a Hub that
# gave none is not asked again: a model is many files.
FIRST_ANSWER_SHARE = 0.25
SILENT_S = 60.0

# Hubs that gave no answer, and when (`time.monotonic`).
_silent: dict[str, float] = {}


class UnansweredError(WeightsError):
    """A Hub that says nothing at all, as without a connection; what the cache holds may do."""


def watched(where: str, call: Callable[[], Result]) -> Result:
    """What `call` returns, with all answers of a Hub to it looked at.

    where: the Hub, for the messages. Its own thread does the work: one that a server holds up is left behind
    when less than a kilobyte a second has come over `limits.HUB_SECONDS`, and ends at the next byte. What
    another process is fetching is waited for.
    Raises what `call` raises; WeightsError for such a server, or an answer that must not be used;
    UnansweredError where none comes at all, which the library would try again and again.
    """
    if time.monotonic() - _silent.get(where, -SILENT_S) < SILENT_S:
        raise UnansweredError(f"{where} gave no answer")
    install()
    watch, ended = Watch(where), threading.Event()
    outcome: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        watch_this_thread(watch)
        try:
            outcome.append((call(), None))
        except BaseException as error:
            outcome.append((None, error))
        finally:
            ended.set()

    threading.Thread(target=work, daemon=True, name="Hub").start()
    try:
        _wait(ended, watch)
    finally:
        watch.given_up = True
        if watch.fetches:
            # What came in part is removed on the way; a program that ended now would leave it in the cache.
            ended.wait(UNWINDING_S)
    result, error = outcome[0]
    if error is None and watch.unanswered and not watch.answers:
        # The cache did: the other files need not be asked for again and again.
        _silent[where] = time.monotonic()
    if isinstance(error, OverflowError):
        # Nobody can sleep as long as that.
        raise _asked(where, watch.asked_to_wait_s) from None
    if error is not None:
        raise error
    return result


def _wait(ended: threading.Event, watch: Watch) -> None:
    """Until the work has ended. Raises where it is not worth to wait any longer, see `watched`."""
    where, patience_s = watch.where, HUB_SECONDS.value
    since_s, seen, answered_s, answers = time.monotonic(), 0, time.monotonic(), 0
    while not ended.wait(POLL_S):
        now_s = time.monotonic()
        if watch.answers != answers:
            answered_s, answers = now_s, watch.answers
        if not answers and now_s - answered_s > FIRST_ANSWER_SHARE * patience_s:
            _silent[where] = now_s
            raise UnansweredError(f"{where} gave no answer")
        asked_s = watch.asked_to_wait_s
        # What the cache holds is taken without waiting, so that a moment shows whether it waits.
        if asked_s > patience_s and now_s - answered_s > min(SETTLING_S, patience_s):
            raise _asked(where, asked_s)
        come = watch.bytes + ANSWER_S * LEAST_BYTES_A_SECOND * watch.answers
        if come - seen >= LEAST_BYTES_A_SECOND * patience_s or watch.held_here:
            since_s, seen = now_s, come
        elif now_s - since_s > patience_s:
            raise WeightsError(
                f"{where} brought less than {LEAST_BYTES_A_SECOND / 1000:.0f} kB a second over "
                f"{patience_s:.15g} s and was given up: try again; {HUB_SECONDS.remedy}"
            )


def _asked(where: str, asked_s: float) -> WeightsError:
    return WeightsError(f"{where} asks to come back in {asked_s:.0f} s: try again then; {HUB_SECONDS.remedy}")
