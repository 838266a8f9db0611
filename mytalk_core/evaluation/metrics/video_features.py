"""FVD's features: short runs of face crops through a video network (Unterthiner et al. 2018)."""

from __future__ import annotations

import numpy as np

from ..networks.feature_networks import VIDEO_FRAMES, VideoFeatures
from ..subject import Subject
from .frame_pairs import FramePairs
from .frechet import Moments
from .regions import face_crop

# A run of 16 frames begins this often.
STRIDE = 32


def add_video_features(
    generated: Subject, reference: Subject, pairs: FramePairs, network: VideoFeatures, moments: Moments
) -> None:
    """Collect features of every run of 16 frames that shows the face throughout, cut as the reference's."""
    track, clip = reference.track, reference.clip
    fit = np.array([clip.width / generated.clip.width, clip.height / generated.clip.height])
    for start in range(0, len(pairs) - VIDEO_FRAMES + 1, STRIDE):
        rows = pairs.reference[start : start + VIDEO_FRAMES]
        if not track.present[rows].all() or len(np.unique(track.shots[rows])) > 1:
            continue
        pictures = generated.clip.pictures(pairs.generated[start : start + VIDEO_FRAMES])
        crops = []
        for row, picture in zip(rows, pictures, strict=True):
            similarity = track.similarity[row].astype(np.float64)
            # Read in the generated video's own pixels: x there is x * fit in the reference's.
            crops.append(face_crop(picture.rgb, similarity * np.array([[*fit, 1.0]])))
        moments.add(network(np.stack(crops)))
