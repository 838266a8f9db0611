"""What stands before a mouth, from frame to frame: a single frame is not believed.

Each picture tells by itself what it shows, and where that is in doubt now one way and now the other: the new
mouth and the source's would take turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .cover import WHOLLY, Cover

BLIP = 2  # frames on either side of one: what they show on the median counts
GAP = 4  # frames for which a mouth is not shown between two in which it is hidden
REACH = BLIP + GAP  # frames on either side of one that tell of it
PARTLY = 0.1  # of the lips: so much is hidden of a mouth that a hand is coming to, or leaving


def agreed(covers: Sequence[Cover], at: int) -> Cover:
    """One of the covers of neighbouring frames, none left out between them, as those about it have it.

    at: which of them is meant; those further than REACH from it change nothing.
    """
    cover = covers[at]
    if cover.sure and cover.matte is None:
        return cover
    first = max(at - REACH, 0)
    lips = steadied(np.array([one.hidden for one in covers[first : at + REACH + 1]]), at - first)
    near = covers[max(at - BLIP, 0) : at + BLIP + 1]
    if not cover.sure and 2 * sum(one.matte is not None or one.hidden >= WHOLLY for one in near) < len(near):
        return Cover(hidden=lips, faded=cover.faded)
    return replace(cover, hidden=lips)


def steadied(hidden: np.ndarray, at: int) -> float:
    """How much of the lips is hidden in one of neighbouring frames, 0..1.

    hidden: float (F,), 0..1, what each of them tells by itself; at: which of them is meant.
    """
    if not hidden.any():
        return 0.0
    near = [np.sort(hidden[max(n - BLIP, 0) : n + BLIP + 1]) for n in range(len(hidden))]
    median = [float(one[(len(one) - 1) // 2]) for one in near]
    # Between two that are hidden: the least of what the spans about a frame have at most.
    ends = range(at + 1, at + GAP + 2)
    between = min(max(median[max(end - GAP - 1, 0) : end]) for end in ends)
    if median[at] < PARTLY:
        return between
    return max(between, *median[max(at - GAP, 0) : at + GAP + 1])
