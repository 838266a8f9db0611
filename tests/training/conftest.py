"""Small talking clips made from the examples, and their tracks, for tests of the preparation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mytalk_core.face.tracker import load_face_reader, track_faces
from mytalk_core.media.audio import Speech
from mytalk_core.media.video import Clip

EXAMPLES = Path(__file__).parents[2] / "examples"
SHOT_FRAMES = 34
SIDE = 320


@dataclass(frozen=True)
class Clips:
    """A folder with manifest.jsonl; tracks: the clips' face tracks by key."""

    folder: Path
    tracks: Path


def write_talking(path: Path, pictures: np.ndarray, speech: np.ndarray | None) -> None:
    """An mp4 of pictures (T,H,W,3) at 25 frames a second, with speech (S,) at 16 kHz if any."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", Fraction(25), options={"crf": "18", "preset": "ultrafast"})
        video.height, video.width, video.pix_fmt = *pictures.shape[1:3], "yuv420p"
        sound = container.add_stream("aac", 16000, layout="mono") if speech is not None else None
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
        if sound is not None:
            frame = av.AudioFrame.from_ndarray(speech[None].astype(np.float32), "fltp", "mono")
            frame.sample_rate = 16000
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))


def pictures_of(name: str, start: int) -> np.ndarray:
    """SHOT_FRAMES pictures of an example from frame `start` on, uint8 (T,SIDE,SIDE,3)."""
    clip = Clip.open(EXAMPLES / f"{name}.mp4")
    frames = np.concatenate(list(clip.frames(start, start + SHOT_FRAMES)))
    return np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames])


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
        clip = Clip.open(folder / "train" / f"{name}.mp4")
        faces = track_faces(clip.frames(), clip.times_s, reader)
        faces.choose("largest").save(tracks / f"{name}.safetensors")
    return Clips(folder, tracks)
