"""Weights from a Hub, spoken to over HTTP on this machine: the same protocol, none of the internet."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
import time

import huggingface_hub.constants
import pytest
import torch

from mytalk_core import hub
from mytalk_core.errors import WeightsError
from mytalk_core.motion.identity import IdentityConfig, IdentityExtractor

COMMITS = {"main": "a" * 40, "v2": "b" * 40}
SMALL = IdentityConfig(channels=10, landmark_layout="mesh478", width=64, hidden_layers=1, embedding=8)


class Hub(http.server.ThreadingHTTPServer):
    """Serves `files` {(repository, revision, path): bytes} by the Hub's /resolve/ URLs."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.gated: set[str] = set()
        self.break_after: int | None = None
        self.failing = False
        self.log: list[tuple[str, str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def publish(self, repository: str, folder, revision: str = "main", subfolder: str = "") -> None:
        for path in folder.iterdir():
            self.files[(repository, revision, f"{subfolder}{path.name}")] = path.read_bytes()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _find(self) -> tuple[str, bytes] | None:
        """(commit, content) of the file asked for, None once an error has been sent."""
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self.path)
        repository, revision, path = match.groups()
        if self.server.failing:
            return self._refuse(500, "Internal")
        if repository in self.server.gated:
            return self._refuse(401, "GatedRepo")
        if not any(key[0] == repository for key in self.server.files):
            return self._refuse(404, "RepoNotFound")
        names = {commit: name for name, commit in COMMITS.items()}
        revision = names.get(revision, revision)
        if not any(key[:2] == (repository, revision) for key in self.server.files):
            return self._refuse(404, "RevisionNotFound")
        content = self.server.files.get((repository, revision, path))
        return (COMMITS[revision], content) if content is not None else self._refuse(404, "EntryNotFound")

    def _answer(self, with_body: bool) -> None:
        self.server.log.append((self.command, self.path, self.headers.get("Range")))
        found = self._find()
        if found is None:
            return
        commit, content = found
        start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range") or "bytes=0-").group(1))
        self.send_response(206 if start else 200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", commit)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if not with_body:
            return
        body = content[start:]
        if self.server.break_after is not None and len(body) > self.server.break_after:
            body, self.server.break_after = body[: self.server.break_after], None
            self.close_connection = True
        self.wfile.write(body)

    def do_HEAD(self):  # noqa: N802
        self._answer(with_body=False)

    def do_GET(self):  # noqa: N802
        self._answer(with_body=True)


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    # The library waits between its retries; the tests need not.
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    yield server
    stop(server)


def stop(server: Hub) -> None:
    server.shutdown()
    server.server_close()


@pytest.fixture
def model(tmp_path, server) -> IdentityExtractor:
    torch.manual_seed(0)
    model = IdentityExtractor(SMALL)
    server.publish("someone/lips", model.save_pretrained(tmp_path / "saved"), subfolder="identity/")
    return model


def load(source: str = "someone/lips", **arguments) -> IdentityExtractor:
    return IdentityExtractor.from_pretrained(source, subfolder="identity", **arguments)


def same(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_fresh_download(server, model):
    assert same(load(), model)
    assert same(load("hub:someone/lips"), model)
    downloads = [path for method, path, _ in server.log if method == "GET"]
    assert len(downloads) == len(set(downloads)) == 2


def test_broken_transfer_is_resumed(server, model, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    server.break_after = 3000
    load(revision="main")
    resumed = [byte_range for method, path, byte_range in server.log if method == "GET" and byte_range]
    assert resumed == ["bytes=3000-"]
    assert same(load(), model)


def test_offline_after_download(server, model):
    load()
    stop(server)
    assert same(load(), model)


def test_server_error_uses_the_cache(server, model):
    load()
    server.failing = True
    assert same(load(), model)


def test_server_down_and_nothing_cached(server, model):
    stop(server)
    with pytest.raises(FileNotFoundError, match=r"cannot reach http://127.* is not in the cache"):
        load()


def test_revision_is_followed_and_both_files_come_from_it(server, model, tmp_path):
    other = IdentityExtractor(SMALL)
    server.publish("someone/lips", other.save_pretrained(tmp_path / "v2"), "v2", "identity/")
    assert same(load(revision="v2"), other)
    assert same(load(), model)
    assert any(f"/resolve/{COMMITS['v2']}/identity/model.safetensors" in path for _, path, _ in server.log)


def test_wrong_hash(server, model):
    key = ("someone/lips", "main", "identity/model.safetensors")
    server.files[key] = server.files[key][:-1] + b"\x01"
    with pytest.raises(WeightsError, match=r"sha256 .* delete it and download"):
        load()


def test_wrong_version(server, model):
    key = ("someone/lips", "main", "identity/config.json")
    description = json.loads(server.files[key])
    server.files[key] = json.dumps({**description, "format_version": 9}).encode()
    with pytest.raises(WeightsError, match=r"format version 9.* update mytalk"):
        load()


def test_missing_file_repository_and_revision(server, model):
    with pytest.raises(FileNotFoundError, match=r"no such revision: someone/lips at revision v7"):
        load(revision="v7")
    with pytest.raises(FileNotFoundError, match=r"no repository someone/nothing on http"):
        load("someone/nothing")
    del server.files[("someone/lips", "main", "identity/model.safetensors")]
    with pytest.raises(FileNotFoundError, match=r"no file identity/model.safetensors in someone/lips"):
        load()


def test_gated_repository(server, model):
    server.gated.add("someone/lips")
    with pytest.raises(
        WeightsError, match=r"is gated: accept its terms at .*/someone/lips, then set HF_TOKEN"
    ):
        load()


def test_names_that_are_no_repository():
    assert hub.is_repository("owner/name-1.2")
    assert not any(map(hub.is_repository, ("name", "a/b/c", "../x", "./a/b", "a/ b", "")))
    with pytest.raises(FileNotFoundError, match="form OWNER/NAME"):
        load("hub:lips")
