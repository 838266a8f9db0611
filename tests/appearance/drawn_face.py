"""A face drawn from the template's landmarks, its mouth as open as is wanted."""

from __future__ import annotations

import cv2
import numpy as np

from mytalk_core.appearance.renderers import LoadedRenderer
from mytalk_core.face.packed import PackedLandmarks
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.motion.motion import Motion
from mytalk_core.pipeline import stages

SIZE = 256


def shape(layout, opening=0.0, wide=0.0):
    """The template with the lower lip and chin moved down and the mouth widened, canonical units."""
    points = layout.template[:, :2].copy()
    half = len(layout.lips_inner) // 2
    upper = np.r_[
        layout.lips_inner[half:], layout.lips_inner[:1], layout.lips_outer[half:], layout.lips_outer[:1]
    ]
    seam = points[layout.lips_inner[[0, half]], 1].mean()
    share = np.clip(1 - np.abs(points[:, 0] - 128) / 40, 0, 1)
    below = (points[:, 1] > seam) & ~np.isin(np.arange(len(points)), upper)
    points[below, 1] += opening * share[below]
    lips = np.union1d(layout.lips_outer, layout.lips_inner)
    points[lips, 0] += wide * (points[lips, 0] - 128) / 30
    return points


def picture(layout, points, size=SIZE, shade=0):
    """A face drawn from landmarks: background, skin with a smooth gradient, lips, dark interior."""
    scale = size / 256
    drawn = np.zeros((size, size, 3), np.float32)
    drawn[:] = (40, 90, 60)
    y, x = np.mgrid[:size, :size] / scale
    skin = np.dstack([190 + 0.1 * x, 140 + 0.1 * y, 120 + 0 * x]).astype(np.float32)

    def fill(index, colour):
        inside = np.zeros((size, size), np.uint8)
        cv2.fillPoly(inside, [np.rint((points[index] * scale - 0.5) * 16).astype(np.int32)], 1, shift=4)
        drawn[inside > 0] = colour[inside > 0] if np.ndim(colour) == 3 else colour

    fill(layout.oval, skin)
    fill(layout.lips_outer, (170, 60, 70))
    fill(layout.lips_inner, (30, 10, 10))
    return np.clip(drawn + shade, 0, 255).astype(np.uint8)


def drawn(layout, frames, shapes, wanted):
    """The edits of a clip (T,H,W,3) of faces (T,N,2), whose landmarks shall be `wanted` (T,N,2)."""
    clip = ImageClip.from_frames(np.stack(frames), 25)
    deep = np.pad(np.stack(shapes), ((0, 0), (0, 0), (0, 1)))
    count = len(shapes)
    face = FaceTrack(
        PackedLandmarks.pack(deep),
        np.ones(count, bool),
        np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1)),
        np.arange(count) / 25,
        np.zeros(count, np.int32),
    )
    motion = Motion(np.stack(wanted).astype(np.float32), layout.name, np.arange(layout.points))
    return list(stages.draw(LoadedRenderer(), clip, face, motion, plan_timeline(clip, count / 25)).edits())
