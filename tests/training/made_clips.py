"""Small talking clips made from the examples, for tests of the preparation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from repository import EXAMPLES

from mytalk_core.media.file_clip import FileClip

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
    clip = FileClip.open(EXAMPLES / f"{name}.mp4")
    frames = np.concatenate(list(clip.frames(start, start + SHOT_FRAMES)))
    return np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in frames])
