"""What stands before a mouth: a hand, hair, a microphone, a caption, a mask. It stays on top, pixel by pixel.

Six looks are put together. The references, brought to one shape, tell what the person usually looks like at
each place of the face: what a picture shows otherwise covers it, unless light explains it; where it differs
too little for that, a network that knows hands and hair before faces looks closer (`CoverNetwork`). What
keeps its place in the picture while the face moves is found once (`find_overlay`), and so is what goes its
own way before it (`find_held_objects`); letters are found in each picture (`find_captions`). And where no
mouth is seen at all (`clearness`), the frame stays as it is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout
from ..fade import Light, UsualLight
from ..references.pool import even_sample
from ..references.references import Each, References, pose_points, resized
from ..square.areas import disc, filled, widened
from ..square.raster import triangulate
from .captions import Captions, find_captions
from .clearness import SUSPECT, clearness
from .cover import FREE, RIM, Cover, ExpectedFace, own_colours, with_rim
from .face_difference import FaceDifference
from .face_light import FaceLight
from .face_view import FaceView
from .grid import FaceGrid
from .held_object import HeldObject, find_held_objects
from .network import BOX, Comparison, load_cover_network
from .overlay import STROKE, Overlay, find_overlay
from .parts import enclosed, gaps, thick_places, thickness
from .usual_face import FEWEST, FRAMES, UNKNOWN, UsualFace

# How likely the network finds a cover in a frame, one in a picture that lends, of which more is doubted since
# others lend as well, and some of it.
LIKELY, LIKELY_LENDER, LIKELIEST = 0.5, 0.3, 0.8
FINGER = 4  # half the width of a thin finger, units: what is thinner is hair
GAP = 16  # half of what is no face either between the fingers of a hand, or where its palm is like a chin
# Root mean square distance of the still points, canonical units, from which on colours tell nothing: profiles
# are over 10, but what hands do to landmarks is up to 13. The network knows hands up to FAR.
TURNED, FAR = 7.0, 14.0
WITHIN = 0.2  # share of a cover: what it has about it and is no larger, as a name on a microphone, is its own
LENT = 0.4  # of its lips, the most that may be covered in a reference that is mended and lent
DOUBTFUL = 0.8  # as clear as the least of what a mouth shows: below it is surely hidden
LEAST_LEFT = 0.5  # this share of a pool always stays


class CoverDetector:
    """Knows a person's face without what stands before it, and tells what does in a picture.

    shown: bool (K,), which of the references show a mouth; fading: bool (K,), which have begun to fade;
    similarity: float (K, 2, 3), frame pixels to
    canonical units, of the frames that they were cut from; None where those are another clip's, or stand in
    no order; each: what looks at every reference.
    """

    def __init__(
        self,
        references: References,
        layout: LandmarkLayout,
        similarity: np.ndarray | None = None,
        each: Each = map,
    ) -> None:
        unit, landmarks = references.resized(UNITS).crops, references.landmarks
        self._layout, self._still = layout, pose_points(layout)
        self._shape = np.median(landmarks, axis=0).astype(np.float32)
        self._light = FaceLight(unit, landmarks, layout)
        placed = _placed(references, similarity)

        def shows_mouth(row: int, certainty: float) -> bool:
            return clearness(unit[row], landmarks[row], placed[row], layout, certainty) >= 1

        def shown_with(certainty: float) -> np.ndarray:
            return np.array(list(each(partial(shows_mouth, certainty=certainty), range(len(unit)))))

        shown, self._certainty = shown_with(1.0), 1.0
        if shown.mean() < 0.5:
            shown, self._certainty = shown_with(SUSPECT), SUSPECT
        self._fades: UsualLight | None = None
        self.fading = np.zeros(len(references), bool)
        self._overlay: Overlay | None = None
        self._held: list[HeldObject] = []
        self._captions: Captions | None = None
        # Another clip's pictures say nothing about the light in this one's, nor what stands still there.
        if similarity is not None:
            light = Light.of(unit)
            self._fades = UsualLight(light, references.shots)
            shown &= self._fades.faded(light, references.shots) < 1
            self.fading = self._fades.fading(light, references.shots)
            faces = FaceGrid.of(unit, references, similarity, layout)
            if faces is not None:
                self._overlay = find_overlay(faces, self.skin)
                known = None if self._overlay is None else self._overlay.matte
                self._held = find_held_objects(faces, self.skin, known)
            self._captions = find_captions(unit, references, similarity, layout)
        self.shown = shown
        self._usual = self._usual_face(unit, landmarks, placed)

    @property
    def skin(self) -> np.ndarray:
        """See `FaceLight`."""
        return self._light.skin

    def cover(
        self,
        crop: np.ndarray,
        landmarks: np.ndarray,
        similarity: np.ndarray,
        shown: bool | None = None,
        shot: int = 0,
        lends: bool = False,
    ) -> Cover:
        """What covers the mouth in a crop uint8 (S, S, 3) with landmarks (N, 2) in canonical units; a fade
        covers the whole.

        similarity: float (2, 3), frame pixels to canonical units; shown: whether it shows a mouth, where that
        is known; shot: its number; lends: whether it is a picture that lends its mouth to others.
        """
        unit = resized(crop, UNITS)
        if shown is None:
            clear = clearness(unit, landmarks, similarity, self._layout, self._certainty)
        else:
            clear = float(shown)
        faded = 0.0
        if self._fades is not None:
            faded = float(self._fades.faded(Light.of(unit[None]), np.array([shot]))[0])
        if faded == 1:
            return Cover(faded=1.0, sure=True)
        if clear < 1:
            return Cover(hidden=1.0, faded=faded, sure=clear < DOUBTFUL)
        view = self._view(unit, landmarks)
        always, letters = self._in_front(unit, landmarks, similarity)
        found, expected = self._unusual(view, always, letters, lends)
        found |= enclosed(found, WITHIN)
        if not (found & view.near).any():
            return FREE if faded == 0 else Cover(faded=faded)
        rim = widened(found.astype(np.uint8), 2 * RIM) > 0
        matte = with_rim(unit, found, None if expected is None else expected.behind(unit, found, rim))
        # References lend nothing that may be the cover's; a frame keeps nothing that is not.
        touched = cv2.dilate(matte, disc(RIM))
        if expected is None:  # All that is known is what is about it.
            usual = cv2.inpaint(unit, (touched > 0).astype(np.uint8), 3, cv2.INPAINT_NS)
        else:
            usual = expected.behind(unit, found, touched > 0)
        lips = filled(landmarks[self._layout.lips_outer]) > 0
        hidden = float(matte[lips].mean()) if lips.any() else 0.0
        sure = bool((always | letters).any())
        return Cover(own_colours(crop, found, matte), touched, usual, hidden, faded, sure)

    def _in_front(
        self, unit: np.ndarray, landmarks: np.ndarray, similarity: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Where a crop at one sample a unit shows what is always covered, and a caption: bool (256, 256)."""
        none = np.zeros((UNITS, UNITS), bool)
        always = none if self._overlay is None else self._overlay.on_crop(similarity)
        for held in self._held:
            always |= held.on_crop(unit, similarity)
        if self._captions is None:
            return always, none
        return always, self._captions.on_crop(unit, landmarks, similarity, self.skin)

    def _view(self, unit: np.ndarray, landmarks: np.ndarray) -> FaceView:
        """A crop uint8 (256, 256, 3) with landmarks (N, 2), and how its light and pose are."""
        away = landmarks[self._still] - self._shape[self._still]
        turned = float(np.sqrt(np.square(away).sum(-1).mean()))
        gain = self._light.gain(unit, landmarks)
        return FaceView(unit, landmarks, self._layout, gain, turned)

    def comparison(self, unit: np.ndarray, landmarks: np.ndarray) -> Comparison | None:
        """A crop uint8 (256, 256, 3) with landmarks (N, 2) beside the usual face, None where that is not
        known or the head is turned too far from it."""
        return self._compared(self._view(unit, landmarks))

    def _compared(self, view: FaceView) -> Comparison | None:
        """See `comparison`."""
        if self._usual is None or view.turned > FAR:
            return None
        usual = np.full((UNITS, UNITS, 4), UNKNOWN, np.uint8)
        usual[BOX[0] : BOX[2], BOX[1] : BOX[3]] = self._usual.in_shape(view.landmarks, BOX)
        return Comparison.of(view, usual)

    def _looked_closer(self, view: FaceView, difference: FaceDifference, lends: bool) -> np.ndarray:
        """Where the network finds something before the face, bool (h, w) of a part of the picture."""
        compared = self._compared(view)
        if compared is None:
            return difference.lips & False
        likely = load_cover_network().likely(compared)[difference.within]
        perhaps, surely = likely > LIKELY_LENDER, likely > LIKELIEST
        found = difference.confirmed(perhaps if lends else likely > LIKELY, surely, perhaps)
        # What is left of lips beside fingers is no mouth to draw behind them; beside hair it is.
        return found | difference.mouth if difference.covers_lips(thick_places(found, FINGER)) else found

    def _usual_face(
        self, unit: np.ndarray, landmarks: np.ndarray, similarity: np.ndarray
    ) -> UsualFace | None:
        """The face as crops (K, 256, 256, 3) that show a mouth have it; None where they are too few."""
        shown = np.flatnonzero(self.shown)
        if len(shown) < FEWEST:
            return None
        chosen = even_sample(shown, FRAMES)
        views = [self._view(unit[row], landmarks[row]) for row in chosen]
        in_front = [self._in_front(unit[row], landmarks[row], similarity[row]) for row in chosen]
        covered = [always | letters for always, letters in in_front]
        # Letters cast no wide shadow.
        mattes = [one.matte for one in (self._overlay, *self._held) if one is not None]
        is_thick = any(thickness(matte) > STROKE for matte in mattes)
        shadow = 3 * RIM if is_thick else RIM
        return UsualFace.of(views, covered, self._shape, triangulate(self._layout), shadow)

    def _unusual(
        self, view: FaceView, always: np.ndarray, letters: np.ndarray, lends: bool
    ) -> tuple[np.ndarray, ExpectedFace | None]:
        """Where a picture is unlike the usual face, `always` covered or has `letters`, and the usual face in
        its shape and light."""
        found = always | letters
        if self._usual is None or view.turned > FAR or not view.near.any():
            return found, None
        there = self._usual.in_shape(view.landmarks, view.box)
        difference = FaceDifference.of(view, there, self.skin, letters)
        part = difference.unlike() if view.turned <= TURNED else difference.lips & False
        # About a microphone the face is known less well than skin is told from skin.
        if not always.any() and difference.is_a_hint(part):
            part |= self._looked_closer(view, difference, lends)
        found[difference.within] |= part
        if not found[difference.within].any():
            return found, None
        found[difference.within] |= gaps(part, GAP)
        return found, difference.expected(found) if view.turned <= TURNED else None


def free_references(
    references: References,
    cover_detector: CoverDetector,
    similarity: np.ndarray | None = None,
    each: Each = map,
    small: References | None = None,
) -> tuple[References, float]:
    """The references whose mouths are free, or nearly so, with what covers a part of them taken away; at
    least half of those that do not fade, the freest. And the share of all whose mouth cannot be seen.

    cover_detector: of these references; similarity, each: as in `CoverDetector`. Where that is known,
    `References.uncovered` is too. small: they at one sample a unit, where that is at hand.
    """
    placed, small = _placed(references, similarity), small or references.resized(UNITS)
    shown = map(bool, cover_detector.shown)
    looked_at = zip(small.crops, references.landmarks, placed, shown, references.shots, strict=True)
    look = partial(cover_detector.cover, lends=True)
    crops, hidden = references.crops, np.zeros(len(references))
    uncovered = np.zeros(len(references), bool)
    behind: dict[int, np.ndarray] = {}
    for row, cover in enumerate(each(lambda one: look(*one), looked_at)):
        hidden[row] = cover.hidden if cover.visible > 0 else 1.0
        uncovered[row] = cover is FREE
        if cover.touched is not None:
            crops = crops if behind else crops.copy()
            crops[row] = cover.mended(references.crops[row])
            behind[row] = cover.touched > 0
    clear = ~cover_detector.fading
    keep = clear & (hidden <= max(LENT, float(np.quantile(hidden[clear], LEAST_LEFT))))
    free = None
    if behind:
        seen = references.seen
        free = np.ones((len(crops), UNITS, UNITS), bool) if seen is None else seen.copy()
        for row, part in behind.items():
            free[row] &= ~part
    found = replace(references, crops=crops, free=free, uncovered=None if similarity is None else uncovered)
    return found.take(keep), float((hidden == 1).mean())


def _placed(references: References, similarity: np.ndarray | None) -> np.ndarray:
    """Where the references lay in their frames (K, 2, 3); upright where nothing is known of it."""
    return np.broadcast_to(np.eye(2, 3), (len(references), 2, 3)) if similarity is None else similarity
