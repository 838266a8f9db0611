"""Small crops of many people's frames, and what the paper's generator reads of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from mytalk_core.appearance.generator import AppearanceConfig
from mytalk_core.appearance.inputs import generator_inputs, to_tensor
from mytalk_core.appearance.raster import Triangulation
from mytalk_core.appearance.references import References, read_references
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.track import FaceTrack
from mytalk_core.face.tracker import load_face_reader, track_faces
from mytalk_core.media.video import Clip

# References come from at least this far away in time, as when new speech is spoken.
APART_S = 0.6
SMALLEST_FACE_PX = 110


@dataclass(frozen=True)
class Face:
    """Frames of one clip: crops (K,S,S,3) with landmarks, and their times (K,)."""

    frames: References
    times_s: np.ndarray

    def draw_references(self, row: int, count: int, generator: np.random.Generator) -> np.ndarray | None:
        """`count` rows apart in time from `row`, int (count,); None where the clip has too few."""
        apart = np.flatnonzero(np.abs(self.times_s - self.times_s[row]) > APART_S)
        return generator.choice(apart, count, replace=False) if len(apart) >= count else None


@dataclass(frozen=True)
class PictureBatch:
    """references (B,K,3,S,S), non_lip, landmark_image and truth (B,3,S,S) in [-1,1], mask (B,S,S) in 0..1."""

    references: Tensor
    non_lip: Tensor
    landmark_image: Tensor
    truth: Tensor
    mask: Tensor


def read_faces(
    manifest: Path, split: str, clips: int, size: int, count: int, tracks: Path, kept: Path
) -> list[Face]:
    """`count` frames spread over each of `clips` clips of a split, as crops of `size` px; no small faces.

    tracks: folder of face tracks, written where they are missing; kept: folder for the crops.
    """
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    rows = [row for row in rows if row["split"] == split and row["face_px"] >= SMALLEST_FACE_PX]
    rows = rows[:: max(1, len(rows) // clips)][:clips]
    return [_read_face(manifest.parent / r["file"], r["id"], size, count, tracks, kept) for r in rows]


def _read_face(video: Path, name: str, size: int, count: int, tracks: Path, kept: Path) -> Face:
    path = kept / f"{name}-{size}-{count}.safetensors"
    if not path.exists():
        clip = Clip.open(video)
        track = _read_track(clip, tracks / f"{name}.safetensors")
        present = np.flatnonzero(track.present)
        indices = np.unique(present[np.linspace(0, len(present) - 1, count).round().astype(int)])
        found = read_references(clip, track, indices, size, LandmarkLayout.load(track.layout))
        kept.mkdir(parents=True, exist_ok=True)
        save_file({**vars(found), "times_s": track.times_s[indices]}, path)
    tensors = load_file(path)
    times_s = tensors.pop("times_s")
    return Face(References(**tensors), times_s)


def _read_track(clip: Clip, path: Path) -> FaceTrack:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        track_faces(clip.frames(), clip.times_s, load_face_reader()).choose("largest").save(path)
    return FaceTrack.load(path)


def make_batch(
    config: AppearanceConfig,
    chosen: list[tuple[Face, int, np.ndarray]],
    triangulation: Triangulation,
) -> PictureBatch:
    """The generator's inputs for (face, row, rows of its references); the goal is the frame itself."""
    inputs = [
        generator_inputs(
            config,
            face.frames.crops[row],
            face.frames.landmarks[row],
            face.frames.landmarks[row],
            face.frames,
            lent,
            triangulation,
        )
        for face, row, lent in chosen
    ]
    truth = to_tensor(np.stack([face.frames.crops[row] for face, row, _ in chosen]))
    stacked = [
        torch.stack([getattr(one, name) for one in inputs])
        for name in ("references", "non_lip", "landmark_image")
    ]
    return PictureBatch(*stacked, truth, torch.stack([one.mask for one in inputs]))
