"""What a run did, as figures and as sentences for the user."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import numpy as np

from .. import __version__
from ..face.track import FaceTrack
from .checks import Check
from .model import LipSync


@dataclass
class Report:
    """What a run did: counts of output frames, seconds by stage, peak memory of the process, what made it.

    dtypes: what the networks of motion and of drawing computed in; speakers: of each who speaks whose face it
    is, the speech, and frames with the face and with its new lips;
    frames_covered: that show the face and stay as they are, because its mouth is not to be seen;
    frames_partly_covered: in which something stands before the mouth and stays on top of the new one;
    checks: figures of what the source is like and of how the result's lips moved, see `checks`; doubts: a
    sentence for each that is amiss; warnings: all lines for the user, these among them.
    """

    output: str
    frames: int = 0
    frames_with_face: int = 0
    frames_edited: int = 0
    frames_covered: int = 0
    frames_partly_covered: int = 0
    duration_s: float = 0.0
    shots: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    peak_memory_mb: float | None = None
    model: str = ""
    model_hashes: dict[str, str] = field(default_factory=dict)
    renderer: str = ""
    seed: int = 0
    device: str = ""
    dtypes: dict[str, str] = field(default_factory=dict)
    version: str = __version__
    speakers: list[dict[str, str | int]] = field(default_factory=list)
    checks: dict[str, float] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def note(self, check: Check, strict: bool, name: str) -> None:
        """Take in what a look found; name: of the speaker, empty where there is one alone. Raises DoubtError
        for a doubt where strict."""
        if name:
            named = {f"{name}: {figure}": value for figure, value in check.figures.items()}
            check = Check(named, tuple(f"{name}: {doubt}" for doubt in check.doubts))
        self.checks |= check.figures
        self.doubts += check.doubts
        if strict:
            check.insist()

    def made_by(self, model: LipSync) -> None:
        """Take in which model makes the result, by which renderer, where and how precisely."""
        self.model, self.model_hashes = str(model.source), model.hashes
        self.renderer = model.renderer.name
        self.device, self.dtypes = str(model.device), model.dtypes

    def count(self, frames: int, with_face: int, partly: int) -> None:
        """Take in the output's frames, those with a face, and those in which something stays on top, once it
        is known how many were edited."""
        self.frames, self.frames_with_face = frames, with_face
        self.frames_covered, self.frames_partly_covered = with_face - self.frames_edited, partly

    def to_dict(self) -> dict:
        """As plain numbers and strings, for JSON."""
        return asdict(self)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's wall time to `seconds[stage]`."""
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + time.perf_counter() - start, 3)


def face_warnings(shown: FaceTrack, edited: int, partly: int = 0) -> list[str]:
    """Lines for the user: frames of the output that stay as they are, or in part, and why."""
    warnings = []
    missing, covered = int((~shown.present).sum()), int(shown.present.sum()) - edited
    if missing:
        first = np.flatnonzero(~shown.present)[:5].tolist()
        warnings.append(
            f"{missing} of {len(shown)} frames show no such face and stay as they are (first: {first})"
        )
    if covered:
        warnings.append(
            f"{covered} of {len(shown)} frames have something before the mouth, cut it off at their edge or "
            "are in the midst of a fade, and stay as they are"
        )
    if partly:
        warnings.append(
            f"{partly} of {len(shown)} frames have something before a part of the mouth or chin, which stays "
            "on top: look at them"
        )
    return warnings
