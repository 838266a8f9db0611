"""Fixtures that tests of several rooms share."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import huggingface_hub.constants
import huggingface_hub.file_download
import pytest
from hub_server import Hub, stop
from repository import EXAMPLES

from mytalk_core.checkpoint import hub_watch


@pytest.fixture
def server(tmp_path, monkeypatch):
    server = Hub()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    # The library reads the variable when it is imported; before 1.0 it knows commits of that Hub only.
    files = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    for module in (huggingface_hub.constants, huggingface_hub.file_download):
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", files, raising=False)
    monkeypatch.setattr(hub_watch, "_silent", {})
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    # Its own transport for large files speaks to its own servers; the older one is plain HTTP.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True, raising=False)
    # The library waits between its retries; the tests need not.
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    yield server
    stop(server)


@pytest.fixture
def examples() -> Path:
    """The repository's own sample files."""
    return EXAMPLES
