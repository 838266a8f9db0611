"""What the paper's appearance generator is trained on: a frame, and references from elsewhere in its clip.

References are drawn at random from the clip, as the paper does, but from so far away in time that none shows
the frame's own mouth, which new speech would not have either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from mytalk_core.appearance.networks.generator import AppearanceConfig
from mytalk_core.appearance.networks.generator_inputs import generator_inputs
from mytalk_core.appearance.networks.picture_tensors import to_tensor
from mytalk_core.appearance.references.references import APART_S, References, resized
from mytalk_core.appearance.square.raster import triangulate
from mytalk_core.face.layout import LandmarkLayout

from ..dataset.shards import ShardDataset
from ..loop.order import DATA, SampleRandom
from .augment import draw_change

# Crops further apart in time than this are not neighbours.
NEIGHBOUR_S = 0.11


@dataclass(frozen=True)
class PictureClip:
    """A sample of a prepared dataset: its row of the index, the frames (C,) that have a crop, and their times
    (C,); starts: positions among these from which a window can be drawn."""

    row: dict[str, Any]
    frames: np.ndarray
    times_s: np.ndarray
    starts: np.ndarray

    @property
    def identity(self) -> str:
        """Who is seen."""
        return self.row["identity"]


@dataclass(frozen=True)
class GeneratorBatch:
    """B windows of F neighbouring frames with K references each, pictures in [-1,1].

    references (B,F,K,3,S,S); non_lip, landmark_image and truth (B,F,3,S,S); mask (B,F,S,S) in 0..1, how new
    each pixel is.
    """

    references: Tensor
    non_lip: Tensor
    landmark_image: Tensor
    mask: Tensor
    truth: Tensor

    def to(self, device: torch.device | str) -> GeneratorBatch:
        """The batch on a device."""
        return GeneratorBatch(*(part.to(device) for part in vars(self).values()))


def read_picture_clips(shards: ShardDataset, references: int, window: int = 1) -> list[PictureClip]:
    """The clips of a dataset from which `window` neighbouring frames and `references` apart can be drawn.

    Raises ValueError, saying what is missing, if there is none.
    """
    clips = [_picture_clip(shards, row, references, window) for row in shards.samples]
    usable = [clip for clip in clips if len(clip.starts)]
    if usable:
        return usable
    if not any(len(clip.frames) for clip in clips):
        raise ValueError(f"{shards.folder} holds no crops: run mytalk prepare without --no-crops")
    raise ValueError(
        f"no clip of {shards.folder} has {window} neighbouring crops with {references} more at least "
        f"{APART_S} s away: take longer clips, or a smaller --crop-every in mytalk prepare"
    )


def _picture_clip(shards: ShardDataset, row: dict[str, Any], references: int, window: int) -> PictureClip:
    frames = np.sort(shards.crop_frames(row))
    times_s = shards.tensors(row, "track.safetensors")["times_s"][frames]
    begin = np.arange(max(0, len(frames) - window + 1))
    end = begin + window - 1
    before = np.searchsorted(times_s, times_s[begin] - APART_S, side="left")
    after = len(times_s) - np.searchsorted(times_s, times_s[end] + APART_S, side="right")
    near = times_s[end] - times_s[begin] <= NEIGHBOUR_S * (window - 1) + 1e-6
    return PictureClip(row, frames, times_s, begin[(before + after >= references) & near])


class GeneratorData:
    """Windows of frames with their references, decoded and varied where and when they are drawn.

    config: whose inputs are made; window: F, neighbouring frames; vary: change position, colour and
    quality, and the mouth that is masked.
    """

    def __init__(
        self,
        shards: ShardDataset,
        clips: list[PictureClip],
        config: AppearanceConfig,
        seed: int,
        window: int = 1,
        vary: bool = True,
    ) -> None:
        self.shards, self.clips, self.config = shards, clips, config
        self.seed, self.window, self.vary = seed, window, vary
        self.layout = LandmarkLayout.load(config.landmark_layout)
        self.triangulation = triangulate(self.layout)
        self.reach = torch.tensor([len(clip.starts) for clip in clips]).sqrt().cumsum(0)
        for name in {clip.row["layout"] for clip in clips} - {self.layout.name, self.layout.source}:
            raise ValueError(f"clips are in layout {name}, from which {self.layout.name} cannot be made")

    def draw(self, samples: list[int]) -> GeneratorBatch:
        """The windows of these sample numbers; clips are drawn by the square root of their length."""
        if get_worker_info() is not None:
            # Workers are as many as cores: threads of OpenCV's own would be in each other's way.
            cv2.setNumThreads(1)
        rows = [self._draw(generator) for generator in SampleRandom(self.seed, DATA, samples).generators]
        return GeneratorBatch(*(torch.stack(part) for part in zip(*rows, strict=True)))

    def _draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        share = torch.rand((), generator=generator) * self.reach[-1]
        clip = self.clips[min(int(torch.searchsorted(self.reach, share, right=True)), len(self.clips) - 1)]
        start = clip.starts[int(torch.randint(len(clip.starts), (), generator=generator))]
        stop = start + self.window
        low, high = clip.times_s[start] - APART_S, clip.times_s[stop - 1] + APART_S
        apart = np.flatnonzero((clip.times_s < low) | (clip.times_s > high))
        count = self.config.reference_count
        chosen = apart[torch.randperm(len(apart), generator=generator)[:count].numpy()]
        other = int(torch.randint(len(clip.frames), (), generator=generator))
        crops, landmarks = self._read(clip, [*range(start, stop), *chosen, other], generator)
        # In use the masked mouth is the source's as well, which is another than the wanted one.
        another = self.vary and torch.rand((), generator=generator) < 0.5
        frames = [
            self._frame(crops, landmarks, number, landmarks[-1] if another else landmarks[number])
            for number in range(self.window)
        ]
        return tuple(torch.stack(part) for part in zip(*frames, strict=True))

    def _read(
        self, clip: PictureClip, positions: list[int], generator: torch.Generator
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Crops of all positions but the last, and landmarks (P,N,2) of all, varied alike."""
        frames = clip.frames[positions]
        tensors = self.shards.tensors(clip.row, "track.safetensors")
        landmarks = tensors["landmarks"][frames].astype(np.float32)
        if clip.row["layout"] != self.layout.name:
            landmarks = self.layout.from_source(landmarks)
        crops = [self.shards.crop(clip.row, int(frame)) for frame in frames[:-1]]
        if not self.vary:
            return crops, landmarks
        change = draw_change(generator)
        crops = [change.picture(crop) for crop in crops]
        return crops, change.points(landmarks, self.layout)

    def _frame(
        self, crops: list[np.ndarray], landmarks: np.ndarray, number: int, source: np.ndarray
    ) -> tuple[Tensor, ...]:
        """One frame's part of a batch; source: the landmarks (N,2) whose mouth is masked beside its own."""
        config, count = self.config, self.config.reference_count
        chosen = slice(self.window, self.window + count)
        zeros = np.zeros(count, np.int64)
        references = References(
            np.stack(crops[chosen]), landmarks[chosen], zeros, np.ones(count, np.float32), zeros
        )
        inputs = generator_inputs(
            config,
            crops[number],
            source,
            landmarks[number],
            references,
            np.arange(count),
            self.triangulation,
        )
        truth = to_tensor(resized(crops[number], config.size))
        return inputs.references, inputs.non_lip, inputs.landmark_image, inputs.mask, truth
