"""Pictures of a face laid on one grid of the frame, so that what does not move with the face shows."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ...face.alignment import UNITS, apply, invert
from ...face.layout import LandmarkLayout
from ..references.pool import even_sample
from ..references.references import References
from ..square.areas import filled, widened

FRAMES = 24  # looked at
FEWEST = 6  # fewer cannot tell what stands still
ABOUT_LIPS = 5  # units about the lips that are theirs
ROOM = 60.0  # units about the lower face
INSIDE = 0.5  # share of the frames in which a pixel must have lain on the face


@dataclass(frozen=True, eq=False)
class FaceGrid:
    """Pictures of a face on grids of about one sample a unit.

    pictures: uint8 (F, h, w, 3); inside, on_lips: bool (F, h, w), what lies within the face's outline, and on
    its lips or near them; points: float (F, N, 2), landmarks in the grid's coordinates; to_grid: float
    (2, 3), frame pixels to these; lower: int, the lower face's landmarks.
    """

    pictures: np.ndarray
    inside: np.ndarray
    on_lips: np.ndarray
    points: np.ndarray
    to_grid: np.ndarray
    lower: np.ndarray

    @classmethod
    def of(
        cls, unit_crops: np.ndarray, references: References, similarity: np.ndarray, layout: LandmarkLayout
    ) -> FaceGrid | None:
        """Some references on a grid that keeps its place in the frame and holds the lower face in all of
        them; None where they are too few, or the head crosses the picture: then nothing stands before its
        mouth all the time.

        Args:
            unit_crops: uint8 (K, 256, 256, 3), the references' crops at one sample a unit.
            similarity: float (K, 2, 3), frame pixels to canonical units, of the frames they were cut from.
        """
        if len(references) < FEWEST:
            return None
        chosen = even_sample(np.arange(len(references)), FRAMES)
        landmarks, similarity = references.landmarks[chosen], similarity[chosen].astype(np.float64)
        in_frame = apply(invert(similarity), landmarks.astype(np.float64))
        below = in_frame[:, np.concatenate([layout.lower, layout.jaw, layout.lips_outer])]
        scale = float(np.median(np.hypot(similarity[:, 0, 0], similarity[:, 1, 0])))
        low = below.min((0, 1)) * scale - ROOM
        width, height = np.ceil(below.max((0, 1)) * scale + ROOM - low).astype(int).tolist()
        if max(width, height) > 3 * UNITS:
            return None
        to_grid = np.column_stack([scale * np.eye(2), -low])
        parts: tuple[list[np.ndarray], ...] = ([], [], [])
        for row, own in zip(chosen, similarity, strict=True):
            points = references.landmarks[row]
            face, lips = filled(points[layout.oval]), widened(filled(points[layout.lips_outer]), ABOUT_LIPS)
            matrix, size = between(to_grid, own), (width, height)
            flags, edge = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
            parts[0].append(cv2.warpAffine(unit_crops[row], matrix, size, flags=flags, borderMode=edge))
            for found, part in zip(parts[1:], (face, lips), strict=True):
                found.append(cv2.warpAffine(part, matrix, size, flags=cv2.WARP_INVERSE_MAP) > 0)
        pictures, inside, on_lips = (np.stack(part) for part in parts)
        return cls(pictures, inside, on_lips, in_frame * scale - low, to_grid, layout.lower)

    @property
    def on_face(self) -> np.ndarray:
        """What lies on the face in most pictures, bool (h, w)."""
        mostly: np.ndarray = self.inside.mean(0) > INSIDE
        return mostly

    def following(self, path: np.ndarray) -> FaceGrid:
        """The same on grids that follow what has moved by a path (F, 2), samples; `to_grid` is that of a
        picture in which it has not."""
        height, width = self.pictures.shape[1:3]

        def moved(stack: np.ndarray) -> np.ndarray:
            flags, edge = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
            matrices = (np.column_stack([np.eye(2), along]) for along in path)
            pairs = zip(stack.astype(np.uint8), matrices, strict=True)
            return np.stack(
                [cv2.warpAffine(one, m, (width, height), flags=flags, borderMode=edge) for one, m in pairs]
            )

        stacks = moved(self.pictures), moved(self.inside) > 0, moved(self.on_lips) > 0
        return FaceGrid(*stacks, self.points - path[:, None], self.to_grid, self.lower)

    def movement(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the lower face is, bool (h, w), and how far it moves there, across and down: its deviation
        over the frames (2, h, w)."""
        points, shape = self.points, self.pictures.shape[1:3]
        at = np.clip(points.mean(0).round().astype(int), 0, (shape[1] - 1, shape[0] - 1))
        deviations = np.column_stack([points.std(0), np.ones(len(at))])
        total = np.full((*shape, 3), (0, 0, 1e-6), np.float32)
        # The nose above them does not move with the lips: all landmarks tell, each of what is about it.
        np.add.at(total, (at[:, 1], at[:, 0]), deviations)
        smooth = cv2.GaussianBlur(total, (0, 0), 12.0)
        hull = cv2.convexHull(at[self.lower].astype(np.int32))
        below = cv2.fillConvexPoly(np.zeros(shape, np.uint8), hull, 1) > 0
        return below, np.moveaxis(smooth[..., :2] / smooth[..., 2:], -1, 0)


def between(to_one: np.ndarray, to_other: np.ndarray) -> np.ndarray:
    """The matrix (2, 3) from pixel indices of one grid to those of another; both: frame px to coordinates."""
    whole = [np.vstack([matrix.astype(np.float64), [0, 0, 1]]) for matrix in (to_one, to_other)]
    both = (whole[1] @ np.linalg.inv(whole[0]))[:2]
    both[:, 2] += both[:, :2] @ [0.5, 0.5] - 0.5
    return both
