"""What Extract Landmarks shows: a frame with its faces in numbered boxes, the chosen one with its mesh."""

from __future__ import annotations

from typing import Any

import folder_paths
import numpy as np
from PIL import Image

from ..mytalk_core.face.draw import draw_landmarks
from ..mytalk_core.face.layout import LandmarkLayout
from ..mytalk_core.face.track import Faces, FaceTrack
from ..mytalk_core.face.tracklet import Tracklet
from ..mytalk_core.media.clip import Clip
from .outputs import numbered_file

# The longer side of the picture.
SHOWN_PX = 768


def shown_faces(clip: Clip, faces: Faces, chosen: FaceTrack) -> dict[str, tuple[dict[str, Any]]]:
    """For the page: a picture in the temp folder, and for each face its box and what a click on it means.

    All in the clip's px: left, top, width, height of the box, x and y of the `place` that chooses the face.
    """
    row = fullest_frame(faces)
    people = [
        (number, tracklet, tracklet.landmarks[int(np.searchsorted(tracklet.rows, row))])
        for number, person in enumerate(faces.numbered(int(faces.shots[row])))
        for tracklet in person
        if row in tracklet.rows
    ]
    boxes = [
        box(number, tracklet, points) | {"chosen": bool(np.array_equal(points, chosen.landmarks[row]))}
        for number, tracklet, points in people
    ]
    size = {"width": clip.width, "height": clip.height}
    return {"faces": ({"picture": save_picture(clip, row, chosen), "boxes": boxes, **size},)}


def fullest_frame(faces: Faces) -> int:
    """The first of the frames in which the most faces are seen at once."""
    seen = np.zeros(len(faces.times_s), int)
    for shot in np.unique(faces.shots):
        for person in faces.numbered(shot):
            for tracklet in person:
                seen[tracklet.rows] += 1
    return int(seen.argmax())


def box(number: int, tracklet: Tracklet, points: np.ndarray) -> dict[str, Any]:
    """A face's box around its landmarks (N,2+), and the middle of where it is through the shot."""
    (left, top), (right, bottom) = points[:, :2].min(0), points[:, :2].max(0)
    x, y = np.rint(tracklet.centre_px.clip(0)).astype(int).tolist()
    sides = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return {"number": number, "x": x, "y": y} | {name: round(float(px), 1) for name, px in sides.items()}


def save_picture(clip: Clip, row: int, chosen: FaceTrack) -> dict[str, str]:
    """Lay a frame with the chosen face's mesh into the temp folder; how the page asks for it."""
    [picture] = clip.pictures([row])
    rgb = picture.rgb
    if chosen.present[row]:
        rgb = draw_landmarks(rgb, chosen.landmarks[row], LandmarkLayout.load(chosen.layout))
    image = Image.fromarray(rgb)
    image.thumbnail((SHOWN_PX, SHOWN_PX))
    path, subfolder = numbered_file("MyTalk_faces", ".jpg", folder_paths.get_temp_directory())
    image.save(path, quality=90)
    return {"filename": path.name, "subfolder": subfolder, "type": "temp"}
