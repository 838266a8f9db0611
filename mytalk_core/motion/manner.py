"""How this person speaks: the generated mouth opens about as far as the source's own does.

The model's amplitude is everybody's; people differ by a factor of three. What the source shows of its own
speech, or of another's, is measured without any training: how far its mouth opens from its lower quantiles
to its upper ones, and the generated movement is scaled until it ranges as far.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..face.track import FaceTrack
from .person import opening_ratio

MANNERS = ("own", "model")
# The range of the opening: between these quantiles. Rest is below the first, single laughs above the second.
LOW, HIGH = 0.2, 0.95
# A gain outside these is a source that does something else than speak.
LEAST_GAIN, MOST_GAIN = 0.4, 1.6
# Less than two seconds of a face, from the time of the first frame to the last one's, tell nothing, nor does
# a mouth that ranges over less than so many inter-ocular distances: a still, a listener.
LEAST_S, LEAST_RANGE = 1.9, 0.03
# How much of either side is as good as no knowledge at all: a gain of few seconds is taken by halves.
DOUBT_S = 2.0
# Of a long track an even sample of frames is enough for quantiles.
SAMPLE_FRAMES = 2000


@dataclass(frozen=True)
class Manner:
    """How far a mouth's opening ranges, over the inter-ocular distance, and how many seconds tell so."""

    opening_range: float
    seconds: float

    @staticmethod
    def of(opening: np.ndarray, seconds: float) -> Manner:
        """The manner of openings (F,) that lasted `seconds`."""
        if not len(opening):
            return Manner(0.0, 0.0)
        low, high = np.quantile(opening, (LOW, HIGH))
        return Manner(float(high - low), seconds)

    @staticmethod
    def shown(track: FaceTrack) -> Manner:
        """The manner of the face in a track; frames that come again, as in a loop, count once."""
        seen = int(track.present.sum())
        if seen < 2:
            return Manner(0.0, 0.0)
        duration_s = float(np.ptp(track.times_s)) * seen / len(track)
        opening = opening_ratio(track.landmarks[track.seen_rows(SAMPLE_FRAMES)])
        return Manner.of(opening, duration_s * len(np.unique(opening)) / len(opening))

    @property
    def tells(self) -> bool:
        """Whether this is enough to go by: seconds of a mouth that moves."""
        return self.seconds >= LEAST_S and self.opening_range >= LEAST_RANGE

    def gain(self, generated: Manner) -> float:
        """What a generated movement is to be scaled by to range as far as this one; 1 where either tells
        nothing, drawn towards 1 where they tell little."""
        if not (self.tells and generated.tells):
            return 1.0
        trust = min(seconds / (seconds + DOUBT_S) for seconds in (self.seconds, generated.seconds))
        ratio = np.clip(self.opening_range / generated.opening_range, LEAST_GAIN, MOST_GAIN)
        return float(ratio**trust)
