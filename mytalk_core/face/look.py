"""What a face looks like, to tell whether two are one person's: the colours at the mesh's points, and, where
its weights are given, what a face recognition network makes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from ..errors import WeightsError
from .alignment import fit_pose
from .layout import LandmarkLayout
from .mesh import region_from_landmarks, region_matrix
from .mesh_reader import cut_region

# Side of the square, over the face, on which colours are read.
SQUARE_PX, BLURRED_PX = 96, 48
# Two looks of one person differ by less than this: the median over the points of the difference in CIE Lab,
# where the light is the same, or what the pattern of lightness lacks to a correlation of 1 (98 of 100 pairs
# of one video's frames are below, 98 of 100 pairs of other people above).
LAB_LIMIT, PATTERN_LIMIT = 12.0, 0.2
# The pattern excuses colours that differ up to this many times more than that.
OTHER_LIGHT = 1.5
# The same for a photo: root mean square between shapes, canonical units, and the pattern.
SHAPE_LIMIT, PHOTO_PATTERN_LIMIT = 4.0, 0.4
# The cosine of SFace's embeddings from which on its authors take two for one person.
SFACE_COSINE = 0.363
# Points of the mesh for the five that face recognisers are aligned by: the subject's right and left eye, nose
# tip, mouth corners.
FIVE_POINTS = ((33, 133), (362, 263), (1,), (61,), (291,))


@dataclass(frozen=True, eq=False)
class Look:
    """What a face looks like, to tell it from others.

    colours: (V,3) float32, CIE Lab at V points that speech does not move; shape: (V,3) float32, these
    points seen from the front, canonical units; embedding: (E,) float32 of length 1 or None.
    """

    colours: np.ndarray
    shape: np.ndarray
    embedding: np.ndarray | None = None

    @cached_property
    def pattern(self) -> np.ndarray:
        """The pattern of lightness: (V,) float32 of mean 0 and length 1, or all 0."""
        lightness = self.colours[:, 0] - self.colours[:, 0].mean()
        return lightness / max(float(np.linalg.norm(lightness)), 1e-12)


class SFace:
    """SFace (Zhong et al., 2021), by OpenCV, from its published ONNX file."""

    def __init__(self, path: str | Path) -> None:
        """Raises FileNotFoundError, and WeightsError for a file that OpenCV does not take."""
        self.path = path = Path(path)
        self._lock = Lock()
        if not path.is_file():
            raise FileNotFoundError(
                f"weights of a face recognition network were required at {path}, but there is no such file: "
                "give SFace's, face_recognition_sface_2021dec.onnx of the OpenCV Zoo"
            )
        try:
            self.network = cv2.FaceRecognizerSF.create(str(path), "")
        except cv2.error as error:
            raise WeightsError(
                f"{path}: SFace's ONNX file was expected (face_recognition_sface_2021dec.onnx of the OpenCV "
                "Zoo); got one that OpenCV does not read"
            ) from error

    def embed(self, frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
        """(E,) float32 of length 1 for a face with landmarks (478,3) px in a frame (H,W,3) uint8 RGB."""
        points = [landmarks[list(group), :2].mean(0) for group in FIVE_POINTS]
        box = np.concatenate([landmarks[:, :2].min(0), np.ptp(landmarks[:, :2], axis=0)])
        face = np.concatenate([box, *points, [1.0]]).astype(np.float32)[None]
        aligned = self.network.alignCrop(np.ascontiguousarray(frame[..., ::-1]), face)
        with self._lock:
            embedding = self.network.feature(aligned).reshape(-1).astype(np.float32)
        return embedding / max(float(np.linalg.norm(embedding)), 1e-6)


@lru_cache(maxsize=1)
def still_points() -> np.ndarray:
    """Points of the mesh, without mouth, jaw and eyes: (V,) int64."""
    layout = LandmarkLayout.load("mesh478")
    return np.setdiff1d(np.arange(468), np.concatenate([layout.lower, *layout.eyes]))


def read_look(frame: np.ndarray, landmarks: np.ndarray, recogniser: SFace | None) -> Look:
    """The look of a face with landmarks (478,3) px in a frame (H,W,3) uint8 RGB; embedded where a network is
    given."""
    matrix = region_matrix(region_from_landmarks(landmarks)) * (SQUARE_PX / 256)
    square = cv2.resize(
        cut_region(frame, matrix, SQUARE_PX), (BLURRED_PX, BLURRED_PX), interpolation=cv2.INTER_AREA
    )
    points = landmarks[still_points(), :2] @ matrix[:, :2].T + matrix[:, 2]
    places = (points * (BLURRED_PX / SQUARE_PX) - 0.5).astype(np.float32)[None]
    values = cv2.remap(
        square, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    colours = cv2.cvtColor(values.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    layout = LandmarkLayout.load("mesh478")
    pose = fit_pose(landmarks[None], layout.template, layout.anchors)
    shape = pose.to_frontal(landmarks[None, still_points()])[0].astype(np.float32)
    return Look(colours, shape, None if recogniser is None else recogniser.embed(frame, landmarks))


def difference(a: Look, b: Look) -> float:
    """How much two looks of one video differ: below 1 one person's, above in doubt or two people's."""
    if a.embedding is not None and b.embedding is not None:
        return float(1 - a.embedding @ b.embedding) / (1 - SFACE_COSINE)
    colour = float(np.median(np.abs(a.colours - b.colours).sum(1))) / LAB_LIMIT
    return min(colour, max(_pattern(a, b) / PATTERN_LIMIT, colour / OTHER_LIGHT))


def difference_in_any_light(a: Look, b: Look) -> float:
    """`difference` whatever the light: by embeddings, or by the pattern of lightness alone, which light from
    everywhere leaves and two people may share."""
    if a.embedding is not None and b.embedding is not None:
        return difference(a, b)
    return _pattern(a, b) / PATTERN_LIMIT


def likeness(a: Look, b: Look) -> float:
    """How much two looks in other light differ, a photo's and a video's, as `difference`: by embeddings, or
    by the mesh's shape and the pattern of light, which tell people of one video apart and prove nobody."""
    if a.embedding is not None and b.embedding is not None:
        return difference(a, b)
    shape = float(np.sqrt(((a.shape - b.shape) ** 2).sum(1).mean()))
    return (shape / SHAPE_LIMIT + _pattern(a, b) / PHOTO_PATTERN_LIMIT) / 2


def _pattern(a: Look, b: Look) -> float:
    """What the patterns of lightness lack to a correlation of 1."""
    return 1 - float(a.pattern @ b.pattern)


def least_difference(look: Look, others: Iterable[Look], enough: float = 0.0) -> float:
    """To the most alike of others, or to the first that differs by less than is `enough`; infinite where
    there are none."""
    least = np.inf
    for other in others:
        least = min(least, difference(look, other))
        if least < enough:
            break
    return float(least)


def looks_apart(some: Sequence[Look], others: Sequence[Look]) -> float:
    """The least difference between two faces' looks; infinite where one has none."""
    return min((least_difference(look, others) for look in some), default=np.inf)
