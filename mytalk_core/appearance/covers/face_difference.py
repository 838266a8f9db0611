"""A part of a picture beside the usual face there: where the two are unlike, and what is to be expected."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ..square.areas import disc, widened
from .cover import RIM, ExpectedFace
from .face_view import FaceView
from .overlay import LETTERS
from .parts import THICK, brightness, joined, largest, like_nearest, thin, unlike_skin
from .usual_face import UNKNOWN

# A pixel is unlike the usual face from so many levels on in full light, LEAST in the dark, and SPREAD times
# what the references differ by there; a part of the picture needs some that are STRONG times as unlike.
LEVELS, LEAST, SPREAD, STRONG = 22.0, 6.0, 3.0, 1.7
SURE = 12  # the spread up to which what lies beyond the face's outline is known
SMALLEST, SMALLEST_STRONG = 25, 12  # square units
SHADING_UNITS, SHADES = 41, (0.65, 1.5)  # light and shadow on a part of the face
BETWEEN = 3  # units about what is between the lips that teeth and the dark there reach to
# So near to the lips, units, and nowhere else, what leaves this share of them free is the mouth itself: of
# cartoons and statues the face mesh knows it badly.
AROUND, FREE_LIPS = 12, 0.5
# Where it is worth looking closer: how unlike, as a share of what makes a pixel unlike the usual face alone,
# and how far about its middle in units, as a hand is and as hair is; square units of either.
HINTS, HINTED = ((0.4, 2), (0.6, 1)), 30
ON_LIPS = 0.08  # share of the lips from which on what covers a part of them leaves none
OUTLINE = 4  # units within the face's outline that may be what is behind it


@dataclass(frozen=True)
class FaceDifference:
    """All (h, w), of some rows and columns of the canonical square.

    within: these; picture: float32 (h, w, 3), what is seen; plain, usual: float32 (h, w, 3), the usual face
    in as bright a light, and with light and shadow as they are seen; spread: uint8, what its pictures differ
    by; different: float32, how unlike it the picture is, 1 where that tells; known: 1 where light and shadow
    can be compared; face, inner: bool, within the face's outline, and a few units from it; about: bool, mouth
    and chin; tells: bool, these without what is between the lips, which is seldom as usual; lips: bool; skin:
    float (C, 3), colours of the person's skin in this light.
    """

    within: tuple[slice, slice]
    picture: np.ndarray
    plain: np.ndarray
    usual: np.ndarray
    spread: np.ndarray
    different: np.ndarray
    known: np.ndarray
    face: np.ndarray
    inner: np.ndarray
    about: np.ndarray
    tells: np.ndarray
    lips: np.ndarray
    skin: np.ndarray

    @staticmethod
    def of(view: FaceView, there: np.ndarray, skin: np.ndarray, letters: np.ndarray) -> FaceDifference:
        """Of a picture and the usual face there, uint8 (h, w, 4) in its box.

        skin: float (C, 3), the person's usual colours; letters: bool (256, 256), what is no face.
        """
        top, left, bottom, right = view.box
        within, layout, gain = (slice(top, bottom), slice(left, right)), view.layout, view.gain
        colours, spread, light = there[..., :3].astype(np.float32), there[..., 3], float(gain.mean())
        outline = view.outline(layout.oval)
        inner = cv2.erode(outline, disc(OUTLINE))[within] > 0
        # OpenCV multiplies colours several times as fast as NumPy repeats a number over three of them.
        picture, plain = view.unit[within].astype(np.float32), cv2.transform(colours, np.diag(gain))
        read = widened(letters.astype(np.uint8), RIM)[within] > 0
        # Teeth and the dark between the lips are seldom as usual: alone they are no cover, and no light.
        between = widened(view.outline(layout.lips_inner), BETWEEN)[within] > 0
        known = outline[within] * (spread < UNKNOWN // 2) * ~(read | between)
        usual = cv2.multiply(plain, cv2.merge([_shading(picture, plain, known)] * 3))
        limit = LEVELS * float(np.clip(light, 0.15, 1.3)) + LEAST + np.float32(SPREAD * light) * spread
        different = largest(cv2.absdiff(picture, usual)) / limit
        different[read] = 0
        about = view.near[within] & inner
        lips = view.outline(layout.lips_outer)[within] > 0
        face, tells = outline[within] > 0, about & ~between
        return FaceDifference(
            within,
            picture,
            plain,
            usual,
            spread,
            different,
            known,
            face,
            inner,
            about,
            tells,
            lips,
            skin * gain,
        )

    @cached_property
    def mouth(self) -> np.ndarray:
        """The lips and their rim, bool."""
        return widened(self.lips.astype(np.uint8), RIM) > 0

    def unlike(self) -> np.ndarray:
        """What is unlike the usual face, large and strongly enough, bool; beyond the face too, where it goes
        on there."""
        part = self._parts(self.different)
        if not part.any():
            return part
        # Free skin where the references are covered is no cover.
        alien, usually = (unlike_skin(one, self.skin) for one in (self.picture, self.usual))
        part = self._parts(np.where(~alien & usually, 0, self.different))
        if not part.any():
            return part
        # Beyond mouth and outline it goes on: a hand's arm, the greater part of a microphone. The neck behind
        # it has the colour of a hand, but is as usual.
        neck = (self.different < 1) & (self.spread < SURE) & ~(alien | usually)
        beyond = (self.different > 1) | ~(self.inner | neck)
        part = joined(part, beyond & like_nearest(self.picture, part))
        return part & (not self._is_mouth(part))

    def is_a_hint(self, part: np.ndarray) -> bool:
        """Whether enough is a little unlike the usual face, and a part bool that surely is leaves most of the
        lips free: before lips that are told covered a second look adds but chance."""
        unlike = cv2.blur(self.different, (3, 3))

        def hints(least: float, about: int) -> bool:
            wide = cv2.morphologyEx((unlike > least).astype(np.uint8), cv2.MORPH_OPEN, disc(about))
            return int(((wide > 0) & self.tells).sum()) >= HINTED

        return any(hints(*hint) for hint in HINTS) and not self.covers_lips(part)

    def confirmed(self, found: np.ndarray, surely: np.ndarray, perhaps: np.ndarray) -> np.ndarray:
        """Those joined parts of what else is found, bool, that are large enough before mouth and chin, some
        of it surely, and are not the mouth itself; and beside them what perhaps is and is thin: the other
        strands of the hair."""
        part = _enough(found, found & self.tells, surely)
        if part.any():
            strands = thin(found, THICK) | thin(perhaps, THICK)
            part |= _enough(strands, strands, strands)
        return part & (not self._is_mouth(part))

    def covers_lips(self, part: np.ndarray) -> bool:
        """Whether a part bool leaves no mouth to draw behind it."""
        mouth = self.mouth
        return bool((part & mouth).sum() > ON_LIPS * mouth.sum())

    def expected(self, found: np.ndarray) -> ExpectedFace:
        """The usual face in the light beside what is found, bool (256, 256)."""
        # The cover's own brightness is no light on the face behind it.
        known = self.known * (widened(found[self.within].astype(np.uint8), 2 * RIM) == 0)
        shading = _shading(self.picture, self.plain, known)[..., None]
        shaded = np.clip(self.plain * shading, 0, 255).astype(np.uint8)
        return ExpectedFace(self.within, shaded, self.face, self.face & (self.spread <= UNKNOWN // 2))

    def _parts(self, unlike: np.ndarray) -> np.ndarray:
        """The joined parts of what is unlike by 1 and more that are large and unlike enough where it tells;
        and those beside them that are elsewhere, as a caption's other letters are."""
        found, strong = (unlike > 1) & self.about, (unlike > STRONG) & self.about
        parts = _enough(found, found & self.tells, strong & self.tells)
        if not parts.any():
            return parts
        beside = widened(parts.astype(np.uint8), LETTERS) > 0
        return parts | (_enough(found, found, strong) & beside)

    def _is_mouth(self, part: np.ndarray) -> bool:
        """Whether a part lies around the lips, but for a few units, and leaves most of them free."""
        around = widened(self.lips.astype(np.uint8), AROUND) > 0
        free = (part & self.lips).sum() <= FREE_LIPS * self.lips.sum()
        return bool(free and (part & ~around).sum() < SMALLEST)


def _shading(picture: np.ndarray, usual: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Light and shadow (h, w) on a face's parts, as a factor."""
    size = (SHADING_UNITS, SHADING_UNITS)
    seen, expected = (cv2.blur(brightness(part) * face, size) for part in (picture, usual))
    return np.clip((seen + 0.5) / (expected + 0.5), *SHADES)


def _enough(found: np.ndarray, large: np.ndarray, strong: np.ndarray) -> np.ndarray:
    """The joined parts of what is found that share enough with either of two areas: all bool (h, w)."""
    count, numbers = cv2.connectedComponents(found.astype(np.uint8))
    kept = np.bincount(numbers[large], minlength=count) >= SMALLEST
    kept &= np.bincount(numbers[strong], minlength=count) >= SMALLEST_STRONG
    kept[0] = False
    return kept[numbers]
