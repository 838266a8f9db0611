"""Lips that meet on p, b and m: the motion's mean of many mouths leaves them ajar.

The nearer `speech/closures.py` is to sure of such a sound, the nearer the lips come to each other there, on
the likeliest way from where they are. Nothing opens, and where they meet already nothing moves.
"""

from __future__ import annotations

import numpy as np

from ..speech.closures import load_closure_detector
from ..speech.features import FEATURES_PER_FRAME, SpeechEncoder, SpeechFeatures
from .person import Person
from .rest import closing
from .smoothing import smoothed
from .space import LandmarkSpace

# Below the first nothing is done, from the second on as much as ever is: of the way to lips that meet. With
# these they do as often as filmed lips on p, b and m of people that nothing was trained on, whose openings
# are followed no worse (benchmarks/results/motion_people.md); all of the way would be more often.
UNSURE, SURE, MOST = 0.1, 0.6, 0.45
# Lips come and go as they do in films: standard deviation.
EASE_S = 0.06


def closure_share(features: SpeechFeatures) -> np.ndarray:
    """How far lips that are apart come together, (F,) in 0..1 at 25 Hz, in speech of these features (2F)."""
    sure = load_closure_detector().probabilities(features)
    share = MOST * ((sure - UNSURE) / (SURE - UNSURE)).clip(0, 1)
    eased = smoothed(share, EASE_S * SpeechEncoder.rate_hz)
    # Feature 2 j is at motion frame j.
    return eased[::FEATURES_PER_FRAME].astype(np.float32)


def close_lips(
    displacement: np.ndarray, share: np.ndarray, space: LandmarkSpace, person: Person
) -> np.ndarray:
    """Displacements (F,N,3) from a person's rest, mouth widths, whose lips are nearer by `share` (F,)."""
    rows = np.flatnonzero(share)
    closed = displacement.copy()
    if len(rows):
        shape = person.rest / person.mouth_width + displacement[rows]
        closed[rows] += share[rows, None, None] * closing(space, shape)
    return closed
