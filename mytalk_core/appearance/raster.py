"""A fixed triangulation of the square and its rasterisation: which triangle covers which pixel.

The face itself is the layout's own mesh, whose triangles span the open mouth between the inner lips. Around
it a Delaunay triangulation of the face's outline and a ring of fixed border points carries the warp out
beyond the square's edge. Landmarks are in canonical units.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..face.alignment import UNITS
from ..face.layout import LandmarkLayout

MARGIN = 48.0  # units from the square's edge out to the border points
SUBPIXEL_BITS = 5


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


def draw_triangles(
    vertices: np.ndarray,
    triangulation: Triangulation,
    window: tuple[int, int, int, int],
    size: int,
    canvas: tuple[int, int, int, int] | None = None,
) -> np.ndarray:
    """The triangle that covers each pixel of a window of the crop.

    Those around the face are drawn first, then folded ones, so that one facing the viewer wins where there
    is one.

    Args:
        vertices: float (V, 2) canonical units, border points included.
        window: (top, left, bottom, right) in pixels of the crop.
        size: side of the crop in pixels.
        canvas: a window that holds this one, whose drawing this is a part of: an edge that leaves a window is
        drawn a little otherwise there.

    Returns:
        int32 (bottom - top, right - left) of triangle numbers.
    """
    top, left, bottom, right = canvas or window
    points = on_window(vertices, np.array([left, top]), size)
    triangles = triangulation.triangles
    corners = points[triangles]
    a, b, c = corners.swapaxes(0, 1)
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    begin, end = (np.array([window[at + 1] - left, window[at] - top]) for at in (0, 2))
    near = (high >= begin - 1).all(1) & (low <= end).all(1)
    order = np.flatnonzero(near)
    facing = signed_area(vertices, triangles[order]) > 0
    order = order[np.argsort(2 * triangulation.layer[order] + facing, kind="stable")]
    fixed = np.rint(corners[order] * (1 << SUBPIXEL_BITS)).astype(np.int32)
    covered = np.zeros((bottom - top, right - left), np.int32)
    for number, triangle in zip(order.tolist(), list(fixed), strict=True):
        cv2.fillConvexPoly(covered, triangle, number, cv2.LINE_8, SUBPIXEL_BITS)
    return covered[begin[1] : end[1], begin[0] : end[0]]


def on_window(vertices: np.ndarray, corner: np.ndarray, size: int) -> np.ndarray:
    """Vertices (..., V, 2) in canonical units as float32 pixel indices (x, y) of a window whose upper left
    corner is the pixel (x, y) (..., 2) of a crop of `size`."""
    points: np.ndarray = (vertices * (size / UNITS) - corner - 0.5).astype(np.float32)
    return points


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
