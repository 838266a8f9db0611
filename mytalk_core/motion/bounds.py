"""What a face may be made to do that its source does not show speaking: a picture, a mouth that hardly moves.

Nothing tells then how far this person opens the mouth, and what is between and behind the lips has to be
invented: the opening stays where nearly everybody's is, and each lip keeps the thickness it is seen to have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..face import alignment
from ..face.layout import LandmarkLayout
from ..face.track import FaceTrack
from .manner import HIGH, LOW, SAMPLE_FRAMES, Manner
from .person import Person, interocular, opening_ratio

# Openings of 176 people who speak, mouth widths at rest: half of them spend half their time below the first,
# and a quarter of them hardly ever (a twentieth of the time) open wider than the second.
USUAL_OPENING, MODEST_OPENING = 0.15, 0.23
# Each lip may be so much thinner or thicker than the source shows it, as a share. The lower lips of those
# people are within 0.87 to 1.13 of their thickness at rest nine tenths of the time, median.
THICKNESS_TOLERANCE = 0.05


@dataclass(frozen=True)
class MotionBounds:
    """The bounds of one face.

    opening: mouth widths, never reached; lips: (2,18) canonical units, the least and the most thickness of
    the lips at the pairs of `lip_pairs`.
    """

    opening: float
    lips: np.ndarray

    @staticmethod
    def of(track: FaceTrack, person: Person, emotion: np.ndarray | None = None) -> MotionBounds | None:
        """The bounds of the person in a track, in the person's layout; None where the track tells how they
        speak (`Manner.tells`). emotion: (N,3) mouth widths, what the face is to express beyond the track."""
        shown = Manner.shown(track)
        if shown.tells:
            return None
        # A moment of speech tells little, yet what it shows can be done.
        widths = float(interocular(person.rest)) / person.mouth_width
        opening = max(MODEST_OPENING, shown.opening_range * widths)
        layout = LandmarkLayout.load(person.layout)
        landmarks = track.landmarks[track.seen_rows(SAMPLE_FRAMES)]
        frontal = alignment.fit_pose(landmarks, person.rest, layout.anchors).to_frontal(landmarks)
        if emotion is not None:
            frontal = frontal + emotion * person.mouth_width
        low, high = np.quantile(_thickness(frontal, *lip_pairs(layout)), (LOW, HIGH), axis=0)
        return MotionBounds(
            opening, np.stack([low / (1 + THICKNESS_TOLERANCE), high * (1 + THICKNESS_TOLERANCE)])
        )

    def bound(
        self, displacement: np.ndarray, closed: np.ndarray, person: Person, expression: float
    ) -> np.ndarray:
        """Displacements (F,N,3) from a person's rest, mouth widths, within these bounds.

        closed: (N,3), from rest to lips that meet: a frame that opens too wide comes as a whole nearer to
        it; expression: what the user scales movements by; more than 1 widens what is allowed.
        """
        opening = opening_ratio(person.rest + displacement * person.mouth_width)
        opening *= interocular(person.rest) / person.mouth_width
        limit = self.opening * max(expression, 1.0)
        share = modest(opening, limit) / opening.clip(1e-6)
        bounded = closed + share[:, None, None].astype(np.float32) * (displacement - closed)
        return bounded + self._mended(person.rest + bounded * person.mouth_width, person) / person.mouth_width

    def _mended(self, shape: np.ndarray, person: Person) -> np.ndarray:
        """What moves the outer edges of shapes (F,N,3), canonical units, to where lips are as thick as they
        may be, and what lies between with them: (F,N,3)."""
        layout = LandmarkLayout.load(person.layout)
        inner, outer = lip_pairs(layout)
        thickness = _thickness(shape, inner, outer).clip(1e-3)
        ratio = thickness.clip(*self.lips) / thickness
        shift = (ratio[..., None] - 1) * (shape[:, outer] - shape[:, inner])
        pair, share = lip_places(layout)
        moved = np.zeros_like(shape)
        moved[:, layout.lips] = share[:, None] * shift[:, pair]
        return moved


def modest(opening: np.ndarray, limit: float) -> np.ndarray:
    """Openings below `limit`: those up to the usual share of it as they are, wider ones ever less."""
    knee = limit * USUAL_OPENING / MODEST_OPENING
    room = max(limit - knee, 1e-6)
    return np.where(opening <= knee, opening, limit - room * np.exp(-(opening - knee).clip(0) / room))


def lip_pairs(layout: LandmarkLayout) -> tuple[np.ndarray, np.ndarray]:
    """The inner and the outer edge of the lips (18,), where they face each other: lower lip, then upper one,
    without the corners."""
    half = len(layout.lips_inner) // 2
    edges = np.delete(np.arange(len(layout.lips_inner)), (0, half))
    return layout.lips_inner[edges], layout.lips_outer[edges]


def lip_places(layout: LandmarkLayout) -> tuple[np.ndarray, np.ndarray]:
    """For each point of `layout.lips` the pair of `lip_pairs` it lies nearest to, and where: 0 at the inner
    edge, 1 at the outer one; 0 where it belongs to a corner."""
    # The corners' pair is last, and takes its points out.
    inner, outer = (
        np.append(pairs, ring[[0, len(ring) // 2]])
        for pairs, ring in zip(lip_pairs(layout), (layout.lips_inner, layout.lips_outer), strict=True)
    )
    template = layout.template[:, :2].astype(np.float64)
    along = template[outer] - template[inner]
    away = template[layout.lips][:, None] - template[inner]
    share = ((away * along).sum(-1) / np.square(along).sum(-1)).clip(0, 1)
    pair = np.linalg.norm(away - share[..., None] * along, axis=-1).argmin(1)
    share = share[np.arange(len(pair)), pair]
    corner = pair >= len(inner) - 2
    return np.where(corner, 0, pair), np.where(corner, 0.0, share)


def _thickness(shape: np.ndarray, inner: np.ndarray, outer: np.ndarray) -> np.ndarray:
    """How far the lips' edges (P,) are from each other in frontal shapes (F,N,3): (F,P), as they are seen."""
    return np.linalg.norm((shape[:, outer] - shape[:, inner])[..., :2], axis=-1)
