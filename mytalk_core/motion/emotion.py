"""What a face expresses, told apart from whose face it is: the emotional reference (section 4.3, Fig. 4b).

A mouth's mean shape over a clip differs from most people's because faces differ, and because this one smiles
or is tense. How faces differ is known from many people, how one face moves from the landmark space: of what
was measured the likeliest movement is taken (both Gaussian), and given to another face in place of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from ..checkpoint.pretrained import BUNDLED
from ..face import alignment
from ..face.layout import LandmarkLayout
from ..face.track import FaceTrack
from .manner import SAMPLE_FRAMES, Manner
from .person import Person
from .rest import gap_channels, inner_pairs, narrowing
from .space import LandmarkSpace

# Somebody smiles for a whole clip: what a face expresses goes further than its channels do in most speech, by
# the first. The second, mouth widths: what landmarks are off by, and what is neither expression nor anybody's
# face. By both, what two seconds of one of 77 people differ by from all of theirs is told with r 0.99 for the
# height of the corners, 0.97 for the width, 0.99 for the opening, at 0.86, 0.85 and 0.96 of its size.
REACH, TOLERANCE = 2.0, 0.05
# The jaw takes the opening out of an expression down to this, mouth widths; the lips alone the rest.
GAP_TOLERANCE = 0.05
PEOPLE = BUNDLED / "face" / "people.safetensors"


@dataclass(frozen=True)
class Identity:
    """Who somebody is to the motion model, and how they are: a reference for another face.

    embedding: (1,Di) of `embed_identity`; emotion: (D,) channels of the landmark space, see
    `emotion_channels`; manner: how far their mouth opens.
    """

    embedding: Tensor
    emotion: Tensor
    manner: Manner


@dataclass(frozen=True)
class People:
    """How faces that speak differ in their mean shape, by `mytalk_training.motion.fit_people`.

    mean: (N,3) canonical units, as `Person.rest`; differences: (K,N,3) in the mean's mouth widths, principal
    ones, each of one standard deviation.
    """

    mean: np.ndarray
    differences: np.ndarray

    @staticmethod
    def bundled(layout: str) -> People:
        """Those that come with the program, in any layout made from theirs."""
        return _bundled(layout)


@lru_cache(maxsize=4)
def _bundled(layout: str) -> People:
    tensors, wanted = load_file(PEOPLE), LandmarkLayout.load(layout)
    return People(wanted.from_source(tensors["mean"]), wanted.from_source(tensors["differences"]))


def emotion_channels(space: LandmarkSpace, track: FaceTrack, person: Person) -> Tensor:
    """The likeliest movement (D,) that makes the mean shape of a person in a track of a face without
    expression."""
    landmarks = track.landmarks[track.seen_rows(SAMPLE_FRAMES)]
    anchors = LandmarkLayout.load(track.layout).anchors
    shape = alignment.fit_pose(landmarks, person.rest, anchors).to_frontal(landmarks).mean(0)
    people = People.bundled(space.config.layout)
    lower = space.lower_points
    apart = (shape - people.mean)[lower] / Person(people.mean, person.layout).mouth_width
    moves = REACH * space.lower_basis.double()
    own = torch.from_numpy(people.differences[:, lower].astype(np.float64)).flatten(1)
    seen = moves.T @ moves + own.T @ own
    seen += TOLERANCE**2 * torch.eye(len(seen), dtype=seen.dtype)
    channels = moves @ torch.linalg.solve(seen, torch.from_numpy(apart.astype(np.float64)).flatten())
    return (REACH * channels).float()


def emotion_shift(space: LandmarkSpace, own: Tensor, other: Tensor, strength: float) -> np.ndarray:
    """What takes a face from what it expresses to what another does, both of `emotion_channels`, by
    `strength` (1: all the way): (N,3) mouth widths, zero on points not generated. The gap between the lips
    stays: how far a mouth opens is its speech's and its manner's."""
    layout = LandmarkLayout.load(space.config.layout)
    channels = strength * (other - own)[None]
    opened = _gap(space.decode_lower(channels), layout)
    channels = channels - gap_channels(space, opened[..., 1:], GAP_TOLERANCE)
    shift = space.decode_lower(channels)
    return (shift + narrowing(_gap(shift, layout), layout))[0]


def _gap(shape: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    upper, lower = inner_pairs(layout)
    return shape[:, lower] - shape[:, upper]
