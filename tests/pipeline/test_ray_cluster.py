"""The same batch on a Ray cluster of two nodes, both on this machine."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
from repository import EXAMPLES

from mytalk_core.cli.main import main
from mytalk_core.media.remux import copy_untagged

ray = pytest.importorskip("ray", reason="Ray is not installed: python -m pip install 'mytalk[ray]'")


@pytest.fixture
def cluster(monkeypatch):
    from ray.cluster_utils import Cluster

    # Its workers are nice to all else, which on a busy machine is minutes.
    monkeypatch.setenv("RAY_worker_niceness", "0")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_two_nodes(cluster, tmp_path, capsys):
    copy_untagged(EXAMPLES / "ai_woman.mp4", tmp_path / "a.mp4", 0.12)
    shutil.copy(EXAMPLES / "speech_en.wav", tmp_path / "s.wav")
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with (tmp_path / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["video", "speech", "output"])
        rows.writerows(["bad.mp4" if n == 2 else "a.mp4", "s.wav", f"{n}.mp4"] for n in range(6))
    line = ["batch", str(tmp_path / "list.csv"), "-o", str(tmp_path / "out"), "--engine", "ray"]
    assert main(line) == 1
    said = capsys.readouterr()
    assert "5 made, 0 were there, 1 failed" in said.out and "line 4: a video file was required" in said.out
    made = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mp4")}
    assert sorted(made) == ["0.mp4", "1.mp4", "3.mp4", "4.mp4", "5.mp4"]
    places = {json.loads(path.read_text()).get("worker") for path in (tmp_path / "out").glob("*.json")}
    assert len(places - {None}) == 2, "one node did it all"
    assert main(line) == 1
    assert "0 made, 5 were there, 1 failed" in capsys.readouterr().out
    assert made == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.mp4")}
