"""Which references each frame uses, over time: nearest in lip shape and pose, and steady.

The first reference of every frame comes from a shortest path through (frames x references): the distance to
the target's lips and pose, plus a price for changing the reference. The next ones come from the same path
search with the ones already chosen made costly. Their weights fall with distance and are smoothed over time,
so that a change of reference is a short cross-fade and never a jump.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...face.layout import LandmarkLayout
from ...face.packed import Rows
from ..fade import Light
from .references import References, lip_shape, mouth_opening, pose_points

CHUNK = 512  # targets whose landmarks are unpacked at once
# Lips so many units apart are open ones; below that they are ajar, or meet.
OPEN = 1.0
TAKEN = 1e3  # the price of a reference that a frame has already
FADING = 5  # references that a frame has at least room for: while some fade out, others fade in
# Levels of brightness that one light varies by; what a correction of colour mends is not much more.
SAME_LIGHT = 32.0


@dataclass(frozen=True)
class ReferenceChoice:
    """How references are chosen; distances are root mean square canonical units (1/256 of the crop)."""

    references: int = 3
    pose: float = 0.6  # weight of the distance of points that speech does not move, beside that of the lips
    blur: float = 0.6  # price of a reference half as sharp as the pool's median
    unseen: float = 4.0  # price of a reference whose mouth and chin lay wholly beyond the frame's edge
    ajar: float = 3.0  # price of each unit that its lips are apart where a target's meet
    other_light: float = 0.12  # price of each level that its light differs by more than `SAME_LIGHT`
    other_shot: float = 1.0  # price of a reference from another shot: other light, other lens
    change: float = 0.5  # price of changing the reference from one frame to the next
    softness: float = 1.5  # the distance at which a weight falls to 1/e
    fade: tuple[float, ...] = (0.25, 0.5, 0.25)  # weights of neighbouring frames


@dataclass(frozen=True)
class ReferencePlan:
    """For each of T frames R references: indices int64 (T, R), -1 for none; weights float32 (T, R), sum 1."""

    indices: np.ndarray
    weights: np.ndarray


def expected_brightness(references: References, frames: np.ndarray, shots: np.ndarray) -> np.ndarray:
    """How bright frames (T,) of the references' clip are, as those that lie next in the shot (T,) tell: float
    (T,) levels, NaN where a shot has none."""
    brightness, expected = Light.of(references.crops).brightness, np.full(len(frames), np.nan)
    for shot in np.unique(references.shots):
        own, of = references.shots == shot, shots == shot
        expected[of] = np.interp(frames[of], references.frame_index[own], brightness[own])
    return expected


def reference_distance(
    references: References,
    targets: Rows,
    layout: LandmarkLayout,
    choice: ReferenceChoice,
    shots: np.ndarray | None,
    light: np.ndarray | None = None,
) -> np.ndarray:
    """Distance float32 (T, K) of every target (T, N, 2) to every reference, prices included."""
    distance = np.empty((len(targets), len(references)), np.float32)
    own = _ajar(references.landmarks, layout)
    blurred = choice.blur * np.clip(-np.log2(np.maximum(references.sharpness, 1e-3)), 0, 3)
    unseen = choice.unseen * references.unseen_share(layout)
    brightness = np.nan if light is None else Light.of(references.crops).brightness
    for start in range(0, len(targets), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(targets)))
        wanted, part = targets[rows], distance[start : start + CHUNK]
        part[:] = shape_distance(wanted, references.landmarks, layout, choice.pose)
        # Lips that are ajar, pressed together by the mesh, look ajar: their edges and what is between stay.
        part += choice.ajar * (own - _ajar(wanted, layout)[:, None]).clip(0)
        part += blurred
        part += unseen
        if light is not None:
            other = np.abs(light[rows, None] - brightness) - SAME_LIGHT
            part += choice.other_light * np.nan_to_num(other).clip(0)
        if shots is not None:
            part += choice.other_shot * (np.asarray(shots)[rows, None] != references.shots)
    return distance


def _ajar(landmarks: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """How far the lips of landmarks (T, N, 2) are apart, units, up to where they are open: (T,)."""
    return np.minimum(mouth_opening(landmarks, layout), OPEN)


def shape_distance(
    targets: np.ndarray, shapes: np.ndarray, layout: LandmarkLayout, pose: float
) -> np.ndarray:
    """How far lips and, by a weight, pose of targets (T, N, 2 or 3) and other shapes (K, ...) are apart:
    (T, K) canonical units."""
    still = pose_points(layout)
    lips = _rms(*(lip_shape(landmarks[..., :2], layout) for landmarks in (targets, shapes)))
    heads = _rms(*(landmarks[:, still, :2] for landmarks in (targets, shapes)))
    return np.sqrt(lips**2 + (pose * heads) ** 2)


def _rms(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Root mean square point distance (T, K) of shapes (T, P, 2) and (K, P, 2)."""
    points = one.shape[1]
    a, b = one.reshape(len(one), -1).astype(np.float64), other.reshape(len(other), -1).astype(np.float64)
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.clip(squared, 0, None) / points)


def steady_path(distance: np.ndarray, change: float, cuts: np.ndarray | None = None) -> np.ndarray:
    """The cheapest sequence (T,) of references: sum of distances (T, K) plus `change` for every change.

    Viterbi with one price for all changes, so a step costs O(K). Changing is free where `cuts` (T,) is true.
    """
    frames, count = distance.shape
    came_from = np.zeros((frames, count), np.int16)
    total = distance[0].astype(np.float64)
    for t in range(1, frames):
        best = int(total.argmin())
        price = 0.0 if cuts is not None and cuts[t] else change
        stay = total <= total[best] + price
        came_from[t] = np.where(stay, np.arange(count), best)
        total = np.where(stay, total, total[best] + price) + distance[t]
    path = np.empty(frames, np.int64)
    path[-1] = int(total.argmin())
    for t in range(frames - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path


def plan_references(
    references: References,
    targets: Rows,
    layout: LandmarkLayout,
    choice: ReferenceChoice,
    shots: np.ndarray | None = None,
    light: np.ndarray | None = None,
) -> ReferencePlan:
    """Choose references for a whole sequence of target landmarks.

    Args:
        references: the pool.
        targets: float (T, N, 2) canonical units, or anything that gives them when indexed by frames.
        choice: how.
        shots: int (T,) shot number of each frame, or None.
        light: float (T,) how bright each frame is, see `expected_brightness`, or None.
    """
    distance = reference_distance(references, targets, layout, choice, shots, light)
    cuts = None if shots is None else np.r_[False, np.diff(shots) != 0]
    rows = np.arange(len(targets))
    paths, nearby = [], []
    for _ in range(min(choice.references, len(references))):
        path = steady_path(distance, choice.change, cuts)
        nearby.append(distance[rows, path])
        paths.append(path)
        distance[rows, path] += TAKEN
    chosen = _Chosen(np.stack(paths, 1), _shares(np.stack(nearby, 1), choice.softness), len(references))
    # A long clip's frames one part after the other: of all of them most weights are 0.
    part = np.zeros(len(rows), int) if cuts is None else np.cumsum(cuts)
    plans = [
        _strongest(_faded(chosen, some, part, choice.fade), max(choice.references, FADING))
        for some in np.split(rows, range(CHUNK, len(rows), CHUNK))
    ]
    return ReferencePlan(
        np.concatenate([plan.indices for plan in plans]), np.concatenate([plan.weights for plan in plans])
    )


@dataclass(frozen=True)
class _Chosen:
    """References of each frame before they fade: paths int64 (T, R), shares float32 (T, R), of K."""

    paths: np.ndarray
    shares: np.ndarray
    count: int

    def weights(self, rows: np.ndarray) -> np.ndarray:
        """Of some frames (F,): float32 (F, K), sum 1."""
        weights = np.zeros((len(rows), self.count), np.float32)
        np.put_along_axis(weights, self.paths[rows], self.shares[rows], 1)
        return weights / weights.sum(1, keepdims=True)


def _shares(distance: np.ndarray, softness: float) -> np.ndarray:
    """How much each of R references tells, from their distances (T, R): the less, the farther off beside the
    first."""
    return np.exp(-np.clip(distance - distance[:, :1], 0, None) / softness)


def _faded(chosen: _Chosen, rows: np.ndarray, part: np.ndarray, fade: tuple[float, ...]) -> np.ndarray:
    """Weights (F, K) of some frames, the mean of neighbouring frames' in the same part (T,) of the clip."""
    faded = np.zeros((len(rows), chosen.count), np.float32)
    for offset, share in enumerate(fade, start=-(len(fade) // 2)):
        near = np.clip(rows + offset, 0, len(part) - 1)
        faded += share * chosen.weights(np.where(part[near] == part[rows], near, rows))
    return faded


def _strongest(weights: np.ndarray, count: int) -> ReferencePlan:
    """The `count` heaviest references of each frame, weights rescaled to sum 1."""
    count = min(count, weights.shape[1])
    indices = np.argsort(-weights, axis=1, kind="stable")[:, :count]
    taken = np.take_along_axis(weights, indices, axis=1)
    taken = np.where(taken < 0.04, 0, taken)
    taken /= taken.sum(1, keepdims=True)
    return ReferencePlan(np.where(taken > 0, indices, -1), taken.astype(np.float32))
