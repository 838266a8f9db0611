"""What a person usually looks like at each place of the lower face, without what stands before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ...face.alignment import UNITS
from ...media.colour import Box
from ..colour import median
from ..square.areas import filled, widened
from ..square.raster import Triangulation
from ..square.warp import MeshWarp, sample
from .cover import RIM, continued
from .face_view import FaceView, box_of, mouth_and_chin
from .parts import largest, thin

UNKNOWN = 255  # the spread where no picture shows the face
FRAMES, FEWEST = 32, 4  # pictures that make the usual face; fewer can't
LEAST_SHOWN = 0.2  # of them that must show a place of it
LIP_EDGE = 1  # units about the lips' outline that have some of their red
DEEP = 10  # units from what is known of a face from which on its other half tells more


@dataclass(frozen=True, eq=False)
class UsualFace:
    """The median of pictures of a face, in the usual light and in one shape.

    picture: uint8 (256, 256, 4), colours and their spread, UNKNOWN where no picture shows the face; shape:
    float32 (N, 2) canonical units; mesh: of its landmarks.
    """

    picture: np.ndarray
    shape: np.ndarray
    mesh: Triangulation

    @classmethod
    def of(
        cls,
        views: Sequence[FaceView],
        covered: Sequence[np.ndarray],
        shape: np.ndarray,
        mesh: Triangulation,
        shadow: int,
    ) -> UsualFace:
        """The usual face of some views, at least `FEWEST`.

        covered: bool (256, 256), where something stands before each of them; shadow: how far that, and what
        is covered in most of them, changes what is about it, units.
        """
        box = box_of(mouth_and_chin(shape, mesh.layout))
        warp = MeshWarp(mesh, shape, UNITS, box)
        reach = min(2 * RIM, shadow)
        pairs = zip(views, covered, strict=True)
        pictures = np.stack([_warped(view, part, reach, warp) for view, part in pairs])
        picture = np.full((UNITS, UNITS, 4), UNKNOWN, np.uint8)
        picture[box[0] : box[2], box[1] : box[3]] = _median_and_spread(pictures, shadow)
        usual = cls(picture, shape, mesh)
        usual._complete(box, warp)
        return usual

    def in_shape(self, landmarks: np.ndarray, box: Box) -> np.ndarray:
        """The face with other landmarks (N, 2), canonical units: uint8 (h, w, 4) of a box of the square."""
        warp = MeshWarp(self.mesh, landmarks, UNITS, box)
        return sample(self.picture, warp.coordinates(self.shape))

    def _complete(self, box: Box, warp: MeshWarp) -> None:
        """Give what was never seen the look of the face's other half and, where neither was seen, of what is
        about it; warp: to the face's shape, of the box that holds the face."""
        part = self.picture[box[0] : box[2], box[1] : box[3]]
        unknown = part[..., 3] == UNKNOWN
        if unknown.all() or not unknown.any():
            return
        self._go_on(part, unknown, box)
        # Near to what is known nothing tells more than that.
        unknown &= ~thin(unknown, DEEP)
        if not unknown.any():
            return
        flipped = (self.shape * (-1, 1) + (UNITS, 0))[self.mesh.layout.mirror].astype(np.float32)
        other_half = np.ascontiguousarray(self.picture[:, ::-1, :3])
        mirrored = sample(other_half, warp.coordinates(flipped))
        part[..., :3] = continued(mirrored, part[..., :3], unknown)

    def _go_on(self, part: np.ndarray, unknown: np.ndarray, box: Box) -> None:
        """Fill what is unknown (h, w) of a part (h, w, 4) of the picture, that of a box, from what is about
        it: lips from lips and skin from skin, or a bar below a lip would have its red above it, and one over
        a lip the white of teeth."""
        layout, rows, columns = self.mesh.layout, slice(box[0], box[2]), slice(box[1], box[3])
        outer, inner = (filled(self.shape[ring]) for ring in (layout.lips_outer, layout.lips_inner))
        mouth = widened(outer, LIP_EDGE)[rows, columns] > 0
        lips = mouth & (widened(inner, LIP_EDGE)[rows, columns] == 0)
        colours = np.ascontiguousarray(part[..., :3])
        for where, source in ((mouth, lips), (~mouth, ~mouth)):
            known = source & ~unknown if (source & ~unknown).any() else ~unknown
            filling = cv2.inpaint(colours, (~known).astype(np.uint8), 3, cv2.INPAINT_NS)
            part[..., :3][unknown & where] = filling[unknown & where]


def _warped(view: FaceView, covered: np.ndarray, reach: int, warp: MeshWarp) -> np.ndarray:
    """A view on the pixels of a warp and in the usual light: float32 (h, w, 3), NaN where something bool
    (256, 256) covers the face, and so many units about that."""
    coordinates = warp.coordinates(view.landmarks)
    picture = sample(view.unit, coordinates) / view.gain
    if covered.any():
        hidden = widened(covered.astype(np.uint8), reach)
        picture[sample(255 * hidden, coordinates) > 64] = np.nan
    return picture


def _median_and_spread(pictures: np.ndarray, shadow: int) -> np.ndarray:
    """Median colours of pictures (F, h, w, 3) and the median difference from them: uint8 (h, w, 4).

    What is NaN in too many of them, and what is so many units near it, has the spread UNKNOWN.
    """
    shown = (~np.isnan(pictures[..., 0])).sum(0)
    # Beside what is always covered its shadow and its soft edge are seen: no usual face either.
    seldom = (shown < max(FEWEST, LEAST_SHOWN * len(pictures))).astype(np.uint8)
    unknown = widened(seldom, shadow) > 0
    pictures[:, unknown] = 0
    middle = np.nanmedian if np.isnan(pictures).any() else median
    usual = middle(pictures, axis=0)
    spread = middle(largest(np.abs(pictures - usual)), axis=0)
    packed = np.clip(np.dstack([usual, spread]), 0, 255).astype(np.uint8)
    packed[..., 3][unknown] = UNKNOWN
    return packed
