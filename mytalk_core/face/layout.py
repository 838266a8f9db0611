"""Landmark layouts: what each point of a topology is. Data, not code: one JSON file a layout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from ..tensor_files import FileKind

FOLDER = Path(__file__).parent / "layouts"


@dataclass(frozen=True)
class LandmarkLayout:
    """A topology of N face points. Index arrays are int64; "left" and "right" are the subject's.

    template: (N,3) a mean face in canonical units (z away from the camera).
    lower: points that are generated, sorted; compact: the paper's speech-related points (Appendix B.1) with
    all of `lower` among them; lips_outer, lips_inner: closed rings of 20 from the right corner along the
    lower lip; jaw: the outline from the left to the right ear; anchors: points speech does not move; mirror:
    the point each becomes when the face is flipped; draw: name -> (E,2) line segments; triangles: (M,3).
    source, middles: another layout and pairs of its points whose middles follow them, if made from one.
    """

    name: str
    template: np.ndarray
    lower: np.ndarray
    compact: np.ndarray
    lips: np.ndarray
    lips_outer: np.ndarray
    lips_inner: np.ndarray
    jaw: np.ndarray
    oval: np.ndarray
    eyes: tuple[np.ndarray, np.ndarray]
    anchors: np.ndarray
    mirror: np.ndarray
    draw: dict[str, np.ndarray]
    triangles: np.ndarray
    source: str | None = None
    middles: np.ndarray | None = None

    @staticmethod
    def load(name: str) -> LandmarkLayout:
        """The layout of that name; ValueError names those that exist."""
        return _load(name)

    @property
    def points(self) -> int:
        """N, the number of points."""
        return len(self.template)

    @cached_property
    def upper(self) -> np.ndarray:
        """Compact points that are not generated: the condition m_nl of section 3.3."""
        return np.setdiff1d(self.compact, self.lower)

    @cached_property
    def remaining(self) -> np.ndarray:
        """Points that diffusion never sees; they are carried over from the source (Appendix B.1)."""
        return np.setdiff1d(np.arange(self.points), self.compact)

    def from_source(self, landmarks: np.ndarray) -> np.ndarray:
        """Landmarks (...,N_source,C) of the layout this one is made from -> (...,N,C)."""
        if self.middles is None:
            return landmarks
        middle = landmarks[..., self.middles, :].mean(-2)
        return np.concatenate([landmarks, middle], -2)


def named_layout(path: Path, name: object, kind: FileKind) -> LandmarkLayout:
    """The layout that the file `path` names; MediaError where there is none of that name."""
    try:
        return LandmarkLayout.load(str(name))
    except ValueError as error:
        raise kind.refusal(path, str(error)) from error


@lru_cache(maxsize=8)
def _load(name: str) -> LandmarkLayout:
    # By name, for one that a file names must not lead elsewhere.
    paths = {path.stem: path for path in sorted(FOLDER.glob("*.json"))}
    if name not in paths:
        raise ValueError(f"a landmark layout is one of {', '.join(paths)}; got {name!r}")
    data = json.loads(paths[name].read_text())

    def indices(key: str) -> np.ndarray:
        return np.array(data[key], np.int64)

    eyes = [np.array(eye, np.int64) for eye in data["eyes"]]
    fields = ("lower", "compact", "lips", "lips_outer", "lips_inner", "jaw", "oval", "anchors", "mirror")
    return LandmarkLayout(
        name=data["name"],
        template=np.array(data["template"], np.float32),
        eyes=(eyes[0], eyes[1]),
        draw={key: np.array(edges, np.int64) for key, edges in data["draw"].items()},
        triangles=indices("triangles"),
        source=data.get("source"),
        middles=indices("middles") if "middles" in data else None,
        **{key: indices(key) for key in fields},
    )
