"""What a shot must be like to be learnt from: its figures, and the first limit that it misses."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from mytalk_core.face.alignment import fit_pose
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.track import FaceTrack

# Landmarks of this many frames of a shot are enough for medians.
SAMPLED_FRAMES = 200


@dataclass(frozen=True)
class Limits:
    """Least and most that a shot's figures may be; the fields are `Figures`' own, in their units."""

    min_seconds: float = 2.0
    min_present: float = 0.9
    min_dominance: float = 0.6
    min_face_px: float = 50.0
    max_yaw_deg: float = 45.0
    min_detail: float = 10.0
    min_confidence: float = 0.25
    max_lag_ms: float = 400.0


@dataclass(frozen=True)
class Figures:
    """Measurements of a shot; None where not measured.

    seconds: of picture with sound; present: share of frames with the face; dominance: the face's share of
    all faces by area and time; face_px: median width of the face in the frame; yaw_deg: median turn to
    either side; detail: median variance of the Laplacian about the mouth in the 256 crop (blur is low);
    confidence: of the lip-sync expert, and the distance it found; lag_ms: how late the lips are.
    """

    seconds: float
    present: float | None = None
    dominance: float | None = None
    face_px: float | None = None
    yaw_deg: float | None = None
    detail: float | None = None
    confidence: float | None = None
    distance: float | None = None
    lag_ms: float | None = None

    def rounded(self) -> dict[str, float | None]:
        """As a row for JSON."""
        return {name: None if v is None else round(float(v), 4) for name, v in asdict(self).items()}


def measure_face(track: FaceTrack, seconds: float, dominance: float | None) -> Figures:
    """The figures that a shot's track (T frames) gives; those of the face are None where there is none."""
    present = float(track.present.mean())
    if not track.present.any():
        return Figures(seconds, present, dominance)
    landmarks = track.landmarks[track.seen_rows(SAMPLED_FRAMES)]
    layout = LandmarkLayout.load(track.layout)
    rotation = fit_pose(landmarks, layout.template, layout.anchors).rotation
    yaw = np.degrees(np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2]))
    width = np.ptp(landmarks[..., 0], axis=1)
    return Figures(
        seconds, present, dominance, face_px=float(np.median(width)), yaw_deg=float(np.median(np.abs(yaw)))
    )


def missed_limit(figures: Figures, limits: Limits) -> str | None:
    """Why a shot is left out: the first limit that it misses, None where it keeps all that were measured."""
    checks = (
        ("too short", figures.seconds, limits.min_seconds, None),
        ("no face", figures.present, 1e-9, None),
        ("face too rarely seen", figures.present, limits.min_present, None),
        ("several faces", figures.dominance, limits.min_dominance, None),
        ("face too small", figures.face_px, limits.min_face_px, None),
        ("turned away", figures.yaw_deg, None, limits.max_yaw_deg),
        ("blurred", figures.detail, limits.min_detail, None),
        ("out of sync", figures.confidence, limits.min_confidence, None),
        ("sound too far off", figures.lag_ms and abs(figures.lag_ms), None, limits.max_lag_ms),
    )
    for why, value, least, most in checks:
        if value is not None and (
            (least is not None and value < least) or (most is not None and value > most)
        ):
            return why
    return None
