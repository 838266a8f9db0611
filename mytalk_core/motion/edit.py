"""Edits of a motion between the stages: its time, its opening, its smoothness, mixtures of two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..face.layout import LandmarkLayout
from .motion import Motion
from .smoothing import smoothed

# Of a change of the opening, the share that the lower lip and the chin take; the upper lip takes the rest.
LOWER_SHARE = 0.75


def retime(motion: Motion, speed: float, delay_s: float = 0.0) -> Motion:
    """Play a motion `speed` times as fast (2 halves its length), `delay_s` seconds later (sooner below 0).

    Raises ValueError unless speed > 0.
    """
    if not speed > 0:
        raise ValueError(f"a speed above 0 was required, but {speed} arrived")
    frames = max(1, round(len(motion) / speed) + round(delay_s * motion.rate_hz))
    times_s = (np.arange(frames) / motion.rate_hz - delay_s) * speed
    return replace(motion, landmarks=motion.at(times_s))


def smooth(motion: Motion, width_s: float) -> Motion:
    """Average every point over time: a Gaussian of deviation `width_s` seconds, 0 changes nothing.

    Raises ValueError if width_s < 0.
    """
    if width_s < 0:
        raise ValueError(f"a smoothing of at least 0 s was required, but {width_s} arrived")
    if width_s == 0:
        return motion
    return replace(motion, landmarks=smoothed(motion.landmarks, width_s * motion.rate_hz))


def scale_opening(motion: Motion, scale: float) -> Motion:
    """Open the mouth `scale` times as far; closed lips stay closed, 0 keeps the mouth shut.

    Raises ValueError if scale < 0.
    """
    if scale < 0:
        raise ValueError(f"an opening scale of at least 0 was required, but {scale} arrived")
    layout = LandmarkLayout.load(motion.layout)
    position = np.full(layout.points, -1)
    position[motion.points] = np.arange(len(motion.points))
    half = len(layout.lips_inner) // 2
    lower, upper = layout.lips_inner[1:half], layout.lips_inner[half + 1 :]
    opening = motion.landmarks[:, position[lower]].mean(1) - motion.landmarks[:, position[upper]].mean(1)
    opening[:, 1] = opening[:, 1].clip(0)
    share = opening_share(layout)
    # The mean over the lips is less than the opening in the middle, by as much as the shares are.
    opening /= share[lower].mean() - share[upper].mean()
    moved = (scale - 1) * opening[:, None] * share[motion.points, None]
    return replace(motion, landmarks=(motion.landmarks + moved).astype(np.float32))


def opening_share(layout: LandmarkLayout) -> np.ndarray:
    """How far each point (N,) goes with the mouth's opening, in openings, down positive."""
    inner, outer = layout.lips_inner, layout.lips_outer
    points, half = layout.template[:, :2], len(inner) // 2
    centre = points[inner].mean(0)
    half_width = np.ptp(points[outer, 0]) / 2
    aside = np.abs(points[:, 0] - centre[0]) / half_width
    # An open mouth is about an ellipse, and the jaw carries the chin's neighbourhood along.
    lips = np.sqrt(np.clip(1 - aside**2, 0, 1))
    chin = np.clip(1 - (aside / 2) ** 2, 0, 1)
    lower, upper = (
        np.concatenate([inner[part], outer[part]]) for part in (slice(1, half), slice(half + 1, None))
    )
    below = points[:, 1] > centre[1]
    share = np.where(below, LOWER_SHARE * chin, 0.0)
    others = np.setdiff1d(layout.lips, np.concatenate([lower, upper]))
    share[others] = np.where(below[others], LOWER_SHARE, LOWER_SHARE - 1) * lips[others]
    share[lower] = LOWER_SHARE * lips[lower]
    share[upper] = (LOWER_SHARE - 1) * lips[upper]
    return share.astype(np.float32)


def mix(motion: Motion, other: Motion, share: float) -> Motion:
    """The motion with `share` (0..1) of `other` in it; where `other` has ended its last frame holds.

    Raises ValueError for other points or a share outside 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share of 0..1 was required, but {share} arrived")
    if motion.layout != other.layout or not np.array_equal(motion.points, other.points):
        raise ValueError(
            f"two motions of the same points were required, but {len(motion.points)} of {motion.layout} and "
            f"{len(other.points)} of {other.layout} arrived: make both with the same model"
        )
    landmarks = (1 - share) * motion.landmarks + share * other.at(motion.times_s)
    return replace(motion, landmarks=landmarks.astype(np.float32))


def hold(motion: Motion, start_s: float, stop_s: float) -> Motion:
    """Freeze the mouth from start_s to stop_s in the pose it has at start_s.

    Raises ValueError if stop_s < start_s.
    """
    if stop_s < start_s:
        raise ValueError(f"an end after the start {start_s} s was required, but {stop_s} s arrived")
    times_s = motion.times_s
    held = (times_s >= start_s) & (times_s < stop_s)
    return replace(motion, landmarks=motion.at(np.where(held, start_s, times_s)))
