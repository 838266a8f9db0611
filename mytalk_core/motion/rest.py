"""The resting mouth: lips that meet, also those of a face that never showed them closed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..face.layout import LandmarkLayout
from ..face.track import FaceTrack
from .person import Person, find_rest, opening_ratio, shown_landmarks
from .space import LandmarkSpace

# Somebody whose mouth is no further open than this (over the inter-ocular distance) in a fiftieth of the
# frames closes it: 9 of 10 filmed speakers do. Behind the second nobody does.
CLOSES, NEVER_CLOSES = 0.03, 0.06
CLOSED_QUANTILE = 0.02
# How far open the rest shape of a filmed speaker is, median: the model knows mouths from there.
USUAL_OPENING = 0.02
# Of the lips' meeting, mouth widths: what may be left; smaller asks for less likely faces.
TOLERANCE = 0.002


def rest_of(track: FaceTrack, space: LandmarkSpace) -> Person:
    """The person of a track as the model shall see them: `find_rest`, and where the mouth is never closed its
    lips brought as near to each other as other people's are at rest.

    Raises NoFaceError if the track has no frame with a face.
    """
    person = find_rest(track)
    opening = float(opening_ratio(person.rest))
    unclosed = np.interp(most_closed(track), (CLOSES, NEVER_CLOSES), (0.0, 1.0))
    if unclosed == 0 or opening <= USUAL_OPENING:
        return person
    share = unclosed * (1 - USUAL_OPENING / opening)
    moved = space.decode_lower(closing_channels(space, person.rest[None] / person.mouth_width))[0]
    rest = person.rest + share * moved * person.mouth_width
    return replace(person, rest=rest.astype(np.float32))


def most_closed(track: FaceTrack) -> float:
    """The opening ratio below which a fiftieth of the frames lies. Raises NoFaceError without any face."""
    return float(np.quantile(opening_ratio(shown_landmarks(track)), CLOSED_QUANTILE))


def closing_channels(space: LandmarkSpace, shape: np.ndarray) -> Tensor:
    """The likeliest channels (F,D) that bring the lips of shapes (F,N,3), mouth widths, together."""
    upper, lower = inner_pairs(LandmarkLayout.load(space.config.layout))
    apart = shape[:, lower, 1:] - shape[:, upper, 1:]
    apart[..., 0] = apart[..., 0].clip(0)
    return gap_channels(space, -apart, TOLERANCE)


def gap_channels(space: LandmarkSpace, change: np.ndarray, tolerance: float) -> Tensor:
    """The likeliest channels (F,D) that change the gap between the inner lips, down and in depth, by so much
    (F,9,2), mouth widths.

    The channels are the movements of filmed faces, each of unit variance: the least of them that does it at
    every pair, up to the tolerance, is what faces most probably look like then, chin, corners and thickness
    of the lips included.
    """
    layout = LandmarkLayout.load(space.config.layout)
    upper, lower = inner_pairs(layout)
    position = np.full(layout.points, -1)
    position[space.lower_points] = np.arange(len(space.lower_points))
    # Up and down, and in depth: lips that meet do so in both.
    moves = space.lower_basis.double().unflatten(-1, (-1, 3))[..., 1:]
    effect = (moves[:, position[lower]] - moves[:, position[upper]]).flatten(1).T
    wanted = torch.from_numpy(change.astype(np.float64)).flatten(1).T
    normal = effect @ effect.T + tolerance**2 * torch.eye(len(wanted), dtype=effect.dtype)
    return (effect.T @ torch.linalg.solve(normal, wanted)).T.float()


def closing(space: LandmarkSpace, shape: np.ndarray) -> np.ndarray:
    """From shapes (F,N,3) to lips that meet: (F,N,3), both mouth widths; zero on points not generated."""
    layout = LandmarkLayout.load(space.config.layout)
    moved = space.decode_lower(closing_channels(space, shape))
    # What that leaves apart, about a hundredth of the eyes' distance; in a mouth that stands askew sideways
    # too. Lips that overlap have met.
    upper, lower = inner_pairs(layout)
    closed = shape + moved
    left = closed[:, lower] - closed[:, upper]
    left[..., 1] = left[..., 1].clip(0)
    return moved + narrowing(left, layout)


def narrowing(gap: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """What takes a gap (F,9,3) from between the inner lips, each lip going half way, inner and outer edge
    alike: (F,N,3)."""
    moved = np.zeros((len(gap), layout.points, 3), np.float32)
    for ring in (layout.lips_inner, layout.lips_outer):
        count = len(ring) // 2
        moved[:, ring[1:count]] -= gap / 2
        moved[:, ring[:count:-1]] += gap / 2
    return moved


def closed_displacement(
    space: LandmarkSpace, person: Person, emotion: np.ndarray | None = None
) -> np.ndarray:
    """From a person's rest to lips that meet: (N,3) mouth widths, zero on points not generated. emotion:
    (N,3) mouth widths, what the face expresses beyond its rest, with closed lips too."""
    shape = person.rest / person.mouth_width
    moved = np.zeros_like(shape) if emotion is None else emotion
    return moved + closing(space, (shape + moved)[None])[0]


def inner_pairs(layout: LandmarkLayout) -> tuple[np.ndarray, np.ndarray]:
    """The inner lips' points without the corners, upper and lower, those that meet at the same place."""
    half = len(layout.lips_inner) // 2
    return layout.lips_inner[:half:-1], layout.lips_inner[1:half]
