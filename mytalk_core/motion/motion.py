"""`Motion`: generated or recorded landmarks on their own 25 Hz timeline."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ..errors import WeightsError

FORMAT_VERSION = 1


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
        if not self.rate_hz > 0:
            raise ValueError(f"rate_hz must be positive; got {self.rate_hz}")

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
        """Write a safetensors file, whole or not at all."""
        path = Path(path)
        description = {"format_version": FORMAT_VERSION, "layout": self.layout, "rate_hz": self.rate_hz}
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            save_file(
                {
                    "landmarks": np.ascontiguousarray(self.landmarks),
                    "points": np.ascontiguousarray(self.points, np.int64),
                },
                temporary,
                {"motion": json.dumps(description)},
            )
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> Motion:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            WeightsError: not a motion file, or one of another format version.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no motion file {path}")
        try:
            with safe_open(path, framework="numpy") as file:
                description = json.loads((file.metadata() or {}).get("motion", "null"))
                if not isinstance(description, dict) or "landmarks" not in file.keys():  # noqa: SIM118
                    raise WeightsError(f"{path} is not a motion file (written by --save-motion)")
                if description.get("format_version") != FORMAT_VERSION:
                    raise WeightsError(
                        f"{path} has motion format {description.get('format_version')}; "
                        f"this mytalk reads {FORMAT_VERSION}: generate the motion again"
                    )
                landmarks, points = file.get_tensor("landmarks"), file.get_tensor("points")
                return cls(landmarks, description["layout"], points, description["rate_hz"])
        except (SafetensorError, json.JSONDecodeError) as error:
            raise WeightsError(f"{path} is not a readable motion file ({error})") from error
