"""What a Hub may answer: how much it may send, how often, and which names it may give files.

huggingface_hub joins an ETag and a commit, as a server sends them, into paths of its cache, and reads
whatever comes.
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from ..errors import WeightsError
from ..limits import HUB_FILE_BYTES, HUB_LISTING_BYTES, Limit

HEXADECIMAL = re.compile(r"[0-9a-fA-F]{7,128}")
ETAG = re.compile(r'(?:W/)?"?([0-9a-fA-F]{7,128})"?')
# Names of a listing, and what says which version of a file it is.
NAMES, VERSIONS = ("path", "rfilename"), ("oid", "sha", "sha256", "blobId", "xetHash")
MOST_ANSWERS = 500


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
        self.asked_to_wait_s = _number(headers.get("Retry-After")) if status in (408, 429, 503) else 0.0
        commit = headers.get("X-Repo-Commit")
        if commit is not None and not HEXADECIMAL.fullmatch(commit):
            raise self._odd("commit", commit)
        if method == "HEAD":
            self._check_version(status, headers)
        else:
            self._check_body(HUB_LISTING_BYTES if self.is_listing(url) else HUB_FILE_BYTES, headers)

    def _check_version(self, status: int, headers: Any) -> None:
        """Raises WeightsError where what names a file of the cache is no plain version."""
        elsewhere = 300 <= status < 400 and not urlsplit(headers.get("Location") or "").netloc
        version = headers.get("X-Linked-Etag") or headers.get("ETag")
        used = status < 400 and not elsewhere and bool(version)
        if used and not ETAG.fullmatch(version):
            raise self._odd("ETag", version)

    def _check_body(self, most: Limit, headers: Any) -> None:
        """Raises WeightsError for a body that is packed, or that is said to be larger than `most`."""
        encoding = headers.get("Content-Encoding") or "identity"
        if encoding.lower() != "identity":
            raise WeightsError(
                f"{self.where} sent {encoding!r:.40} though plain bytes were asked for: use another"
            )
        if _number(headers.get("Content-Length")) > most.value:
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
                self._check_entry(found)

    def _check_entry(self, entry: dict[str, Any]) -> None:
        """Raises WeightsError for a name in an object of a listing that is no plain path or version."""
        for key in NAMES:
            if key in entry and not _is_path(entry[key]):
                raise self._odd("file name", entry[key])
        for key in VERSIONS:
            value = entry.get(key)
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


def _number(text: str | None) -> float:
    """A header's number, 0 where there is none."""
    return float(text[:20]) if text is not None and text.strip().isdecimal() else 0.0


def _is_path(name: object) -> bool:
    """Whether a repository's file stays in its folder whatever system it is joined on."""
    if not isinstance(name, str) or not name or len(name) > 1000 or re.search(r"[\\:\x00-\x1f]", name):
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))
