"""The library's HTTP client, whose questions and answers are shown to the `Watch` of the thread that asks.

Where a thread has none the client is as it was.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

from .hub_answers import Watch

SMALL_READ = 1 << 12  # bytes

_current = threading.local()
_installing = threading.Lock()
_installed = False


def watch_this_thread(watch: Watch) -> None:
    """Show what the library asks and is answered on this thread to a watch, from now on; see `install`."""
    _current.watch = watch


def _watch() -> Watch | None:
    return getattr(_current, "watch", None)


def install() -> None:
    """Have the library make clients that are watched, once; it is imported for that, which takes a moment."""
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
            older.configure_http_backend(lambda: _with_session_hooks(session()))
        _installed = True


def _note_question(request: Any) -> None:
    """Tell the watch of a request, which asks for plain bytes."""
    watch = _watch()
    if watch is not None:
        watch.question(request.method, str(request.url))
        request.headers["Accept-Encoding"] = "identity"


def _check_head(watch: Watch, response: Any) -> bool:
    """Show the watch an answer's head; whether it is the one of a listing."""
    url = str(response.request.url)
    watch.answer(response.request.method, url, response.status_code, response.headers)
    return watch.is_listing(url)


def _with_hooks(client: Any) -> Any:
    """An httpx client (of whatever name its package has) that is watched."""
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

    def look(response: Any) -> None:
        watch = _watch()
        if watch is None:
            return
        listing = _check_head(watch, response)
        response.stream = Counted(response.stream, watch, listing)
        if listing and response.status_code == 200:
            watch.listed(response.read())

    hooks = client.event_hooks
    client.event_hooks = {
        "request": [*hooks.get("request", []), _note_question],
        "response": [look, *hooks.get("response", [])],
    }
    return client


def _with_session_hooks(session: Any) -> Any:
    """A requests session, which huggingface_hub before 1.0 uses, that is watched."""

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
        watch = _watch()
        if watch is None:
            return
        listing = _check_head(watch, response)
        response.raw = Counted(response.raw, watch, listing)
        if listing and response.status_code == 200:
            watch.listed(response.content)

    prepare = session.prepare_request

    def prepare_and_note(request: Any) -> Any:
        prepared = prepare(request)
        _note_question(prepared)
        return prepared

    session.prepare_request = prepare_and_note
    session.hooks["response"].insert(0, look)
    return session
