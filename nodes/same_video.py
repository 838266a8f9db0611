"""Whether a video, a track and a motion that meet at a node were made of one and the same video."""

from __future__ import annotations

import cv2
import numpy as np

from ..mytalk_core.appearance.square.crop import cut_crop
from ..mytalk_core.media.clip import Clip
from ..mytalk_core.media.image_clip import ImageClip
from .clips import sources
from .sockets import Performance, TrackedFace

# The lines of the upper half of the face's square, in pixels of its side, tell one video from another: a lip
# sync leaves them alone, grading and scaling keep how they correlate.
COMPARED_PX, BROAD_PX, SAME_PICTURE = 128, 3.0, 0.6
# Clocks of one video in two containers differ by less.
SAME_TIME_S = 2e-3


def check_frames(clip: Clip, track: TrackedFace) -> Clip:
    """The clip; raises ValueError where it has not the track's frames."""
    size, tracked = (clip.height, clip.width), (track.clip.height, track.clip.width)
    if len(clip) != len(track.track) or size != tracked:
        raise ValueError(
            f"the video of the track was required, {len(track.track)} frames of {tracked[1]} x {tracked[0]}, "
            f"but {len(clip)} frames of {size[1]} x {size[0]} arrived: link the same video to Extract "
            "Landmarks and here (for two speakers set both sync modes to silence)"
        )
    return clip


def check_times(motion: Performance, clip: Clip) -> None:
    """Raises ValueError for a motion that was made on a video whose frames have other times."""
    made_on = motion.clip
    if made_on is None or (
        len(made_on) == len(clip) and np.allclose(made_on.times_s, clip.times_s, rtol=0, atol=SAME_TIME_S)
    ):
        return
    own, other = (f"{len(one)} frames at {float(one.fps):g} a second" for one in (clip, made_on))
    raise ValueError(
        f"a motion made for this video was required, {own}, but it was made for one of {other}: link this "
        "video's track to the motion sampler"
    )


def other_video(clip: Clip, track: TrackedFace) -> list[str]:
    """A line for the user where the track's face is not in this clip: the brow's square differs."""
    if root_of(clip) == root_of(track.clip) or (clip.files and clip.files == track.clip.files):
        return []
    row = int(np.flatnonzero(track.track.present)[0])
    similarity = track.track.similarity[row]
    brows = [
        brow_lines(picture.rgb, similarity)
        for source in (clip, track.clip)
        for picture in source.pictures([row])
    ]
    if np.corrcoef(brows)[0, 1] >= SAME_PICTURE:
        return []
    return [
        "this looks like another video than the track's, whose face is not there: link the same one to "
        "Extract Landmarks and here"
    ]


def brow_lines(rgb: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """The upper half of a face's square without its broad light, which all faces share: float32 (N,)."""
    square = cut_crop(rgb, similarity, COMPARED_PX)[: COMPARED_PX // 2].astype(np.float32).mean(-1)
    return (square - cv2.GaussianBlur(square, (0, 0), BROAD_PX)).ravel()


def root_of(clip: Clip) -> Clip | int:
    """Where a clip's pictures come from in the end: the images' address in memory, or the clip that reads."""
    *_, root = sources(clip)
    return root.images.ctypes.data if isinstance(root, ImageClip) else root
