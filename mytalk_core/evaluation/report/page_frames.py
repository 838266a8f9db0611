"""Pictures of a report's page: frames of source and result, one over the other, the mouth enlarged."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ...errors import MediaError
from ...face.detector import FaceDetector
from ...media.clip import Clip

MOUTH_PX = 150
MOUTH_EYES = 0.85  # half width of the square around a mouth, in distances between the eyes
GAP_PX = 4
POSTER_PX = 360  # height
QUALITY = 82


def jpeg(rgb: np.ndarray) -> str:
    """A picture uint8 (h,w,3) as a data address of a JPEG."""
    done, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise MediaError(f"a picture of shape {rgb.shape} could not be encoded as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def poster(clip: Clip, index: int) -> str:
    """A frame, made small, as a data address."""
    rgb = next(iter(clip.pictures([min(index, len(clip) - 1)]))).rgb
    scale = min(1.0, POSTER_PX / rgb.shape[0])
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    return jpeg(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))


def mouth_window(rgb: np.ndarray, detector: FaceDetector) -> tuple[np.ndarray, float]:
    """Centre (x, y) px and half width px of the square around the largest face's mouth; the whole frame
    where no face is found."""
    # Small faces are found in tiles only, which cost as much as a dozen frames.
    faces = detector.detect(rgb) or detector.detect(rgb, tiles=True)
    if not faces:
        height, width = rgb.shape[:2]
        return np.array([width / 2, height / 2]), min(height, width) / 2
    face = max(faces, key=lambda found: found.size_px)
    eyes_px = float(np.linalg.norm(face.key_points[0] - face.key_points[1]))
    return face.key_points[3], MOUTH_EYES * eyes_px


def enlarged(rgb: np.ndarray, centre: np.ndarray, half_px: float, side_px: int = MOUTH_PX) -> np.ndarray:
    """The square around a point as uint8 (side_px, side_px, 3)."""
    scale = side_px / (2 * half_px)
    matrix = np.array(
        [[scale, 0, -scale * (centre[0] - half_px)], [0, scale, -scale * (centre[1] - half_px)]]
    )
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return cv2.warpAffine(rgb, matrix, (side_px, side_px), flags=interpolation)


def mouth_pairs(
    reference: Clip, generated: Clip, indices: Sequence[int], detector: FaceDetector
) -> list[tuple[int, str]]:
    """(frame number, data address of source over result), in the order of `indices`: frame numbers of the
    reference. Those that the generated video shows nothing for at their time are left out."""
    partners = {index: partner(reference, generated, index) for index in indices}
    known = sorted(index for index, other in partners.items() if other is not None)
    others = [other for index in known if (other := partners[index]) is not None]
    columns = {}
    for before, after in zip(reference.pictures(known), generated.pictures(others), strict=True):
        truth, result = before.rgb, after.rgb
        if truth.shape != result.shape:
            result = cv2.resize(result, truth.shape[1::-1], interpolation=cv2.INTER_AREA)
        window = mouth_window(truth, detector)
        gap = np.full((GAP_PX, MOUTH_PX, 3), 128, np.uint8)
        columns[before.index] = jpeg(np.vstack([enlarged(truth, *window), gap, enlarged(result, *window)]))
    return [(index, columns[index]) for index in partners if index in columns]


def partner(reference: Clip, generated: Clip, index: int) -> int | None:
    """The generated frame that is shown with a reference frame: of the same number where both have as many,
    else the nearest in time; None where there is none within a frame."""
    if not 0 <= index < len(reference):
        return None
    if len(reference) == len(generated):
        return index
    apart = np.abs(generated.times_s - reference.times_s[index])
    nearest = int(apart.argmin())
    return nearest if apart[nearest] <= 1 / float(reference.fps) else None


def data_address(path: Path) -> str:
    """A video file as a data address."""
    kind = "video/webm" if path.suffix.lower() == ".webm" else "video/mp4"
    return f"data:{kind};base64," + base64.b64encode(path.read_bytes()).decode("ascii")
