"""Captions: lines of letters before a face, with other words from one second to the next.

What is always there is found by its keeping its place (`find_overlay`); a caption does not, and the median of
the references takes it for the face. But a picture alone tells a line of letters: thin strokes of another
brightness than what is about them, so many side by side, and level in the frame, as no face, beard or cloth
has. Once a clip has shown some, their band in the frame is known, and single short words are found there too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from ...face.alignment import UNITS, apply, invert
from ...face.layout import LandmarkLayout
from ...media.colour import Box
from ..references.pool import even_sample
from ..references.references import References
from ..square.areas import filled, widened
from .overlay import STROKE
from .parts import largest, thin, unlike_skin

LOOKED_AT = 24  # references
CONTRAST, ABOUT = 60.0, 21  # levels by which a stroke differs from what is so many units about it
EDGE, EDGES = 40.0, 12  # levels within two units; in a row of a picture in which it is worth to look closer
APART = 13  # units from one letter or word to the next, at most
LOWEST, HIGHEST = 6, 60  # units, of a line
# How often the level middle of a line crosses a stroke's edge, in all and within its own height, and in all
# references together that have one of its colour at its level. Where it is known that there are captions, a
# word needs less, and one letter, or what teeth leave of a word, none where it has their very colour and so
# much of their height.
CROSSINGS, DENSITY, TOGETHER = 10, 2.5, 20
WORD, WORD_DENSITY = 4, 2.0
LETTER_HEIGHT = 0.4
# How wide, as a share of its height: a word is, and an I.
WIDE, SLIM = 0.5, 0.1
LEVEL = 0.7  # of a line's height that it may lie beside the known ones
LIPS = 2  # units about what is between the lips: teeth are strokes too
ABOVE = 24  # units above the lips
ALIKE, SAME = 45.0, 16.0  # levels that letters of one caption differ by, and those of one colour
# A plate: the share of a line's ground that is of one colour, within so many levels; so many lines high at
# most; so much of each of its rows and columns.
PLATE, PLAIN, ROWS, FILLED = 0.6, 14.0, 5, 0.7


@dataclass(frozen=True)
class Line:
    """A line of letters in a picture that is upright in the frame, canonical units.

    box: top, left, bottom, right; crossings: of strokes' edges by its middle; density: how many within its
    height; colour: float (3,), of light strokes.
    """

    box: Box
    crossings: float
    density: float
    colour: np.ndarray


@dataclass(frozen=True)
class Captions:
    """Where a clip's captions are, and in which colour.

    middles, heights: float (L,), frame px, of the lines that were seen; colours: float (L, 3), of their light
    strokes.
    """

    middles: np.ndarray
    heights: np.ndarray
    colours: np.ndarray
    layout: LandmarkLayout

    def on_crop(
        self, unit: np.ndarray, landmarks: np.ndarray, similarity: np.ndarray, skin: np.ndarray
    ) -> np.ndarray:
        """Where they are, bool (256, 256), in a crop uint8 (256, 256, 3) with landmarks (N, 2) in canonical
        units; similarity: float (2, 3), frame pixels to canonical units; skin: float (C, 3), colours."""
        upright = _Upright.of(unit, landmarks, similarity, self.layout)
        found = np.zeros(upright.picture.shape[:2], bool)
        for line in upright.lines(0, 0, SLIM):
            if self._is_caption(line, *upright.in_frame(line)):
                found |= upright.letters(line) | upright.plate(line, skin)
        return upright.back(found)

    def _is_caption(self, line: Line, middle: float, height: float) -> bool:
        """Whether a line is one of theirs, with its middle and height in frame px."""
        level = self._level(middle, height)
        # One that is a line by itself may have another colour, as the word that is said just then has.
        if line.crossings >= WORD and line.density >= WORD_DENSITY:
            level_alike = level & self._alike(line.colour, ALIKE)
            if level_alike.any() or (level.any() and line.crossings >= CROSSINGS):
                return True
        same = level & self._alike(line.colour, SAME) & (height >= LETTER_HEIGHT * self.heights)
        return bool(same.any())

    def _level(self, middle: float, height: float) -> np.ndarray:
        """Which of these lines, bool (L,), lie at the level of one."""
        return np.abs(self.middles - middle) < LEVEL * np.maximum(self.heights, height)

    def _alike(self, colour: np.ndarray, levels: float) -> np.ndarray:
        """Which of these lines, bool (L,), have a colour, within so many levels."""
        return largest(np.abs(self.colours - colour)) < levels


def find_captions(
    unit_crops: np.ndarray, references: References, similarity: np.ndarray, layout: LandmarkLayout
) -> Captions | None:
    """The captions of a clip, None where its references show none.

    Args:
        unit_crops: uint8 (K, 256, 256, 3), the references' crops at one sample a unit.
        similarity: float (K, 2, 3), frame pixels to canonical units, of the frames they were cut from.
    """
    seen, chosen = [], even_sample(np.arange(len(references)), LOOKED_AT)
    for row in chosen:
        upright = _Upright.of(unit_crops[row], references.landmarks[row], similarity[row], layout)
        lines = upright.lines(CROSSINGS, DENSITY, WIDE) if upright.has_edges() else []
        seen += [(*upright.in_frame(line), line.crossings, row, *line.colour) for line in lines]
    if not seen:
        return None
    middles, heights, crossings, rows, *colours = np.array(seen, np.float64).T
    found = Captions(middles, heights, np.column_stack(colours), layout)
    told = np.zeros(len(seen), bool)
    for number, (middle, height, *_) in enumerate(seen):
        alike = found._level(middle, height) & found._alike(found.colours[number], ALIKE)
        several = len(np.unique(rows[alike])) >= min(2, len(chosen))
        told[number] = several and crossings[alike].sum() >= TOGETHER
    return Captions(middles[told], heights[told], found.colours[told], layout) if told.any() else None


@dataclass(frozen=True, eq=False)
class _Upright:
    """A crop from a little above the lips down, turned so that what is level in the frame is level.

    picture: uint8 (h, w, 3); mouth: float (L, 2), the outline of what is between the lips, canonical units;
    matrix: float (2, 3), from the crop's pixel indices to these; similarity: float (2, 3), the crop's, frame
    pixels to canonical units.
    """

    picture: np.ndarray
    mouth: np.ndarray
    matrix: np.ndarray
    similarity: np.ndarray

    @classmethod
    def of(
        cls, unit: np.ndarray, landmarks: np.ndarray, similarity: np.ndarray, layout: LandmarkLayout
    ) -> _Upright:
        """Of a crop uint8 (256, 256, 3) with landmarks (N, 2) in canonical units."""
        cosine, sine = similarity[:, 0] / max(float(np.hypot(*similarity[:, 0])), 1e-6)
        turn = np.array([[cosine, sine], [-sine, cosine]])
        offset = (np.eye(2) - turn) @ np.full(2, (UNITS - 1) / 2)
        lips = landmarks[layout.lips_outer]
        top = int(np.clip((lips @ turn.T + offset)[:, 1].min() - ABOVE, 0, UNITS - HIGHEST))
        matrix = np.column_stack([turn, offset - (0, top)])
        picture = cv2.warpAffine(unit, matrix, (UNITS, UNITS - top), borderMode=cv2.BORDER_REPLICATE)
        return cls(picture, landmarks[layout.lips_inner], matrix, similarity)

    @cached_property
    def free(self) -> np.ndarray:
        """Where there are no teeth, bool (h, w)."""
        mouth = widened(filled(self.mouth), LIPS)
        return cv2.warpAffine(mouth, self.matrix, self.picture.shape[1::-1]) == 0

    @cached_property
    def contrast(self) -> np.ndarray:
        """By how much it differs from what is about each place, float32 (h, w, 3) levels."""
        return self.picture.astype(np.float32) - cv2.medianBlur(self.picture, ABOUT)

    @cached_property
    def strokes(self) -> np.ndarray:
        """What is thin and unlike what is about it, bool (h, w)."""
        # Each by itself: an outline makes a stroke three times as thick.
        lighter, darker = largest(self.contrast) > CONTRAST, largest(-self.contrast) > CONTRAST
        return thin(lighter, STROKE) | thin(darker, STROKE)

    def has_edges(self) -> bool:
        """Whether any row has as many as a line has; else nothing more need be looked at."""
        edges = largest(cv2.absdiff(self.picture[:, 2:], self.picture[:, :-2])) > EDGE
        runs = np.count_nonzero(edges[:, 1:] & ~edges[:, :-1], axis=1)
        return bool(runs.max() >= EDGES)

    def lines(self, crossings: float, density: float, wide: float) -> list[Line]:
        """The lines whose middle crosses so many edges of strokes, in all and within its height, and that are
        so wide as a share of it."""
        strokes = self.strokes & self.free
        # What teeth may hide of a line lies between two parts of it.
        words = _closed(strokes | _closed(strokes, UNITS // 2, 1) & ~self.free, APART, 1)
        count, numbers = cv2.connectedComponents(words.astype(np.uint8))
        found = []
        for number in range(1, count):
            own = strokes & (numbers == number)
            left, top, width, height = cv2.boundingRect(own.astype(np.uint8))
            if not (LOWEST <= height <= HIGHEST and width > wide * height):
                continue
            part = slice(top, top + height), slice(left, left + width)
            level = own[part][height // 4 : height - height // 4]
            crossed = float((level[:, 1:] != level[:, :-1]).sum(1).mean())
            light = own[part] & (self.contrast[part].mean(-1) > 0)
            # What goes on beyond the crop may be stripes of cloth.
            enough = crossings * (2 if top + height == len(strokes) else 1)
            seen = float(self.free[part].mean()) * width
            if crossed >= enough and crossed * height >= density * seen and light.any():
                colour = np.median(self.picture[part][light], axis=0)
                box = top, left, top + height, left + width
                found.append(Line(box, crossed, crossed * height / max(seen, 1e-6), colour))
        return found

    def in_frame(self, line: Line) -> tuple[float, float]:
        """The middle and the height of a line, frame px."""
        top, left, bottom, right = line.box
        back = cv2.invertAffineTransform(self.matrix)
        middle = back @ [(left + right - 1) / 2, (top + bottom - 1) / 2, 1] + 0.5
        to_frame = invert(self.similarity[None].astype(np.float64))
        scale = float(np.hypot(*self.similarity[:, 0]))
        return float(apply(to_frame, middle[None, None])[0, 0, 1]), (bottom - top) / scale

    def letters(self, line: Line) -> np.ndarray:
        """Where a line's letters are, with what is within them, bool (h, w): before the lips too."""
        top, left, bottom, right = line.box
        height = bottom - top
        within = np.zeros(self.strokes.shape, bool)
        within[top:bottom, max(left - APART, 0) : right + APART] = True
        side = 2 * max(height // 6, 1) + 1
        return _closed(self.strokes & within, side, side)

    def plate(self, line: Line, skin: np.ndarray) -> np.ndarray:
        """The plain box that a line stands on, bool (h, w): none where its ground is skin, or goes on."""
        top, left, bottom, right = line.box
        box, height = (slice(top, bottom), slice(left, right)), bottom - top
        strokes = widened(self.strokes.astype(np.uint8), 1) > 0
        plate, own = np.zeros(strokes.shape, bool), self.picture[box][~strokes[box]]
        if len(own) < LOWEST**2:
            return plate
        colour = np.median(own, axis=0)
        plain = largest(np.abs(self.picture - colour.astype(np.float32))) < PLAIN
        if plain[box][~strokes[box]].mean() < PLATE or not unlike_skin(colour[None, None], skin).all():
            return plate
        rows = _run((plain | strokes)[:, box[1]].mean(1) > FILLED, top, bottom)
        columns = _run((plain | strokes)[rows].mean(0) > FILLED, left, right)
        if rows.stop - rows.start <= ROWS * height:
            plate[rows, columns] = True
        return plate

    def back(self, found: np.ndarray) -> np.ndarray:
        """A part (h, w) bool on the crop, bool (256, 256)."""
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(255 * found.astype(np.uint8), self.matrix, (UNITS, UNITS), flags=flags) > 100


def _closed(part: np.ndarray, width: int, height: int) -> np.ndarray:
    """A part (h, w) bool and its gaps that are so many units wide and high."""
    return cv2.morphologyEx(part.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((height, width), np.uint8)) > 0


def _run(wanted: np.ndarray, first: int, end: int) -> slice:
    """From `first` to `end`, and as far as what is beside it (n,) bool is wanted."""
    before, behind = np.flatnonzero(~wanted[:first]), np.flatnonzero(~wanted[end:])
    return slice(
        int(before[-1]) + 1 if len(before) else 0, end + int(behind[0]) if len(behind) else len(wanted)
    )
