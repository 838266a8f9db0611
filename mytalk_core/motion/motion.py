"""`Motion`: generated or recorded landmarks on their own 25 Hz timeline."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import MediaError
from ..face.layout import named_layout
from ..tensor_files import FileKind, read_metadata, read_tensors, write_tensors

FORMAT_VERSION = 1
KIND = FileKind(
    "motion file", "--save-motion", {"landmarks": (("F32",), ("F", "P", 2)), "points": (("I64",), ("P",))}
)


@dataclass(frozen=True)
class Motion:
    """The generated points over time.

    landmarks: float32 (F, P, 2), (x, y) in canonical units; frame j sits at time j / rate_hz.
    layout: name of the LandmarkLayout of which these are points.
    points: int64 (P,), which points of the layout; the others stay the source's.
    rate_hz: frames a second, 25 for everything the motion model makes.
    """

    landmarks: np.ndarray
    layout: str
    points: np.ndarray
    rate_hz: float = 25.0

    def __post_init__(self):
        shape = self.landmarks.shape
        if len(shape) != 3 or shape[1:] != (len(self.points), 2) or shape[0] == 0:
            raise ValueError(
                f"landmarks must be (F, P, 2) with P = {len(self.points)} points and at least one frame; "
                f"got {shape}"
            )
        if self.landmarks.dtype != np.float32:
            raise ValueError(f"landmarks must be float32; got {self.landmarks.dtype}")
        if not 0 < self.rate_hz < math.inf:
            raise ValueError(f"rate_hz must be positive and finite; got {self.rate_hz}")
        if not np.isfinite(self.landmarks).all():
            raise ValueError("landmarks must be finite; there is NaN or infinity in these: make them again")

    def __len__(self) -> int:
        return self.landmarks.shape[0]

    @property
    def times_s(self) -> np.ndarray:
        """Time of every frame: float64 (F,), the first at 0."""
        return np.arange(len(self), dtype=np.float64) / self.rate_hz

    def at(self, times_s: np.ndarray) -> np.ndarray:
        """Points at any times (T,) in seconds, interpolated, held at both ends: float32 (T, P, 2)."""
        position = np.clip(np.asarray(times_s, dtype=np.float64) * self.rate_hz, 0, len(self) - 1)
        left = np.floor(position).astype(np.int64)
        right = np.minimum(left + 1, len(self) - 1)
        share = (position - left).astype(np.float32)[:, None, None]
        return self.landmarks[left] * (1 - share) + self.landmarks[right] * share

    def onto(self, landmarks: np.ndarray, times_s: np.ndarray) -> np.ndarray:
        """The source's canonical landmarks (T, N, 2), shown at times_s (T,), with the moved points set in."""
        moved = np.array(landmarks, np.float32)
        moved[:, self.points] = self.at(times_s)
        return moved

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all; errors as `replacing`."""
        description = {"format_version": FORMAT_VERSION, "layout": self.layout, "rate_hz": self.rate_hz}
        tensors = {"landmarks": self.landmarks, "points": np.asarray(self.points, np.int64)}
        write_tensors(path, tensors, {"motion": json.dumps(description)})

    @classmethod
    def load(cls, path: str | Path) -> Motion:
        """Read what `save` wrote.

        Raises: FileNotFoundError; MediaError for a damaged file, one that is no motion, or one of another
        format version.
        """
        path = Path(path)
        try:
            description = json.loads(read_metadata(path, KIND).get("motion", "null"))
        except (ValueError, RecursionError) as error:
            if isinstance(error, MediaError):
                raise
            raise KIND.refusal(path, f"its description is no JSON ({error})") from error
        if not isinstance(description, dict):
            raise MediaError(f"{path} is not a motion file: name one that {KIND.source} wrote")
        if description.get("format_version") != FORMAT_VERSION:
            raise MediaError(
                f"{path} has motion format {description.get('format_version')!r:.60}; "
                f"this mytalk reads {FORMAT_VERSION}: generate the motion again"
            )
        tensors = read_tensors(path, KIND)
        layout, rate_hz = str(description.get("layout")), description.get("rate_hz", math.nan)
        _check(path, tensors["points"], layout, rate_hz)
        try:
            return cls(tensors["landmarks"], layout, tensors["points"], float(rate_hz))
        except ValueError as error:
            raise KIND.refusal(path, str(error)) from error


def _check(path: Path, points: np.ndarray, layout: str, rate_hz: object) -> None:
    """MediaError for points or a rate that no motion has."""
    if isinstance(rate_hz, bool) or not isinstance(rate_hz, int | float) or not 0 < rate_hz <= 1e6:
        raise KIND.refusal(path, f"its rate is {rate_hz!r} Hz")
    count = named_layout(path, layout, KIND).points
    if len(np.unique(points)) < len(points) or points.min(initial=0) < 0 or points.max(initial=0) >= count:
        raise KIND.refusal(path, f"its points are not different ones of the {count} of {layout}")
