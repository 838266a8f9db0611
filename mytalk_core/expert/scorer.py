"""Lip sync of a video by the MyTalk sync expert: how near its lips are to its speech, and how late."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..errors import WeightsError
from ..face.track import FaceTrack
from ..motion.person import RATE_HZ, find_rest, remove_pose
from ..motion.space import LandmarkSpace
from ..speech.features import SpeechEncoder, SpeechFeatures
from .sync_expert import MAX_SHIFT, SyncExpert

# Long videos are scored in pieces of this many frames, so that memory does not grow.
BLOCK_FRAMES = 500


@dataclass(frozen=True)
class SyncFigures:
    """How well the lips and the sound of a video fit.

    distance: mean between lips and speech at the best shift; confidence: how much nearer that is than the
    median shift; offset_ms: how far the lips are from their speech, late or early, at least 0.
    """

    distance: float
    confidence: float
    offset_ms: float


@dataclass(frozen=True)
class ExpertScorer:
    """The sync expert with what feeds it: the landmark space and the speech encoder it was trained on."""

    expert: SyncExpert
    space: LandmarkSpace
    encoder: SpeechEncoder

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Both networks by name; the landmark space is a table."""
        return {"lip-sync expert": self.expert, "speech encoder": self.encoder}

    @staticmethod
    def from_pretrained(
        source: str | Path = "mini", revision: str | None = None, device: torch.device | str = "cpu"
    ) -> ExpertScorer:
        """The parts sync, space and speech of a model; errors as in `PretrainedModel`."""
        expert = SyncExpert.from_pretrained(source, "sync", revision, device)
        space = LandmarkSpace.from_pretrained(source, "space", revision)
        if space.config.lower != expert.config.motion:
            raise WeightsError(
                f"the sync expert of {source} reads {expert.config.motion} channels, its landmark space "
                f"makes {space.config.lower}; use parts of one model"
            )
        layers = expert.config.speech_layers
        encoder = SpeechEncoder.from_pretrained(source, "speech", revision, layers, device)
        return ExpertScorer(expert, space, encoder)

    def score(self, track: FaceTrack, mono_16k: np.ndarray) -> SyncFigures | None:
        """Figures of a face's lips (25 Hz) and speech (S,) at 16 kHz, None if shorter than 1.4 s.

        Shifts up to 0.6 s each way are tried. Raises NoFaceError if the track shows no face.
        """
        track = track.in_layout(self.space.config.layout)
        seconds = min(float(track.times_s[-1]) + 1 / RATE_HZ, len(mono_16k) / 16_000)
        frames = int(seconds * RATE_HZ)
        if frames < 2 * MAX_SHIFT + 5:
            return None
        person = find_rest(track)
        features = SpeechFeatures(self.encoder, mono_16k, 2 * frames)
        scores, weights = [], []
        edges = np.linspace(0, frames, max(frames // BLOCK_FRAMES, 1) + 1).astype(int)
        for start, stop in pairwise(edges):
            lips = self.space.encode_lower(remove_pose(track, person, start, stop).displacement)
            scores.append(self.expert.score(lips, features.window(2 * start, 2 * stop)))
            weights.append(stop - start)
        return SyncFigures(
            float(np.average([s.distance for s in scores], weights=weights)),
            float(np.average([s.confidence for s in scores], weights=weights)),
            float(np.median([abs(s.offset_frames) for s in scores]) * 1000 / RATE_HZ),
        )
