"""Clips with their tracks, for tests of the preparation and of what reads it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from made_clips import EXAMPLES, Clips, pictures_of, write_talking
from mytalk_training.dataset import prepare
from mytalk_training.dataset.shards import INDEX_NAME, ShardDataset

from mytalk_core.face.reader import load_face_reader
from mytalk_core.face.tracker import track_faces
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip

PEOPLE = 9


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Clips:
    """Two people, one clip of each, and a clip that shows one after the other; all labelled."""
    folder, tracks = tmp_path_factory.mktemp("clips"), tmp_path_factory.mktemp("tracks")
    speech = Speech.open(EXAMPLES / "speech_en.wav").mono_16k
    woman, boy = pictures_of("ai_woman", 0), pictures_of("cartoon_boy", 0)
    made = {"woman": woman, "boy": boy, "both": np.concatenate([woman, boy])}
    rows = []
    for name, pictures in made.items():
        path = folder / "train" / f"{name}.mp4"
        write_talking(path, pictures, speech[: 640 * len(pictures)])
        row = {"id": name, "file": f"train/{name}.mp4", "split": "train", "identity": name, "sync": "yes"}
        rows.append(row | {"sync_lag_ms": 80 if name == "woman" else 0})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    reader = load_face_reader()
    for name in made:
        clip = FileClip.open(folder / "train" / f"{name}.mp4")
        faces = track_faces([list(clip.pictures())], clip.times_s, reader)
        faces.choose_in_each_shot().save(tracks / f"{name}.safetensors")
    return Clips(folder, tracks)


@pytest.fixture(scope="session")
def dataset(clips, tmp_path_factory):
    """The examples' clips, prepared with crops, under the names of so many people that one is held out."""
    folder = tmp_path_factory.mktemp("dataset")
    options = ["--tracks", str(clips.tracks), "--min-seconds", "1", "--device", "cpu"]
    prepare.main([str(clips.folder), "-o", str(folder), *options])
    rows = ShardDataset.open(folder).samples
    named = [rows[n % len(rows)] | {"key": f"clip{n}", "identity": f"person {n}"} for n in range(PEOPLE)]
    (folder / INDEX_NAME).write_text("".join(json.dumps(row) + "\n" for row in named))
    return folder
