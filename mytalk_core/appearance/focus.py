"""Focus: lips that are drawn anew are as blurred as the frame around them.

References are chosen for their sharpness; in a frame that the camera's focus or a movement has blurred they
would stand out. How blurred a face is, is told by its parts, the eyes with their brows, nose and mouth: by
how steep their finest slopes are beside coarser ones, and how steep the references' are when they are
blurred. The sharpest part counts, since a blink, a smile or a hand changes one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout
from .references.pool import even_sample
from .references.references import References
from .square.window import BLOCK, Window

# Standard deviations, canonical units, by which slopes are smoothed: fine ones, against noise, and coarse
# ones; and by which references are blurred to see what becomes of their slopes.
FINE, COARSE = 0.7, 3.0
BLURS = (0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
LEAST = 0.7  # units of blur that nobody sees, and that noise is taken for
NOISE = 0.05  # of the mean square of slopes, levels a sample
# A part tells nothing where two units of blur change the logarithm of its steepness by less than this, or
# where its coarse slopes are a smaller share of the usual.
TELLING, SHOWN = 0.5, 0.05
UNSEEN = -1e3  # the logarithm of nothing
ASKED = 8  # references at most that are blurred
WAYS = ((1, 1), (1, 0), (0, 1))  # along both axes, as focus does, and as movements do
PARTS, MOUTH = 5, 4
FEWEST = 2  # parts beside the mouth that must tell of a blur
# How far they reach, units: beyond the eyes' corners, above the eyes, where the brows are, below them, and
# beyond the lips; and in distances of the eyes, how far below these the nose begins, how far it reaches to
# either side, and how far the whole of them does.
CORNERS, BROWS, LIDS, LIPS = 6, 18, 3, 4
BRIDGE, NOSTRILS, CHEEKS = 0.35, 0.45, 0.8


@dataclass(frozen=True, eq=False)
class FaceParts:
    """The parts of a face in a crop.

    grey: float32 (h, w), what holds them, a sample a unit; whole: bool (PARTS,), which of them lie inside the
    frame; boxes: int (P, 4), where those do in `grey`: top, left, bottom, right.
    """

    grey: np.ndarray
    whole: np.ndarray
    boxes: np.ndarray

    @classmethod
    def of(
        cls, crop: np.ndarray, landmarks: np.ndarray, seen: np.ndarray | None, layout: LandmarkLayout
    ) -> FaceParts:
        """Those of a crop, see `UsualFocus.missing`."""
        boxes, reach = _boxes(landmarks, layout), round(3 * COARSE)
        low = np.clip((boxes.min(0)[:2] - reach) // BLOCK * BLOCK, 0, UNITS - BLOCK)
        high = np.clip(-(-(boxes.max(0)[2:] + reach) // BLOCK) * BLOCK, low + BLOCK, UNITS)
        window = Window(*low.tolist(), *high.tolist())
        part = cv2.resize(window.cut(crop), window.shape[::-1], interpolation=cv2.INTER_AREA)
        first, last = boxes[:, :2], boxes[:, 2:]
        whole = np.all((first >= 0) & (last <= UNITS) & (first < last), axis=1)
        if seen is not None:
            whole &= np.array([seen[y0:y1, x0:x1].all() for y0, x0, y1, x1 in boxes.clip(0).tolist()])
        grey = cv2.cvtColor(part, cv2.COLOR_RGB2GRAY).astype(np.float32)
        return cls(grey, whole, boxes[whole] - np.tile(low, 2))

    def slopes(self, blur: tuple[float, float] = (0, 0)) -> np.ndarray:
        """Of each part along x and y, blurred by so many units: the logarithm of its fine slopes' mean square
        in that of its coarse ones, and of the latter, float (2, PARTS, 2); UNSEEN where it is not whole."""
        grey = self.grey
        if max(blur) > 0:
            x, y = (kernel(sigma**2, UNITS) for sigma in blur)
            grey = cv2.sepFilter2D(grey, -1, x, y)
        smooth = [cv2.GaussianBlur(grey, (0, 0), sigma) for sigma in (FINE, COARSE)]
        slopes = [cv2.Sobel(one, -1, *axis, ksize=1) for one in smooth for axis in ((1, 0), (0, 1))]
        sums = cv2.integral(np.square(cv2.merge(slopes)))
        top, left, bottom, right = self.boxes.T
        sums = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        means = sums / ((bottom - top) * (right - left))[:, None]
        fine, coarse = np.log(means + NOISE).reshape(-1, 2, 2).swapaxes(0, 1)
        found = np.full((2, PARTS, 2), UNSEEN)
        found[:, self.whole] = fine - coarse, coarse
        return found


class UsualFocus:
    """How sharp a pool's references are, and frames beside them."""

    def __init__(self, references: References, layout: LandmarkLayout) -> None:
        self.layout = layout
        seen = [None] * len(references) if references.own is None else references.own
        given = zip(references.crops, references.landmarks, seen, strict=True)
        faces = [FaceParts.of(*one, layout) for one in given]
        asked = [faces[index] for index in even_sample(np.arange(len(faces)), ASKED)]
        ways = [(x * blur, y * blur) for x, y in WAYS for blur in BLURS]
        slopes = np.median([[face.slopes(way) for way in ways] for face in asked], axis=0)
        slopes = slopes.reshape(len(WAYS), len(BLURS), 2, PARTS, 2)
        # Of each way, blur, part and axis; more blur is no steeper, as noise may have it.
        self._usual = np.minimum.accumulate(slopes[:, :, 0], axis=1)
        telling = self._usual[0, 0] - self._usual[0, BLURS.index(2)] >= TELLING
        self._least_coarse = np.where(telling, slopes[0, 0, 1] + np.log(SHOWN), np.inf)
        self._variances = np.array([self._variance(face) for face in faces])

    def missing(
        self,
        crop: np.ndarray,
        landmarks: np.ndarray,
        seen: np.ndarray | None,
        chosen: np.ndarray,
        weights: np.ndarray,
    ) -> np.ndarray:
        """By how much more a face is blurred than references (R,) of the pool, with weights of sum 1, are.

        crop: uint8 (S, S, 3); landmarks: (N, 2), canonical units; seen: bool (256, 256), which units lie
        inside the frame, all where None. Float (2,): the variance along x and y, canonical units squared; 0
        where that is not seen.
        """
        own = self._variance(FaceParts.of(crop, landmarks, seen, self.layout))
        return (own - weights @ self._variances[chosen] - LEAST**2).clip(0)

    def _variance(self, face: FaceParts) -> np.ndarray:
        """By what variance (2,) a face is blurred beside the usual one."""
        steep, coarse = face.slopes()
        tells = coarse >= self._least_coarse
        # A mouth may just be shut.
        known = tells[:MOUTH].sum(0) >= FEWEST

        def told(way: int, axis: int) -> float:
            own, usual = steep[tells[:, axis], axis], self._usual[way][:, tells[:, axis], axis].T
            if (own >= usual[:, 0]).any():
                return 0.0
            pairs, variances = zip(own, usual, strict=True), np.square(BLURS)
            return min(float(np.interp(-one, -curve, variances)) for one, curve in pairs)

        both = np.array([told(0, axis) if known[axis] else 0.0 for axis in (0, 1)])
        more = int(both.argmax())
        if both[more] > 0:
            # What a movement blurs along one axis alone stays steeper than what is blurred along both; little
            # of it may be noise.
            alone = (1 - both[1 - more] / both[more]) * np.clip(both[more] / (2 * LEAST**2) - 1, 0, 1)
            both[more] += alone * (told(1 + more, more) - both[more])
        return both


def _boxes(landmarks: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """Where the parts are: int (PARTS, 4), top, left, bottom, right, units. They are both eyes with their
    brows, the nose, all of these and the mouth."""
    outlines = (*layout.eyes, layout.lips_outer)
    (x0, y0), (x1, y1), low = (landmarks[own, :2].min(0) for own in outlines)
    (x2, y2), (x3, y3), high = (landmarks[own, :2].max(0) for own in outlines)
    x, y, apart = (x0 + x1 + x2 + x3) / 4, (y0 + y1 + y2 + y3) / 4, abs(x0 + x2 - x1 - x3) / 2
    boxes = [
        (y0 - BROWS, x0 - CORNERS, y2 + LIDS, x2 + CORNERS),
        (y1 - BROWS, x1 - CORNERS, y3 + LIDS, x3 + CORNERS),
        (y + BRIDGE * apart, x - NOSTRILS * apart, low[1] - LIPS, x + NOSTRILS * apart),
        (y - BROWS, x - CHEEKS * apart, low[1] - LIPS, x + CHEEKS * apart),
        (low[1] - LIPS, low[0] - LIPS, high[1] + LIPS, high[0] + LIPS),
    ]
    return np.rint(boxes).astype(int)


def softened(picture: np.ndarray, variance: np.ndarray, size: int) -> np.ndarray:
    """A part float32 (h, w, 3) of a crop of `size`, blurred by a variance (2,) along x and y, canonical units
    squared; itself where that is 0."""
    if not variance.any():
        return picture
    x, y = (kernel(value, size) for value in variance)
    return cv2.sepFilter2D(picture, -1, x, y, borderType=cv2.BORDER_REPLICATE)


def kernel(variance: float, size: int) -> np.ndarray:
    """What blurs pixels of a crop of `size` along an axis by a variance in canonical units squared: float32
    (odd,), sum 1."""
    sigma = max(np.sqrt(variance) * size / UNITS, 1e-3)
    return cv2.getGaussianKernel(2 * int(np.ceil(3 * sigma)) + 1, sigma, cv2.CV_32F)[:, 0]
