"""Identity extractor M: one frame's landmarks -> embedding, trained as a face recogniser (paper 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoint.pretrained import PretrainedModel
from ..face.layout import LandmarkLayout
from .person import Person, identity_channels


@dataclass(frozen=True)
class IdentityConfig:
    """Sizes of the identity extractor; the defaults are the paper's (Table 9): 669 points, hidden width 768.

    `hidden_layers` counts the square layers between the first and the last. With the training head of 1,027
    people (Table 8) the parameters are exactly 4,310,272.
    """

    channels: int = 1338
    landmark_layout: str = "dense669"
    width: int = 768
    hidden_layers: int = 4
    embedding: int = 512


class IdentityExtractor(PretrainedModel):
    """MLP from canonical landmarks to a unit-norm embedding; frozen once trained."""

    config_class = IdentityConfig

    def __init__(self, config: IdentityConfig):
        super().__init__()
        self.config = config
        widths = [config.channels] + [config.width] * (config.hidden_layers + 1)
        hidden = [part for pair in pairwise(widths) for part in (nn.Linear(*pair), nn.SiLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(config.width, config.embedding))

    def forward(self, landmarks: Tensor) -> Tensor:
        """landmarks (..., channels), standardised canonical coordinates -> (..., embedding) of unit norm."""
        if landmarks.shape[-1] != self.config.channels:
            raise ValueError(
                f"the identity extractor reads {self.config.channels} channels "
                f"({self.config.landmark_layout}); got {landmarks.shape[-1]}"
            )
        return F.normalize(self.layers(landmarks), dim=-1)


class ArcFaceHead(nn.Module):
    """Additive angular margin classifier over people, needed in training only (Deng et al. 2019, eq. 3)."""

    def __init__(self, embedding: int, people: int, margin: float = 0.5, scale: float = 64.0):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(people, embedding))
        nn.init.xavier_normal_(self.weight)
        self.margin = margin
        self.scale = scale

    def logits(self, embedding: Tensor, person: Tensor | None = None) -> Tensor:
        """Scaled cosines (B, people) of embeddings (B, E); the angle to `person` (B,) grows by the margin."""
        cosine = F.linear(embedding, F.normalize(self.weight, dim=-1))
        if person is None:
            return self.scale * cosine
        target = cosine.gather(1, person[:, None])
        # acos has no gradient at +-1.
        angle = torch.acos(target.clamp(-1 + 1e-6, 1 - 1e-6))
        # Beyond pi - margin cos(angle + margin) would rise again: go on falling in a straight line instead.
        penalised = torch.where(
            angle < math.pi - self.margin,
            torch.cos(angle + self.margin),
            target - self.margin * math.sin(self.margin),
        )
        return self.scale * cosine.scatter(1, person[:, None], penalised.to(cosine.dtype))

    def forward(self, embedding: Tensor, person: Tensor) -> Tensor:
        """ArcFace loss, a scalar: embedding (B, E) of unit norm, person (B,) int64."""
        return F.cross_entropy(self.logits(embedding, person), person)


def describe_person(conditioning: str, extractor: IdentityExtractor, rest: Tensor) -> Tensor:
    """What the denoiser is told of a person: frontal rest landmarks (B,N,2) canonical units -> (B,Di).

    The embedding of M, or with a key-landmark conditioning (Tab. 5) the landmarks themselves.
    """
    channels = identity_channels(rest)
    return extractor(channels) if conditioning == "id-cross-attention" else channels


def embed_person(
    extractor: IdentityExtractor, person: Person, conditioning: str = "id-cross-attention"
) -> Tensor:
    """`describe_person` of one person, in the extractor's layout and on its device: (1,Di)."""
    rest, wanted = person.rest, extractor.config.landmark_layout
    if person.layout != wanted:
        rest = LandmarkLayout.load(wanted).from_source(rest)
    shape = torch.from_numpy(np.ascontiguousarray(rest[None, :, :2]))
    return describe_person(conditioning, extractor, shape.to(next(extractor.parameters()).device))


def identity_similarity(embedding: Tensor, reference: Tensor) -> Tensor:
    """Cosine of unit-norm embeddings (..., E), as in the identity loss of eq. 4: 1 - this -> (...,)."""
    return (embedding * reference).sum(dim=-1)
