"""The program that trains the head for songs: which clips it learns from."""

from __future__ import annotations

import json

import pytest
from mytalk_training.speech.train_singing import read_manifest


def test_a_row_may_say_no_more_than_prepare_needs(tmp_path):
    path = tmp_path / "manifest.jsonl"
    rows = [
        {"file": "train/one.mp4", "sync": "yes"},
        {"file": "two.mp4", "id": "meme_2", "split": "train"},
        {"file": "three.mp4", "split": "val", "sync": "yes"},
        {"file": "four.mp4"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    songs, spoken = read_manifest(path, ("meme",))
    assert [row["id"] for row in songs] == ["meme_2"] and [row["id"] for row in spoken] == ["one"]
    path.write_text(json.dumps(rows[3]) + "\n")
    with pytest.raises(ValueError, match="whose `sync` is yes were required; there are none"):
        read_manifest(path, ("meme",))
