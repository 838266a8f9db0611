"""A fixed triangulation of the square and its rasterisation: which triangle covers which pixel.

The face itself is the layout's own mesh, whose triangles span the open mouth between the inner lips. Around
it a Delaunay triangulation of the face's outline and a ring of fixed border points carries the warp out
beyond the square's edge. Landmarks are in canonical units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import cv2
import numpy as np
from torch import Tensor

from ...face.alignment import UNITS
from ...face.layout import LandmarkLayout
from ...media.colour import Box

Whole = TypeVar("Whole", np.ndarray, Tensor)

MARGIN = 48.0  # units from the square's edge out to the border points
SUBPIXELS = 32  # steps a pixel: in whole numbers every device finds the same pixels


@dataclass(frozen=True)
class Triangulation:
    """Triangles over N landmarks followed by M border points.

    triangles: int32 (F, 3); border: float32 (M, 2) canonical units; layer: int8 (F,), what is drawn over
    what: 0 around and under the face, 1 the mouth's interior, 2 the face. layout: of the landmarks.
    """

    triangles: np.ndarray
    border: np.ndarray
    layer: np.ndarray
    layout: LandmarkLayout

    def vertices(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (..., N, 2), lips uncrossed, and the border points: (..., N + M, 2) float32."""
        landmarks = uncrossed(landmarks, self.layout)
        border = np.broadcast_to(self.border, (*landmarks.shape[:-2], *self.border.shape))
        return np.concatenate([landmarks, border], axis=-2)


def triangulate(layout: LandmarkLayout) -> Triangulation:
    """The fixed triangulation of a layout: the same for every person, frame and size."""
    steps = np.linspace(-MARGIN, UNITS + MARGIN, 6)
    low, high = np.full(5, steps[0]), np.full(5, steps[-1])
    border = np.concatenate(
        [
            np.stack([steps[:-1], low], 1),
            np.stack([high, steps[:-1]], 1),
            np.stack([steps[:0:-1], high], 1),
            np.stack([low, steps[:0:-1]], 1),
        ]
    ).astype(np.float32)
    vertices = np.concatenate([layout.template[:, :2], border]).astype(np.float32)
    chosen = np.concatenate([layout.oval, layout.points + np.arange(len(border))])
    outside = chosen[_delaunay(vertices[chosen])]
    triangles = np.concatenate([outside, layout.triangles])
    flipped = signed_area(vertices, triangles) < 0
    triangles[flipped] = triangles[flipped][:, ::-1]
    # The interior lies under the lips: where they touch or cross, no sliver of it may show between them.
    layer = np.full(len(triangles), 2, np.int8)
    layer[np.isin(triangles, layout.lips_inner).all(1)] = 1
    layer[: len(outside)] = 0
    return Triangulation(triangles.astype(np.int32), border, layer, layout)


def _delaunay(points: np.ndarray) -> np.ndarray:
    """Delaunay triangles (F, 3) of points (V, 2)."""
    subdivision = cv2.Subdiv2D((-4 * UNITS, -4 * UNITS, 8 * UNITS, 8 * UNITS))
    for point in points:
        subdivision.insert((float(point[0]), float(point[1])))
    corners = np.asarray(subdivision.getTriangleList()).reshape(-1, 2)
    # The list holds coordinates, those of OpenCV's own outer vertices among them: keep what lies on a point.
    distance = ((corners[:, None] - points[None]) ** 2).sum(-1)
    known = (distance.min(1) < 1e-2).reshape(-1, 3).all(1)
    return distance.argmin(1).reshape(-1, 3)[known]


def uncrossed(landmarks: np.ndarray, layout: LandmarkLayout) -> np.ndarray:
    """Landmarks (..., N, 2) whose inner lips touch where they crossed, as closed ones are detected."""
    half = len(layout.lips_inner) // 2
    lower, upper = layout.lips_inner[1:half], layout.lips_inner[:half:-1]
    landmarks = np.array(landmarks, np.float32)
    below, above = landmarks[..., lower, :], landmarks[..., upper, :]
    crossed = below[..., 1] < above[..., 1]
    middle = 0.5 * (below[..., 1] + above[..., 1])
    landmarks[..., lower, 1] = np.where(crossed, middle, below[..., 1])
    landmarks[..., upper, 1] = np.where(crossed, middle, above[..., 1])
    return landmarks


def signed_area(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Twice the signed area (..., F) of each triangle over vertices (..., V, 2)."""
    a, b, c = (np.take(vertices, corner, axis=-2) for corner in triangles.T)
    along, down = b - a, c - a
    area: np.ndarray = along[..., 0] * down[..., 1] - along[..., 1] * down[..., 0]
    return area


def draw_triangles(vertices: np.ndarray, triangulation: Triangulation, window: Box, size: int) -> np.ndarray:
    """The triangle in which the middle of each pixel of a window of the crop lies.

    Those around the face are drawn first, then folded ones, so that one facing the viewer wins where there
    is one. Two that share an edge share no pixel and leave none out.

    Args:
        vertices: float (V, 2) canonical units, border points included.
        window: (top, left, bottom, right) in pixels of the crop.
        size: side of the crop in pixels.

    Returns:
        int32 (bottom - top, right - left) of triangle numbers.
    """
    top, left, bottom, right = window
    height, width = bottom - top, right - left
    x, y = steps(vertices, triangulation, np.array([left, top]), size)
    first, count = covered_rows(y, height)
    near = np.flatnonzero((count > 0) & (x.max(1) >= 0) & (x.min(1) <= SUBPIXELS * width))
    near = near[np.argsort(drawing_order(vertices, triangulation)[near], kind="stable")]
    x, y, first, count = x[near], y[near], first[near], count[near]
    downwards = np.argsort(y, axis=1)
    x, y = (np.take_along_axis(axis, downwards, axis=1).ravel() for axis in (x, y))
    # Of each row of each triangle: the pixels from where it enters to where it leaves.
    which = np.repeat(np.arange(len(near)), count)
    row = np.arange(len(which)) + (first - count.cumsum() + count)[which]
    top_corner, middle = 3 * which, 3 * which + 1
    bent = top_corner + (SUBPIXELS * row >= y[middle])
    ends = [
        crossing(x[upper], y[upper], x[lower], y[lower], row).clip(0, width)
        for upper, lower in ((top_corner, top_corner + 2), (bent, bent + 1))
    ]
    begin = np.minimum(*ends)
    length = np.maximum(*ends) - begin
    last = length.cumsum()
    pixels = np.arange(length.sum()) + np.repeat(row * width + begin - last + length, length)
    # Of a pixel that is named twice NumPy keeps what is written last.
    drawn = np.zeros(height * width, np.int32)
    drawn[pixels] = np.repeat(near[which], length)
    return drawn.reshape(height, width)


def steps(vertices: np.ndarray, triangulation: Triangulation, corner: np.ndarray, size: int) -> np.ndarray:
    """The triangles' corners, x and y, over vertices (..., V, 2) in SUBPIXELS of a pixel from the middle of
    the pixel (x, y) `corner` (..., 2) of a crop of `size`: int64 (2, ..., F, 3)."""
    from_origin = np.rint(vertices * (SUBPIXELS * size / UNITS) - SUBPIXELS / 2).astype(np.int64)
    whole = from_origin - SUBPIXELS * corner[..., None, :]
    return np.stack([np.take(whole[..., axis], triangulation.triangles, axis=-1) for axis in (0, 1)])


def covered_rows(y: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Of triangles with corners y (..., 3), see `steps`, the first row of `height` whose middle they reach,
    and how many: (...) each."""
    first, behind = ((-(-end // SUBPIXELS)).clip(0, height) for end in (y.min(-1), y.max(-1)))
    return first, behind - first


def crossing(upper_x: Whole, upper_y: Whole, lower_x: Whole, lower_y: Whole, row: Whole) -> Whole:
    """The first pixel (N,) of a row whose middle is not left of an edge, by its ends, see `steps`; of arrays
    or tensors."""
    rise, down = lower_y - upper_y, SUBPIXELS * row - upper_y
    return -(-(upper_x * rise + (lower_x - upper_x) * down) // (SUBPIXELS * rise))


def drawing_order(vertices: np.ndarray, triangulation: Triangulation) -> np.ndarray:
    """What is drawn over what: (..., F), larger numbers over smaller ones, over vertices (..., V, 2)."""
    order: np.ndarray = 2 * triangulation.layer + (signed_area(vertices, triangulation.triangles) > 0)
    return order


def edge_inverses(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """The inverse (..., F, 2, 2) of each triangle's two edges over vertices (..., V, 2).

    A triangle without area is widened a little instead of dividing by nothing.
    """
    a, b, c = (np.take(vertices, corner, axis=-2).astype(np.float64) for corner in triangles.T)
    u, v = b - a, c - a
    area = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    area = np.where(np.abs(area) < 1e-2, np.where(area < 0, -1e-2, 1e-2), area)
    entries = np.stack([v[..., 1], -v[..., 0], -u[..., 1], u[..., 0]], -1)
    inverses: np.ndarray = entries.reshape(*area.shape, 2, 2) / area[..., None, None]
    return inverses


def triangle_affines(
    from_vertices: np.ndarray, from_inverses: np.ndarray, to_vertices: np.ndarray, triangles: np.ndarray
) -> np.ndarray:
    """The affine maps (..., F, 2, 3) of each triangle from one set of vertices (V, 2) to others (..., V, 2);
    or from several sets (..., V, 2), each to its own.

    from_inverses: what `edge_inverses` gives for from_vertices.
    """
    first = triangles[:, 0]
    origin_x, origin_y = (np.take(from_vertices[..., axis], first, axis=-1) for axis in (0, 1))
    # Written out: NumPy's product of many small matrices takes several times as long.
    (x_u, y_u), (x_v, y_v) = ([from_inverses[..., row, axis] for axis in (0, 1)] for row in (0, 1))
    affines = np.empty((*to_vertices.shape[:-2], len(triangles), 2, 3), np.float32)
    for axis in (0, 1):
        p, q, r = (np.take(to_vertices[..., axis], corner, axis=-1) for corner in triangles.T)
        u, v = q - p, r - p
        along_x, along_y = u * x_u + v * x_v, u * y_u + v * y_v
        affines[..., axis, 0], affines[..., axis, 1] = along_x, along_y
        affines[..., axis, 2] = p - along_x * origin_x - along_y * origin_y
    return affines
