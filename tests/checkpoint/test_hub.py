"""Weights from a Hub, spoken to over HTTP on this machine: the same protocol, none of the internet."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import huggingface_hub.utils
import pytest
import torch
from hub_server import COMMITS, SLEEP, stop

from mytalk_core.appearance.renderers import load_renderer
from mytalk_core.checkpoint import hub, hub_watch
from mytalk_core.errors import WeightsError
from mytalk_core.motion.identity import IdentityConfig, IdentityExtractor

# Before 1.0 the library keeps what a broken transfer brought for the next call, where a newer one goes on at
# once; and it does not wait as long as a Hub asks for.
OLDER = not hasattr(huggingface_hub, "set_client_factory")
SMALL = IdentityConfig(channels=10, landmark_layout="mesh478", width=64, hidden_layers=1, embedding=8)


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
    downloads = [path for method, path, _ in server.log if method == "GET" and "/resolve/" in path]
    assert len(downloads) == len(set(downloads)) == 2


def test_broken_transfer_is_resumed(server, model, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    server.break_after = 3000
    if OLDER:
        with pytest.raises(WeightsError, match="broke off .*; run it again"):
            load(revision="main")
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


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_what_the_hub_answered_is_said(server, model, status):
    server.status = status
    said = rf"refused it \({status}\): set HF_TOKEN" if status < 404 else f"answered {status}, and"
    for fetch in (load, lambda: hub.download_all("someone/lips")):
        with pytest.raises(WeightsError, match=said):
            fetch()


def test_a_part_that_a_failing_hub_does_not_give_is_not_taken_for_none(server, model):
    assert load_renderer("auto", "hub:someone/lips").name == "warp"
    server.status = 503
    with pytest.raises(WeightsError, match="answered 503"):
        load_renderer("auto", "hub:someone/voice")


def test_what_is_not_there_is_not_asked_for_again_and_again(server, model, monkeypatch):
    load()
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:7")
    assert same(load(), model)
    with pytest.raises(FileNotFoundError, match="cannot reach"):
        hub.download("someone/lips", ("config.json",), "lips")
    assert waits == []


def test_a_file_that_the_hub_has_not_is_missed_without_a_connection_too(server, model, monkeypatch):
    for endpoint in (server.url, "http://127.0.0.1:9"):
        monkeypatch.setenv("HF_ENDPOINT", endpoint)
        with pytest.raises(FileNotFoundError, match=r"no file lips/config.json in someone/lips on"):
            hub.download("someone/lips", ("config.json",), "lips")


def test_a_folder_that_cannot_be_written(server, model, tmp_path):
    (tmp_path / "here").touch()
    with pytest.raises(
        WeightsError, match="identity/config.json|all files.* cannot be kept here .*make room"
    ):
        hub.download_all("someone/lips", folder=tmp_path / "here")


def test_another_model_in_the_folder_is_not_the_one_asked_for(server, model, tmp_path, monkeypatch):
    hub.download_all("someone/lips", folder=tmp_path / "here")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(FileNotFoundError, match="cannot reach http://127"):
        hub.download_all("someone/voice", folder=tmp_path / "here")


def test_a_file_that_another_process_fetches_is_waited_for(server, model, tmp_path, monkeypatch):
    monkeypatch.setenv("MYTALK_HUB_TIMEOUT", "2")
    monkeypatch.setattr(hub_watch, "FIRST_ANSWER_SHARE", 1)
    monkeypatch.setattr(time, "sleep", SLEEP)
    content = server.files[("someone/lips", "main", "identity/model.safetensors")]
    locks = tmp_path / "cache" / ".locks" / "models--someone--lips"
    locks.mkdir(parents=True)
    lock = huggingface_hub.utils.WeakFileLock(locks / f"{hashlib.sha256(content).hexdigest()}.lock")
    with ThreadPoolExecutor() as threads:
        with lock:
            loading = threads.submit(load)
            with pytest.raises(FutureTimeout):
                loading.result(4)
        assert same(loading.result(), model)


def test_revision_is_followed_and_both_files_come_from_it(server, model, tmp_path):
    other = IdentityExtractor(SMALL)
    server.publish("someone/lips", other.save_pretrained(tmp_path / "v2"), "v2", "identity/")
    assert same(load(revision="v2"), other)
    assert same(load(), model)
    assert any(f"/resolve/{COMMITS['v2']}/identity/model.safetensors" in path for _, path, _ in server.log)


def test_wrong_hash(server, model):
    key = ("someone/lips", "main", "identity/model.safetensors")
    server.files[key] = server.files[key][:-1] + b"\x01"
    with pytest.raises(WeightsError, match=r"sha256 .* delete .* and download"):
        load()


@pytest.mark.parametrize("part", ["config.json", "model.safetensors"])
def test_the_advice_on_a_damaged_file_in_the_cache_mends_it(server, model, part):
    load()
    (kept,) = hub.download_all("someone/lips").glob(f"identity/{part}")
    whole = kept.read_bytes()
    kept.write_bytes(b"<" * len(whole))
    with pytest.raises(WeightsError, match=r"delete \S+ and download") as told:
        load()
    Path(re.search(r"delete (\S+) and", str(told.value))[1]).unlink()
    assert same(load(), model)


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


def test_a_repository_that_holds_no_model(server, model):
    server.listed = ["motion/weights.bin"]
    with pytest.raises(WeightsError, match=r"^someone/lips on http://\S+ has none of \*.safetensors"):
        hub.download_all("someone/lips")


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


def everything_in(folder) -> set[str]:
    return {path.name for path in folder.rglob("*")}


@pytest.mark.parametrize("header", ["ETag", "X-Repo-Commit"])
@pytest.mark.parametrize("value", ["/tmp/evil", "../../../../evil", '"../evil"', 'W/"a/../b"', "main"])
def test_crafted_names_create_no_file(server, model, tmp_path, header, value):
    server.crafted[header] = value.replace("/tmp", str(tmp_path))
    before = everything_in(tmp_path)
    with pytest.raises(WeightsError, match=r"gave .* as its (ETag|commit), which may name a file outside"):
        load()
    with pytest.raises(WeightsError, match="as its"):
        hub.download_all("someone/lips", folder=tmp_path / "here")
    new = everything_in(tmp_path) - before
    assert not [name for name in new if "evil" in name or name in ("a", "b", "blobs", "snapshots")]


@pytest.mark.parametrize(
    "name", ["../evil.safetensors", "/tmp/evil.safetensors", "a//config.json", "a\\b.safetensors"]
)
def test_crafted_listings_create_no_file(server, model, tmp_path, name):
    server.listed = ["identity/config.json", name]
    with pytest.raises(WeightsError, match="as its file name, which may name a file outside"):
        hub.download_all("someone/lips", folder=tmp_path / "here")
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("prefix", ["/artifactory/api/huggingface/ours", "/api/hub"])
def test_a_mirror_under_a_path(server, model, tmp_path, monkeypatch, prefix):
    server.prefix = prefix
    monkeypatch.setenv("HF_ENDPOINT", f"{server.url}{prefix}/")
    monkeypatch.setenv("MYTALK_HUB_MAX_LISTING", "1000")
    assert same(load(), model)
    server.listed = ["../evil.safetensors"]
    with pytest.raises(WeightsError, match="as its file name"):
        hub.download_all("someone/lips", folder=tmp_path / "here")


def test_a_listing_without_end(server, model, tmp_path):
    server.listed = [f"identity/part-{number:08d}.safetensors" for number in range(300_000)]
    with pytest.raises(WeightsError, match="sends more than 4000000 bytes.*MYTALK_HUB_MAX_LISTING"):
        hub.download_all("someone/lips", folder=tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_a_file_without_end(server, model, monkeypatch):
    monkeypatch.setenv("MYTALK_HUB_MAX_BYTES", "2000")
    with pytest.raises(WeightsError, match="sends more than 2000 bytes.*MYTALK_HUB_MAX_BYTES"):
        load()


@pytest.fixture
def silent_hub(monkeypatch) -> str:
    """The address of a Hub that takes connections and never answers, which is told after two seconds."""
    monkeypatch.setenv("MYTALK_HUB_TIMEOUT", "8")
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_hub_that_says_nothing_is_left_within_seconds(silent_hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", silent_hub)
    started = time.monotonic()
    with pytest.raises(FileNotFoundError, match="cannot reach .* is not in the cache"):
        load()
    assert time.monotonic() - started < 6


def test_the_cache_does_where_the_hub_says_nothing(server, model, silent_hub, monkeypatch):
    load()
    monkeypatch.setenv("HF_ENDPOINT", silent_hub)
    started = time.monotonic()
    # Two files, of which the first alone is waited for.
    assert same(load(), model)
    assert time.monotonic() - started < 4
    assert hub.download_all("someone/lips").name == COMMITS["main"]


@pytest.mark.parametrize(
    "head, kind, said",
    [
        (False, WeightsError, "less than 1 kB a second over 12 s.*MYTALK_HUB_TIMEOUT"),
        (True, FileNotFoundError, "cannot reach"),
    ],
)
def test_a_hub_that_trickles(server, model, tmp_path, monkeypatch, head, kind, said):
    monkeypatch.setenv("MYTALK_HUB_TIMEOUT", "12")
    server.trickle_s, server.trickle_head = 0.5, head
    started = time.monotonic()
    with pytest.raises(kind, match=said):
        load()
    assert time.monotonic() - started < 40
    assert len([*tmp_path.rglob("*.incomplete")]) == (OLDER and not head)


@pytest.mark.parametrize("seconds", [100_000, 10**15])
def test_a_hub_that_asks_to_wait(server, model, monkeypatch, seconds):
    monkeypatch.setattr(time, "sleep", SLEEP)
    server.asks_to_wait_s = seconds
    said = f"asks to come back in {seconds} s: try again then"
    if OLDER:
        said = "answered 503, and .*: try again later"
    for _ in range(2):
        with pytest.raises(WeightsError, match=said):
            load()


def test_the_cache_needs_no_waiting(server, model):
    load()
    server.asks_to_wait_s = 100_000
    assert same(load(), model)


def test_whole_models_come_from_one_commit_and_are_there_offline(server, model, tmp_path):
    folder = hub.download_all("someone/lips")
    assert folder.name == COMMITS["main"] and (folder / "identity" / "model.safetensors").is_file()
    assert hub.download_all("someone/lips", folder=tmp_path / "here") == tmp_path / "here"
    assert same(load(str(tmp_path / "here")), model)
    stop(server)
    assert hub.download_all("someone/lips") == folder
    assert same(load(), model)


@pytest.mark.parametrize("version", [{"a": 1}, [1], None, "1", 1.5])
def test_odd_format_versions(server, model, version):
    key = ("someone/lips", "main", "identity/config.json")
    description = json.loads(server.files[key])
    server.files[key] = json.dumps({**description, "format_version": version}).encode()
    with pytest.raises(WeightsError, match=r"format version .* this mytalk reads"):
        load()
