"""Where one shot of a video ends and the next begins: hard cuts, and dissolves with their blended frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..media.picture import Picture

# Two pictures of a cut differ more than this in mean luminance (0..255) and in histogram (share of pixels),
CUT_LUMINANCE, CUT_HISTOGRAM = 18.0, 0.3
# or more than this in luminance alone, which a head or a camera that moves does not reach.
CUT_LUMINANCE_ALONE = 30.0
# Pictures that are this much alike but for brightness and contrast are one scene: a fade, a lamp.
FADE_CORRELATION = 0.97
# Frames from a dissolve's middle to a picture before and one after it; each reach finds its own lengths.
DISSOLVE_REACHES = (2, 3, 6, 12, 24, 48)
# A frame is a mix of two others if no more than this share of their difference is left unexplained (measured:
# dissolves 0.02 to 0.06, what moves from 0.17 on), and those differ by this much on average.
MIX_RESIDUAL, MIX_DIFFERENCE = 0.12, 6.0
# Heads move while a slow dissolve lasts. Where so much of a picture changes by so many levels, which within a
# shot it seldom does, the median of what changes tells (of 48 dissolves of 16 to 40 frames 47 are found, 38
# without; none more in 77 clips of talking people).
MOST_CHANGES, CHANGES = 0.7, 8.0
# The pictures before and after a dissolve are not each other's fade: they are less alike than this.
DISSOLVE_CORRELATION = 0.85
# Below this standard deviation, or this share of the other picture's, a picture is flat: black, white, or on
# its way there.
FLAT, FLAT_SHARE = 6.0, 0.5
# How many mixtures are looked at in one go.
BLOCK = 256


@dataclass(frozen=True)
class Shots:
    """Which shot each frame of a video belongs to.

    numbers: int32 (T,), a new one after each cut and each dissolve; blended: bool (T,), frames that show
    two shots at once (they are counted to the first).
    """

    numbers: np.ndarray
    blended: np.ndarray


class ShotFinder:
    """Told of every frame in order, it knows the cuts at once and the dissolves at the end."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._last: np.ndarray | None = None
        self._grey: list[np.ndarray] = []

    def add(self, picture: Picture) -> bool:
        """Whether a frame begins a shot, as the first one does."""
        view = small_view(picture)
        cut = self._last is None or is_cut(self._last, view)
        self._last = view
        self.numbers.append((self.numbers[-1] if self.numbers else -1) + int(cut))
        grey = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY)
        self._grey.append(cv2.resize(grey, (32, 18), interpolation=cv2.INTER_AREA))
        return cut

    def finish(self) -> Shots:
        """The shots of all frames."""
        numbers = np.array(self.numbers, np.int32)
        blended = blended_frames(np.stack(self._grey)) if self._grey else np.zeros(0, bool)
        ends = np.flatnonzero(blended[:-1] & ~blended[1:]) + 1
        cuts = np.diff(numbers, prepend=numbers[:1]) != 0
        for begin in np.flatnonzero(blended & ~np.append(False, blended[:-1])):
            # What looked like a cut inside a dissolve is none.
            after = ends[ends > begin]
            cuts[begin : after[0] if len(after) else len(cuts)] = False
        cuts[ends] = True
        return Shots(np.cumsum(cuts).astype(np.int32), blended)


def small_view(picture: Picture) -> np.ndarray:
    """A frame as `is_cut` wants it: (36,64,3) uint8, each pixel the mean of sixteen samples."""
    # The mean of all pixels would take longer than reading the face.
    return cv2.resize(picture.sampled(144, 256), (64, 36), interpolation=cv2.INTER_AREA)


def is_cut(before: np.ndarray, after: np.ndarray) -> bool:
    """Whether two small views (h,w,3) uint8 belong to different shots.

    Luminance and histogram both jump, or luminance far; not where brightness and contrast alone do, as in a
    fade.
    """
    difference = cv2.norm(before, after, cv2.NORM_L1) / before.size
    if difference <= CUT_LUMINANCE:
        return False
    if difference <= CUT_LUMINANCE_ALONE:
        counts = [np.histogram(view, bins=32, range=(0, 256))[0] / view.size for view in (before, after)]
        if np.abs(counts[0] - counts[1]).sum() / 2 <= CUT_HISTOGRAM:
            return False
    return _correlation(before, after) < FADE_CORRELATION


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of two pictures' values, -1..1; 0 where one is flat."""
    if min(a.std(), b.std()) < 1:
        return 0.0
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def blended_frames(views: np.ndarray) -> np.ndarray:
    """Which frames of T grey views (T,h,w) uint8 are in mid-dissolve: bool (T,).

    There every picture is a mix of one before and one after, and the mix goes from the one to the other.
    """
    flat = views.reshape(len(views), -1)
    blended = np.zeros(len(views), bool)
    for reach in DISSOLVE_REACHES:
        for start in range(reach, len(views) - reach, BLOCK):
            middles = np.arange(start, min(start + BLOCK, len(views) - reach))
            for middle in middles[_mixed(flat, middles, reach)]:
                if not blended[middle]:
                    blended |= _dissolve(flat, int(middle), reach)
    return blended


def _mixed(flat: np.ndarray, middles: np.ndarray, reach: int) -> np.ndarray:
    """Which frames `middles` (n,) of pictures (T,P) are mixes of those `reach` frames away: bool (n,)."""
    before, after = (flat[middles + side].astype(np.float32) for side in (-reach, reach))
    way = after - before
    length = np.abs(way).mean(1)
    low, high = np.sort([before.std(1), after.std(1)], axis=0)
    candidates = (length > MIX_DIFFERENCE) & (low > FLAT) & (low > FLAT_SHARE * high)
    share, left = _shares(flat[middles].astype(np.float32) - before, way)
    return candidates & (share > 0.2) & (share < 0.8) & (left < MIX_RESIDUAL)


def _shares(steps: np.ndarray, way: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far along `way` (n or 1,P) each step (n,P) is, and which share of it is left unexplained: (n,)."""
    share = (steps * way).sum(1) / np.maximum((way * way).sum(1), 1e-6)
    off, size = np.abs(steps - share[:, None] * way), np.abs(way)
    left = off.mean(1) / np.maximum(size.mean(1), 1e-6)
    size = np.broadcast_to(size, off.shape)
    changes = size > CHANGES
    for row in np.flatnonzero((changes.mean(1) > MOST_CHANGES) & (left > MIX_RESIDUAL)):
        part = changes[row]
        left[row] = np.median(off[row, part] / size[row, part])
    return share, left


def _dissolve(flat: np.ndarray, middle: int, reach: int) -> np.ndarray:
    """The blended frames around a mixed one, none where it is no dissolve: bool (T,)."""
    blended = np.zeros(len(flat), bool)
    first, last = max(0, middle - 3 * reach), min(len(flat), middle + 3 * reach + 1)
    before, after = (flat[middle + side].astype(np.float32) for side in (-reach, reach))
    way = after - before
    share, left = _shares(flat[first:last].astype(np.float32) - before, way[None])
    near = slice(middle - reach - first, middle + reach + 1 - first)
    inside = (share[near] > 0.15) & (share[near] < 0.85)
    steps = np.diff(share[near])
    if (left[near][inside] > MIX_RESIDUAL).any() or steps.max() > 0.7 or steps.min() < -0.1:
        return blended
    if _correlation(before, after) > DISSOLVE_CORRELATION:
        return blended
    # The ends may lie further out than the two pictures: as long as the mix goes on in its direction.
    step = max(0.008, 0.25 * float(np.median(steps[inside[1:] | inside[:-1]])))
    low = high = middle - first
    while low > 0 and share[low] - share[low - 1] > step:
        low -= 1
    while high < len(share) - 1 and share[high + 1] - share[high] > step:
        high += 1
    # The first of them still, and the last already, shows one shot alone.
    blended[first + low + 1 : first + high] = True
    return blended
