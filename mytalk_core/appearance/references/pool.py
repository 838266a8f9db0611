"""Which frames of a source may lend lips: those that come nearest to what will be drawn.

A pool is bounded, a video is not. It is chosen by landmarks alone, before a picture is read: greedily, each
frame the one that lessens most how far the wanted shapes are from the nearest of the pool.
"""

from __future__ import annotations

import numpy as np

from ...errors import NoFaceError
from ...face.layout import LandmarkLayout
from ...face.packed import Rows
from .plan import ReferenceChoice, shape_distance

POOL = 96
POOL_BYTES = 96 << 20  # what the crops may take together, whatever their size
CANDIDATES, WANTED = 2000, 400  # frames that are compared, and shapes with which, each spread evenly


def pool_count(size: int) -> int:
    """How many crops of that size the pool may hold."""
    return max(8, min(POOL, POOL_BYTES // (3 * size * size)))


def choose_pool(
    allowed: np.ndarray,
    shapes: Rows,
    layout: LandmarkLayout,
    count: int = POOL,
    wanted: np.ndarray | None = None,
    shots: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Frames whose lips and pose come nearest to what is wanted, those of its own shot before others.

    Args:
        allowed: bool (T,), frames that may be taken.
        shapes: their landmarks (T, N, 2 or 3) canonical units, read where they are compared.
        count: most frames to return.
        wanted: landmarks (W, N, 2 or 3) canonical units; the frames' own shapes where None.
        shots: the shot numbers (T,) of the frames and (W,) of what is wanted, where they are of one video.

    Returns:
        int64 (K,) increasing frame indices, K <= count.

    Raises:
        NoFaceError: no frame may be taken.
    """
    frames = np.flatnonzero(allowed)
    if len(frames) == 0:
        raise NoFaceError(f"lip references need a frame with a face; none of {len(allowed)} frames has one")
    if len(frames) <= count:
        return frames
    frames = even_sample(frames, max(CANDIDATES, count))
    own, choice = shapes[frames], ReferenceChoice()
    if wanted is None or len(wanted) == 0:
        wanted, shots = even_sample(own, WANTED), None
    distance = shape_distance(wanted, own, layout, choice.pose)
    if shots is not None:
        distance += choice.other_shot * (shots[1][:, None] != shots[0][frames])
    return frames[np.sort(_nearest(distance, count))]


def even_sample(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of some rows (n, ...), evenly."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)]


def _nearest(distance: np.ndarray, count: int) -> np.ndarray:
    """Which `count` columns of distances (W, F) bring the rows' smallest ones down the most: int (count,)."""
    far = distance.max() + 1
    left = np.full(len(distance), far)
    taken: list[int] = []
    free = np.ones(distance.shape[1], bool)
    while len(taken) < count:
        gain = np.clip(left[:, None] - distance, 0, None).sum(0)
        best = int(np.where(free, gain, -1).argmax())
        if gain[best] == 0 and (left < far).any():
            left[:] = far  # All are served by their nearest: now by their next.
            continue
        taken.append(best)
        free[best] = False
        left = np.minimum(left, distance[:, best])
    return np.array(taken)
