"""What is held before a face and goes its own way: a microphone in a hand.

It keeps its place neither in the picture nor on the face, and the median of the references smears it. But it
looks the same wherever it goes: found in one picture, it is found in the others, and on a grid that follows
it, it is what stands still while the face moves behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ...face.alignment import UNITS
from ..references.pool import even_sample
from ..square.areas import disc, widened
from .grid import FaceGrid, between
from .overlay import no_mouths, standing_still
from .parts import joined, thickness, unlike_skin

LOOKED_AT = 5  # pictures, of which two are taken to begin with
GAPS, THIN = 3, 2  # half the width, units, of gaps that are its own, and of what is no thing that is held
SMALLEST = 60  # square units of it that lie before the lower face, at least
WHOLE = 0.7  # of what is seen of it in one picture, the least that must stand still
PEN = 4  # half its width, units
EDGE = 4  # units within the face's outline that may be what is behind it
ABOUT = 5  # units about it that show its outline
REACH = 40  # units that it may have moved, either way
SURROUNDINGS = 15.0  # units about it whose landmarks tell how the face moves there
# It is taken to move with the face, unless it fits better elsewhere: levels squared for each unit squared
# away, and up to how many of these.
AWAY, FAR = 1.0, 400.0
# In most pictures it fits so many times better where it has gone than on the face's way or so many units
# beside it, where a chin's own is, beside so much that is noise: microphones 3.5 and more, beards, hair,
# shadows and collars up to 3.3.
MOST, OWN, WITH, NOISE = 0.9, 3.4, 2, 25.0
# Nor is it the face's own where it goes as the face does, only so many times as far, as the end of a nose or
# of a long beard does: there those fit up to 1.1 times worse, microphones 1.4 and more.
FARTHER, SWINGING = np.arange(0.7, 1.55, 0.1), 1.25
LIKE = 2  # times as unlike itself as in most of the pictures, it may be something else


@dataclass(frozen=True, eq=False)
class HeldObject:
    """A thing before the face that moves by itself.

    matte: bool (h, w), on a grid of about one sample a unit; to_grid: float (2, 3), frame pixels to its
    continuous coordinates where it has not moved; template: what it looks like; likeness: mean square levels
    from that up to which it is seen.
    """

    matte: np.ndarray
    to_grid: np.ndarray
    template: Template
    likeness: float

    def on_crop(self, unit: np.ndarray, similarity: np.ndarray) -> np.ndarray:
        """The part (256, 256) bool of a crop uint8 (256, 256, 3) of a frame with that similarity (2, 3)."""
        corner = np.column_stack([np.zeros((2, 2)), self.template.corner - REACH])
        height, width = np.add(self.template.picture.shape[:2], 2 * REACH).tolist()
        flags, edge = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
        matrix = between(self.to_grid - corner, similarity)
        wide = cv2.warpAffine(unit, matrix, (width, height), flags=flags, borderMode=edge)
        path, unlike = self.template.locate(wide)
        if unlike > self.likeness:
            return np.zeros((UNITS, UNITS), bool)
        there = self.to_grid - np.column_stack([np.zeros((2, 2)), path])
        matte, matrix = 255 * self.matte.astype(np.uint8), between(similarity, there)
        return cv2.warpAffine(matte, matrix, (UNITS, UNITS), flags=flags) > 64


@dataclass(frozen=True, eq=False)
class Template:
    """What something looks like.

    picture: uint8 (h, w, 3), an even number of rows and columns; part: float32 (h, w), 1 where it and its
    outline are; corner: int (2,), x and y of the picture's first sample on the grid.
    """

    picture: np.ndarray
    part: np.ndarray
    corner: np.ndarray

    @staticmethod
    def of(picture: np.ndarray, part: np.ndarray) -> Template:
        """Of a part bool (h, w) of a picture uint8 (h, w, 3)."""
        whole = widened(part.astype(np.uint8), ABOUT)
        left, top, width, height = cv2.boundingRect(whole)
        box = np.s_[top : top + height // 2 * 2, left : left + width // 2 * 2]
        return Template(picture[box], whole[box].astype(np.float32), np.array([left, top]))

    def locate(self, wide: np.ndarray, expected: np.ndarray | None = None) -> tuple[np.ndarray, float]:
        """How far it has moved (2,), units, in a picture uint8 (h + 2 REACH, w + 2 REACH, 3) that shows so
        much about its place; and how unlike itself it is there, mean square levels.

        expected: (2,), how far it has where nothing speaks against that.
        """
        both = [
            cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            for one in (wide, self.picture)
        ]
        unlike = _unlike(both[0], both[1], self.part[::2, ::2])
        if expected is not None:
            steps = 2 * np.arange(-(REACH // 2), REACH // 2 + 1)
            away = np.square(steps - expected[0]) + np.square(steps - expected[1])[:, None]
            unlike = unlike + AWAY * np.minimum(away, FAR)
        # At all samples only where it fits at half of them.
        top, left = (int(np.clip(2 * at - 2, 0, 2 * REACH - 4)) for at in _lowest(unlike))
        height, width = self.part.shape
        unlike = _unlike(wide[top : top + height + 4, left : left + width + 4], self.picture, self.part)
        row, column = _lowest(unlike)
        path = np.array(
            [left + column + _vertex(unlike[row], column), top + row + _vertex(unlike[:, column], row)]
        )
        return path - REACH, float(unlike[row, column])

    def difference_near(self, wide: np.ndarray, path: np.ndarray) -> float:
        """How unlike itself it is, at least, where it would be if it had moved about so far (2,), see
        `locate`."""
        left, top = np.clip(np.rint(path).astype(int) + REACH - WITH, 0, 2 * (REACH - WITH))
        height, width = np.add(self.part.shape, 2 * WITH)
        near = wide[top : top + height, left : left + width]
        return float(_unlike(near, self.picture, self.part).min())

    def search_area(self, picture: np.ndarray) -> np.ndarray:
        """A picture (h, w, 3) on the grid, with so much room about its place as `locate` wants."""
        left, top = self.corner
        height, width = self.part.shape
        room = cv2.copyMakeBorder(picture, *(REACH,) * 4, cv2.BORDER_REPLICATE)
        return room[top : top + height + 2 * REACH, left : left + width + 2 * REACH]


def find_held_objects(faces: FaceGrid, skin: np.ndarray, known: np.ndarray | None) -> list[HeldObject]:
    """What goes its own way before faces on a grid.

    skin: float (C, 3), colours of the person's; known: bool (h, w), what stands still there, None where
    nothing does.
    """
    found: list[HeldObject] = []
    for seed, before in _showing(faces, skin):
        taken = np.zeros(before.shape, bool) if known is None else known
        for part in _candidates(faces, seed, before):
            if 2 * (part & taken).sum() > part.sum():
                continue
            thing = _held(faces, seed, part, skin)
            if thing is not None:
                found.append(thing)
                taken = taken | thing.matte
        if found:
            break
    return found


def _held(faces: FaceGrid, seed: int, part: np.ndarray, skin: np.ndarray) -> HeldObject | None:
    """The thing that a part bool (h, w) of one of the pictures belongs to, if it goes its own way."""
    with_face = _path_of_face(faces.points, part, seed)
    template, path, unlike = _followed(faces, part, seed, with_face)
    alone = np.quantile(unlike, MOST) + NOISE
    areas = [template.search_area(picture) for picture in faces.pictures]
    if _difference_along(template, areas, with_face) + NOISE < OWN * alone:
        return None
    swings = (with_face - np.median(with_face, axis=0)) * FARTHER[:, None, None]
    swings += np.median(path - swings, axis=1, keepdims=True)
    if min(_difference_along(template, areas, swing) for swing in swings) + NOISE < SWINGING * alone:
        return None
    following = faces.following(path)
    matte = _standing_still(following, part, skin)
    before = matte & following.on_face
    if not before.any():
        return None
    # The whole of it before the face is not mistaken for another place, as a part of it may be.
    template, path, unlike = _followed(faces, before, seed, path)
    matte = _standing_still(faces.following(path), before, skin)
    # Where too much of it is like skin, what each picture has otherwise than usual tells more; of what is as
    # thin as a pen the network does.
    if (matte & part).sum() < WHOLE * part.sum() or thickness(before) <= PEN:
        return None
    return HeldObject(matte, faces.to_grid, template, LIKE * float(np.quantile(unlike, MOST)))


def _showing(faces: FaceGrid, skin: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Two pictures that show what is no skin before the face, bool (h, w), but for the lips: one that shows
    much of it, and a usual one."""
    shown = []
    for number in even_sample(np.arange(len(faces.pictures)), LOOKED_AT).tolist():
        face = cv2.erode(faces.inside[number].astype(np.uint8), disc(EDGE)) > 0
        before = unlike_skin(faces.pictures[number], skin) & face & ~faces.on_lips[number]
        shown.append((number, before))
    shown.sort(key=lambda one: int(one[1].sum()))
    return [shown[-2], shown[len(shown) // 2]]


def _candidates(faces: FaceGrid, seed: int, before: np.ndarray) -> list[np.ndarray]:
    """The parts, bool (h, w), of what is before the face in one of the pictures that lie before the lower
    face; what has a colour that no face has is none of the beard beside it."""
    hull = cv2.convexHull(faces.points[seed, faces.lower].astype(np.float32)).round().astype(np.int32)
    below = cv2.fillConvexPoly(np.zeros(before.shape, np.uint8), hull, 1) > 0
    vivid, parts = no_mouths(faces.pictures[seed]), []
    for own in (vivid, ~vivid):
        solid = cv2.morphologyEx((before & own).astype(np.uint8), cv2.MORPH_OPEN, disc(THIN))
        count, numbers = cv2.connectedComponents(solid)
        large = np.bincount(numbers[below], minlength=count) >= SMALLEST
        parts += [numbers == number for number in range(1, count) if large[number]]
    return parts


def _path_of_face(points: np.ndarray, part: np.ndarray, seed: int) -> np.ndarray:
    """How far the face has moved (F, 2) about a part bool (h, w) of one of the pictures, from its landmarks
    (F, N, 2)."""
    middle = np.array(np.nonzero(part)).mean(1)[::-1]
    near = np.exp(-np.square(points[seed] - middle).sum(-1) / (2 * SURROUNDINGS**2)) + 1e-9
    return np.einsum("fnc,n->fc", points - points[seed], near / near.sum())


def _followed(
    faces: FaceGrid, part: np.ndarray, seed: int, expected: np.ndarray
) -> tuple[Template, np.ndarray, np.ndarray]:
    """What a part bool (h, w) of one of the pictures usually looks like, how far it has moved in each of them
    (F, 2), and how unlike itself it is there (F,); expected: (F, 2), see `Template.locate`."""
    template = Template.of(faces.pictures[seed], part)
    path, _ = _located(template, faces.pictures, expected)
    template = replace(template, picture=_usual(template, faces.following(path)))
    return template, *_located(template, faces.pictures, expected)


def _located(template: Template, pictures: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far a template has moved (F, 2) in pictures (F, h, w, 3) on the grid, and how unlike itself it is
    there (F,)."""
    pairs = zip(pictures, expected, strict=True)
    path, unlike = zip(
        *(template.locate(template.search_area(picture), one) for picture, one in pairs), strict=True
    )
    return np.array(path), np.array(unlike)


def _difference_along(template: Template, areas: Sequence[np.ndarray], path: np.ndarray) -> float:
    """How unlike itself a template is in most pictures' search areas, near a path (F, 2) that it may have
    gone."""
    pairs = zip(areas, path, strict=True)
    return float(np.median([template.difference_near(*pair) for pair in pairs]))


def _usual(template: Template, following: FaceGrid) -> np.ndarray:
    """What a template usually is in pictures that follow it, uint8 (h, w, 3)."""
    (left, top), (height, width) = template.corner, template.part.shape
    there = following.pictures[:, top : top + height, left : left + width]
    usual: np.ndarray = np.rint(np.median(there, axis=0)).astype(np.uint8)
    return usual


def _standing_still(following: FaceGrid, part: np.ndarray, skin: np.ndarray) -> np.ndarray:
    """What stands still on a grid that follows a part bool (h, w), and is joined to it: bool (h, w), without
    gaps and holes, since what is printed on a thing is its own."""
    matte = standing_still(following, skin, widened(part.astype(np.uint8), ABOUT) > 0)
    closed = cv2.morphologyEx(matte.astype(np.uint8), cv2.MORPH_CLOSE, disc(GAPS)) > 0
    closed = joined(closed & part, closed)
    outlines, _ = cv2.findContours(closed.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(closed.astype(np.uint8), outlines, -1, 1, cv2.FILLED) > 0


def _unlike(wide: np.ndarray, picture: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The mean square difference of a part float32 (h, w) of a picture uint8 (h, w, 3) from what a wider one
    shows at each place: float (H - h + 1, W - w + 1)."""
    weights = cv2.merge([part] * 3)
    sums = cv2.matchTemplate(wide, picture, cv2.TM_SQDIFF, mask=weights)
    return sums.clip(0) / weights.sum()


def _lowest(values: np.ndarray) -> tuple[int, int]:
    """Row and column of the lowest of values (h, w)."""
    row, column = np.unravel_index(values.argmin(), values.shape)
    return int(row), int(column)


def _vertex(values: np.ndarray, at: int) -> float:
    """How far beside the lowest of some values (n,) a parabola through it and its neighbours is lowest."""
    if not 0 < at < len(values) - 1:
        return 0.0
    before, here, after = values[at - 1 : at + 2].tolist()
    bend = before - 2 * here + after
    return (before - after) / (2 * bend) if bend > 0 else 0.0
