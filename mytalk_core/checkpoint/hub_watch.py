"""What a Hub may answer: how long it may take, how much it may send, and which names it may give files.

huggingface_hub joins an ETag and a commit, as a server sends them, into paths of its cache, waits as long as
a server asks for, and reads whatever comes. So every answer to what `watched` runs is looked at first.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ..errors import WeightsError
from ..limits import HUB_FILE_BYTES, HUB_LISTING_BYTES, HUB_SECONDS, Limit

Result = TypeVar("Result")

HEXADECIMAL = re.compile(r"[0-9a-fA-F]{7,128}")
ETAG = re.compile(r'(?:W/)?"?([0-9a-fA-F]{7,128})"?')
# Names of a listing, and what says which version of a file it is.
NAMES, VERSIONS = ("path", "rfilename"), ("oid", "sha", "sha256", "blobId", "xetHash")
LEAST_BYTES_A_SECOND = 1000
# An answer without a body, as for a file that is there already, may take as long.
ANSWER_S = 5
MOST_ANSWERS = 500
POLL_S = 0.1
SMALL_READ = 1 << 12
SETTLING_S = 2.0
UNWINDING_S = 2.0
# The part of `limits.HUB_SECONDS` within which a first answer must come, and for how many seconds a Hub that
# gave none is not asked again: a model is many files.
FIRST_ANSWER_SHARE = 0.25
SILENT_S = 60.0

_current = threading.local()
_installing = threading.Lock()
_installed = False
# Hubs that gave no answer, and when (`time.monotonic`).
_silent: dict[str, float] = {}


class UnansweredError(WeightsError):
    """A Hub that says nothing at all, as without a connection; what the cache holds may do."""


class Watch:
    """One call's account. where: the Hub, for the messages."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.given_up = False
        self.asked_to_wait_s = 0.0
        self.bytes = 0
        self.answers = 0
        self.unanswered = False
        self.fetches = False
        self.listing_bytes = 0

    def question(self, method: str, url: str) -> None:
        """Note that the Hub is asked."""
        self.unanswered = True
        self.fetches |= method == "GET" and not self.is_listing(url)

    @property
    def held_here(self) -> bool:
        """Whether it is not the Hub that is waited for: it has said which version of a file there is, and the
        library fetches none while another process does.
        """
        told = self.answers > 0 and not self.unanswered
        return told and not self.fetches and not self.asked_to_wait_s

    def is_listing(self, url: str) -> bool:
        """Whether an address is of the Hub's own interface, which lies below a mirror's path."""
        own = urlsplit(self.where).path.rstrip("/")
        return urlsplit(url).path.removeprefix(own).startswith("/api/")

    def answer(self, method: str, url: str, status: int, headers: Any) -> None:
        """Look at an answer's head. Raises WeightsError for one that must not be used."""
        self.check_given_up()
        self.answers += 1
        # Of a listing the body is the answer.
        self.unanswered = self.is_listing(url)
        if self.answers > MOST_ANSWERS:
            raise WeightsError(f"{self.where} answered more than {MOST_ANSWERS} times: it leads nowhere")
        # The library's own transport for these speaks to servers that nobody watches.
        for name in [name for name in headers if name.lower().startswith("x-xet-")]:
            del headers[name]
        self.asked_to_wait_s = _seconds(headers.get("Retry-After")) if status in (408, 429, 503) else 0.0
        commit = headers.get("X-Repo-Commit")
        if commit is not None and not HEXADECIMAL.fullmatch(commit):
            raise self._odd("commit", commit)
        linked, etag = headers.get("X-Linked-Etag"), headers.get("ETag")
        elsewhere = 300 <= status < 400 and not urlsplit(headers.get("Location") or "").netloc
        version = linked or etag
        used = method == "HEAD" and status < 400 and not elsewhere and bool(version)
        if used and not ETAG.fullmatch(version):
            raise self._odd("ETag", version)
        encoding = headers.get("Content-Encoding") or "identity"
        if method != "HEAD" and encoding.lower() != "identity":
            raise WeightsError(
                f"{self.where} sent {encoding!r:.40} though plain bytes were asked for: use another"
            )
        if method != "HEAD":
            most = HUB_LISTING_BYTES if self.is_listing(url) else HUB_FILE_BYTES
            if _seconds(headers.get("Content-Length")) > most.value:
                raise self._too_much(most)

    def passed(self, chunk: bytes, sent: int, listing: bool) -> None:
        """Count bytes that came. sent: of this answer. Raises WeightsError for too many."""
        self.check_given_up()
        self.bytes += len(chunk)
        if listing:
            self.listing_bytes += len(chunk)
        most, count = (HUB_LISTING_BYTES, self.listing_bytes) if listing else (HUB_FILE_BYTES, sent)
        if count > most.value:
            raise self._too_much(most)

    def listed(self, body: bytes) -> None:
        """Look at a listing's names. Raises WeightsError for one that is no plain path or version."""
        self.unanswered = False
        try:
            pending = [json.loads(body)]
        except (ValueError, RecursionError):
            raise WeightsError(f"{self.where} sent a listing that is no JSON: use another") from None
        while pending:
            found = pending.pop()
            if isinstance(found, list):
                pending += found
            elif isinstance(found, dict):
                pending += [value for value in found.values() if isinstance(value, dict | list)]
                for key in NAMES:
                    if key in found and not _is_path(found[key]):
                        raise self._odd("file name", found[key])
                for key in VERSIONS:
                    value = found.get(key)
                    if value is not None and not (isinstance(value, str) and HEXADECIMAL.fullmatch(value)):
                        raise self._odd(key, value)

    def check_given_up(self) -> None:
        """Raises WeightsError in a thread that nobody waits for any more."""
        if self.given_up:
            raise WeightsError(f"{self.where} was given up")

    def _odd(self, what: str, arrived: object) -> WeightsError:
        return WeightsError(
            f"{self.where} gave {arrived!r:.80} as its {what}, which may name a file outside the cache: "
            "it was not used; use another Hub (HF_ENDPOINT)"
        )

    def _too_much(self, most: Limit) -> WeightsError:
        return WeightsError(
            f"{self.where} sends more than {most.value:.15g} {most.unit}, which no model needs; {most.remedy}"
        )


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
    _install()
    watch, ended = Watch(where), threading.Event()
    outcome: list[tuple[Any, BaseException | None]] = []

    def work() -> None:
        _current.watch = watch
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


def _seconds(text: str | None) -> float:
    """A header's number, 0 where there is none."""
    return float(text[:20]) if text is not None and text.strip().isdecimal() else 0.0


def _is_path(name: object) -> bool:
    """Whether a repository's file stays in its folder whatever system it is joined on."""
    if not isinstance(name, str) or not name or len(name) > 1000 or re.search(r"[\\:\x00-\x1f]", name):
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def _install() -> None:
    """Have the library's HTTP client show its answers to the thread's watch; where there is none it is as it
    was.
    """
    global _installed
    with _installing:
        if _installed:
            return
        import huggingface_hub
        from huggingface_hub.utils import _http

        # The one before it, which somebody may have set, is in no public place.
        if hasattr(huggingface_hub, "set_client_factory"):
            before = getattr(_http, "_GLOBAL_CLIENT_FACTORY", None) or _http.default_client_factory
            huggingface_hub.set_client_factory(lambda: _with_hooks(before()))
        else:
            older: Any = _http
            session = older._GLOBAL_BACKEND_FACTORY
            older.configure_http_backend(lambda: _with_session_hook(session()))
        _installed = True


def _with_hooks(client: Any) -> Any:
    """An httpx client (of whatever name its package has) whose answers are looked at."""
    stream_class = sys.modules[type(client).__module__.partition(".")[0]].SyncByteStream

    class Counted(stream_class):  # type: ignore[misc, valid-type]
        def __init__(self, stream: Any, watch: Watch, listing: bool) -> None:
            self.stream, self.watch, self.listing = stream, watch, listing

        def __iter__(self) -> Iterator[bytes]:
            sent = 0
            for chunk in self.stream:
                sent += len(chunk)
                self.watch.passed(chunk, sent, self.listing)
                yield chunk

        def close(self) -> None:
            self.stream.close()

    def ask(request: Any) -> None:
        watch: Watch | None = getattr(_current, "watch", None)
        if watch is not None:
            watch.question(request.method, str(request.url))
            request.headers["Accept-Encoding"] = "identity"

    def look(response: Any) -> None:
        watch: Watch | None = getattr(_current, "watch", None)
        if watch is None:
            return
        method, url = response.request.method, str(response.request.url)
        watch.answer(method, url, response.status_code, response.headers)
        listing = watch.is_listing(url)
        response.stream = Counted(response.stream, watch, listing)
        if listing and response.status_code == 200:
            watch.listed(response.read())

    hooks = client.event_hooks
    client.event_hooks = {
        "request": [*hooks.get("request", []), ask],
        "response": [look, *hooks.get("response", [])],
    }
    return client


def _with_session_hook(session: Any) -> Any:
    """A requests session, which huggingface_hub before 1.0 uses, whose answers are looked at."""

    class Counted:
        def __init__(self, raw: Any, watch: Watch, listing: bool) -> None:
            self._raw, self._watch, self._listing, self._sent = raw, watch, listing, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._raw, name)

        def stream(self, amount: int, decode_content: bool | None = None) -> Iterator[bytes]:
            # In small parts, so that what trickles is seen.
            while chunk := self._raw.read(min(amount, SMALL_READ), decode_content=decode_content):
                self._sent += len(chunk)
                self._watch.passed(chunk, self._sent, self._listing)
                yield chunk

    def look(response: Any, **_: Any) -> None:
        watch: Watch | None = getattr(_current, "watch", None)
        if watch is None:
            return
        method, url = response.request.method, response.request.url
        watch.answer(method, url, response.status_code, response.headers)
        listing = watch.is_listing(url)
        response.raw = Counted(response.raw, watch, listing)
        if listing and response.status_code == 200:
            watch.listed(response.content)

    before = session.prepare_request

    def prepare(request: Any) -> Any:
        prepared = before(request)
        watch: Watch | None = getattr(_current, "watch", None)
        if watch is not None:
            watch.question(prepared.method, prepared.url)
            prepared.headers["Accept-Encoding"] = "identity"
        return prepared

    session.prepare_request = prepare
    session.hooks["response"].insert(0, look)
    return session
