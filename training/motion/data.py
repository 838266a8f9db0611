"""Windows of motion and speech for training the denoiser, from a dataset that dataset.prepare wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion.person import RATE_HZ, Person
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig
from mytalk_core.speech.features import SAMPLES_PER_FRAME

from ..dataset.shards import ShardDataset
from ..loop.order import DATA, SampleRandom
from .augment import change_tempo, hidden_spans, hide, vary_voice
from .kept_features import Encoder
from .teachers import Teachers

# Pauses put around some copies: in them the mouth comes to rest within about 0.2 s.
PAUSE_FRAMES, REST_TIME_CONSTANT_S = 40, 0.06
TEMPI = (1.0, 1.0, 0.9, 1.1)


@dataclass(frozen=True)
class RawClip:
    """A prepared clip.

    displacement (F,N,3) from rest, in mouth widths; present (F,) bool, where the video shows the face; rest
    (N,3) canonical units; speech (S,) at 16 kHz.
    """

    name: str
    identity: str
    layout: str
    displacement: np.ndarray
    present: np.ndarray
    rest: np.ndarray
    speech: Tensor

    @property
    def mouth_width(self) -> float:
        """See `Person.mouth_width`."""
        return Person(self.rest, self.layout).mouth_width


@dataclass(frozen=True)
class MotionClip:
    """What a window is cut from: x0 (F,D), upper (F,U), features (2F,L,Ds) float16, rest (N,2) and present
    (F,), the last on the CPU, as in `RawClip`; person: number; aim (F,D): what is to be found, x0 or what
    lies between it and the word of teachers."""

    x0: Tensor
    upper: Tensor
    features: Tensor
    rest: Tensor
    present: Tensor
    person: int
    aim: Tensor


@dataclass(frozen=True)
class MotionBatch:
    """x0 (B,F,D), upper (B,F,U), features (B,2F,L,Ds), rest (B,N,2); valid (B,F) bool: neither padding nor a
    frame without the face; aim (B,F,D), see `MotionClip`."""

    x0: Tensor
    upper: Tensor
    features: Tensor
    rest: Tensor
    valid: Tensor
    aim: Tensor

    def to(self, device: torch.device | str) -> MotionBatch:
        """The batch on a device."""
        return MotionBatch(*(part.to(device) for part in vars(self).values()))


def read_clips(dataset: str | Path, layout: str | None = None) -> list[RawClip]:
    """All samples of a prepared dataset, by key; in `layout`, made from their own, where one is given.

    Raises FileNotFoundError if the folder is no dataset or an empty one, ValueError for another layout.
    """
    shards = ShardDataset.open(dataset)
    if not len(shards):
        raise FileNotFoundError(f"{dataset} has no samples: its report.md says why all sources were left out")
    return [read_clip(shards, row, layout) for row in shards.samples]


def read_clip(shards: ShardDataset, row: dict, layout: str | None = None) -> RawClip:
    """One sample; arguments and errors as in `read_clips`."""
    tensors = shards.tensors(row, "motion.safetensors")
    speech = torch.from_numpy(tensors["speech"].astype(np.float32) / 32767)
    displacement = tensors["displacement"].astype(np.float32)
    present, rest, name = tensors["present"].astype(bool), tensors["rest"], row["layout"]
    if layout not in (None, name):
        made = LandmarkLayout.load(layout)
        if made.source != name:
            raise ValueError(f"{row['key']} is in layout {name}, from which {layout} cannot be made")
        displacement, rest, name = made.from_source(displacement), made.from_source(rest), layout
    return RawClip(row["key"], row["identity"], name, displacement, present, rest, speech)


def with_features(clips: list[RawClip], encoder: Encoder) -> list[tuple[RawClip, Tensor]]:
    """Clips, each with the features (2F,L,Ds) of its speech."""
    return [(clip, encoder.encode(clip.speech, 2 * len(clip.displacement))) for clip in clips]


def fit_space(clips: list[RawClip], config: SpaceConfig) -> LandmarkSpace:
    """The landmark space of all clips and their mirror images: the paper's coordinates where the config has
    two channels a point, principal components where it has fewer."""
    shown = [clip.displacement[clip.present] for clip in clips]
    rows = np.concatenate(shown + [mirrored(row, config.layout) for row in shown])
    rows = rows[:: max(1, len(rows) // 40000)]
    if config.lower == 2 * len(LandmarkLayout.load(config.layout).lower):
        return LandmarkSpace.fit_coordinates(config.layout, rows)
    return LandmarkSpace.fit(config, rows)


def mirrored(shape: np.ndarray, layout: str) -> np.ndarray:
    """Displacements or shapes about x = 0 (...,N,3), seen in a mirror."""
    return shape[..., LandmarkLayout.load(layout).mirror, :] * np.array([-1, 1, 1], np.float32)


def add_pauses(speech: Tensor, displacement: np.ndarray) -> tuple[Tensor, np.ndarray]:
    """Silence before and behind a clip, with the mouth closing into it and resting."""
    ease = np.exp(-np.arange(1, PAUSE_FRAMES + 1) / RATE_HZ / REST_TIME_CONSTANT_S)[:, None, None]
    before = displacement[:1] * ease[::-1]
    after = displacement[-1:] * ease
    quiet = torch.zeros(PAUSE_FRAMES * SAMPLES_PER_FRAME)
    moved = np.concatenate([before, displacement, after]).astype(np.float32)
    return torch.cat([quiet, speech[: len(displacement) * SAMPLES_PER_FRAME], quiet]), moved


class MotionData:
    """All clips and their changed copies, in memory, to draw windows from.

    tempi: a copy of each clip for each, the first unchanged; mirror: as many again, seen in a mirror;
    hidden: stretches of each window's speech that are hidden; device: where the clips lie and windows are
    cut, a GPU only for a run whose own process draws them. teachers: say, but for `truth` of it, what is to
    be found; and every clip's speech is said by another's face too, of which they alone know how.
    """

    def __init__(
        self,
        clips: list[RawClip],
        space: LandmarkSpace,
        encoder: Encoder,
        seed: int,
        tempi: tuple[float, ...] = TEMPI,
        mirror: bool = True,
        hidden: int = 0,
        device: torch.device | str = "cpu",
        teachers: Teachers | None = None,
        truth: float = 1.0,
    ) -> None:
        self.space, self.hidden, self.device = space, hidden, device
        generator = torch.Generator().manual_seed(seed)
        people = sorted({clip.identity for clip in clips})
        self.clips: list[MotionClip] = []
        for clip in tqdm(clips, desc="speech features"):
            for copy in _copies(clip, tempi, generator):
                features = encoder.encode(copy.speech, 2 * len(copy.displacement)).half().to(device)
                self._add(copy, features, people.index(clip.identity), mirror)
        if teachers is not None:
            # Not kept: what draws in other processes gets the clips alone.
            known = self.clips
            self.clips = [
                replace(clip, aim=torch.lerp(_said(teachers, clip, clip, people), clip.x0, truth))
                for clip in known
            ]
            self.clips += _strangers(teachers, known[:: 2 if mirror else 1], people, generator)
        self._reach = torch.tensor([len(clip.x0) for clip in self.clips]).sqrt().cumsum(0)

    def _add(self, clip: RawClip, features: Tensor, person: int, mirror: bool) -> None:
        """Take in a clip with the features (2F,L,Ds) of its speech, and as it is seen in a mirror."""
        centre = np.array([UNITS / 2, 0, 0], np.float32)
        present = torch.from_numpy(clip.present)
        for flip in (False, True) if mirror else (False,):
            displacement, rest = clip.displacement, clip.rest
            if flip:
                displacement = mirrored(displacement, clip.layout)
                rest = mirrored(rest - centre, clip.layout) + centre
            x0, upper = self.space.encode_lower(displacement), self.space.encode_upper(displacement)
            x0, upper, rest_xy = (
                part.to(self.device) for part in (x0, upper, torch.from_numpy(rest[:, :2].copy()))
            )
            self.clips.append(MotionClip(x0, upper, features, rest_xy, present, person, aim=x0))

    def draw(self, samples: list[int], frames: int, seed: int) -> MotionBatch:
        """The windows, of `frames` frames, that a seed gives these sample numbers; clips are drawn by the
        square root of their length, starts among those that show the face."""
        batch = self._empty(len(samples), frames)
        hidden = torch.zeros(len(samples), 2 * frames, dtype=torch.bool)
        for row, generator in enumerate(SampleRandom(seed, DATA, samples).generators):
            share = torch.rand((), generator=generator) * self._reach[-1]
            clip = self.clips[
                min(int(torch.searchsorted(self._reach, share, right=True)), len(self.clips) - 1)
            ]
            shows_face = False
            while not shows_face:
                start = int(torch.randint(max(1, len(clip.x0) - frames + 1), (), generator=generator))
                shows_face = bool(clip.present[start : start + frames].any())
            _cut(clip, start, frames, batch, row)
            if self.hidden:
                hidden[row] = hidden_spans(2 * frames, self.hidden, generator)
        if self.hidden:
            batch = replace(batch, features=hide(batch.features, hidden.to(self.device)))
        return batch

    def _empty(self, samples: int, frames: int) -> MotionBatch:
        """A batch of nothing but padding; `valid` on the CPU."""
        clip = self.clips[0]

        def zeros(like: Tensor, *shape: int) -> Tensor:
            return torch.zeros(samples, *shape, device=like.device)

        return MotionBatch(
            zeros(clip.x0, frames, clip.x0.shape[1]),
            zeros(clip.upper, frames, clip.upper.shape[1]),
            zeros(clip.features, 2 * frames, *clip.features.shape[1:]),
            zeros(clip.rest, *clip.rest.shape),
            torch.zeros(samples, frames, dtype=torch.bool),
            zeros(clip.aim, frames, clip.aim.shape[1]),
        )


def _copies(clip: RawClip, tempi: tuple[float, ...], generator: torch.Generator) -> Iterator[RawClip]:
    """A clip at each tempo, those that are changed with pauses before and behind; all but the first in other
    voices. Of one that does not show the face all the time there are no changed ones."""
    for number, tempo in enumerate(tempi):
        copy = clip
        if tempo != 1.0:
            if not clip.present.all():
                continue
            speech, displacement = add_pauses(*change_tempo(clip.speech, clip.displacement, tempo))
            present = np.ones(len(displacement), bool)
            copy = replace(clip, speech=speech, displacement=displacement, present=present)
        yield copy if number == 0 else replace(copy, speech=vary_voice(copy.speech, generator))


def _strangers(
    teachers: Teachers, clips: list[MotionClip], people: list[str], generator: torch.Generator
) -> Iterator[MotionClip]:
    """The speech of each clip on another person's face: as teachers have it."""
    for clip in clips:
        others = [other for other in clips if other.person != clip.person]
        if not others:
            return
        face = others[int(torch.randint(len(others), (), generator=generator))]
        said = _said(teachers, clip, face, people)
        frames = len(said)
        everywhere = torch.ones(frames, dtype=torch.bool)
        yield MotionClip(
            said, face.upper[:frames], clip.features[: 2 * frames], face.rest, everywhere, clip.person, said
        )


def _said(teachers: Teachers, clip: MotionClip, face: MotionClip, people: list[str]) -> Tensor:
    """A clip's speech on a face, as long as both are, as teachers have it: (F,D) where the clip lies."""
    frames = min(len(clip.x0), len(face.x0))
    features, upper = clip.features[: 2 * frames], face.upper[:frames]
    return teachers.say(features, upper, face.rest, people[clip.person]).to(clip.x0)


def _cut(clip: MotionClip, start: int, frames: int, batch: MotionBatch, row: int) -> None:
    """Put frames start..start + frames, or those that the clip has, into a row of padding."""
    count = min(frames, len(clip.x0) - start)
    batch.x0[row, :count] = clip.x0[start : start + count]
    batch.upper[row, :count] = clip.upper[start : start + count]
    batch.features[row, : 2 * count] = clip.features[2 * start : 2 * (start + count)]
    batch.rest[row] = clip.rest
    batch.valid[row, :count] = clip.present[start : start + count]
    batch.aim[row, :count] = clip.aim[start : start + count]
