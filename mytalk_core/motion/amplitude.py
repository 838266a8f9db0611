"""How large the movement is that people's mouths make: the likeliest motion is a mean over all that could be,
and so too small.

What the speech leaves open is most of all how far the mouth opens, from syllable to syllable more than over
a sentence. So the opening is amplified, and what goes with it; what else the face does stays as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .person import OPENING_PAIRS
from .smoothing import smoothed
from .space import LandmarkSpace

# The likeliest opening varies 0.83 times as much as the real one on people kept from training. The second is
# for what of it is slower than the third, standard deviation, about half a second. Chosen on such people: all
# of the movement enlarged by the first has a velocity error 2 % higher, and lips that meet less often where
# real ones do (benchmarks/results/motion_people.md).
QUICK_GAIN, SLOW_GAIN, SLOW_FRAMES = 1.2, 1.1, 12.0
# An opening no larger, mouth widths, is none that anything goes with.
NO_OPENING = 0.003


def amplified(space: LandmarkSpace, channels: Tensor) -> Tensor:
    """The likeliest channels (F,D) with an opening as large as people's, at 25 Hz: (F,D), on the CPU."""
    opening = channels @ opening_by_channel(space)
    # The movement that goes with the opening in this motion, for one mouth width of it.
    along = opening @ channels / (opening @ opening + len(opening) * NO_OPENING**2)
    slow = torch.from_numpy(smoothed(opening.double().numpy(), SLOW_FRAMES)).to(opening)
    more = (QUICK_GAIN - 1) * (opening - slow) + (SLOW_GAIN - 1) * slow
    return channels + more[:, None] * along


def opening_by_channel(space: LandmarkSpace) -> Tensor:
    """By how much each channel opens the lips, mouth widths: (D,)."""
    moves = space.lower_displacement(torch.eye(space.config.lower))[..., 1]
    place = {int(point): row for row, point in enumerate(space.lower_points)}
    upper, lower = ([place[int(point)] for point in points] for points in OPENING_PAIRS.T)
    return (moves[:, lower] - moves[:, upper]).mean(1)
