"""Generated beside real landmarks, to look at while a model trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from mytalk_core.face.draw import landmark_image
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.audio import MODEL_RATE_HZ, Speech
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.motion.denoiser import MotionDenoiser
from mytalk_core.motion.identity import IdentityExtractor
from mytalk_core.motion.person import RATE_HZ
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.pipeline import write

from .data import RawClip
from .validation import sample_clip

SIZE_PX = 192
SECONDS, COLUMNS = 4, 8


def show_motion(
    denoiser: MotionDenoiser,
    space: LandmarkSpace,
    identity: IdentityExtractor,
    clip: RawClip,
    features: Tensor,
    path: Path,
) -> np.ndarray:
    """Write a video of a clip's first seconds, real landmarks left and generated right, with its sound.

    features (2F,L,Ds) of the clip's speech. Returns frames of it, uint8 (H,W,3): real above generated.
    """
    frames = min(len(clip.displacement), int(SECONDS * RATE_HZ))
    layout = LandmarkLayout.load(clip.layout)
    (made,) = sample_clip(denoiser, space, identity, clip, features[: 2 * frames], (0.5,))
    real = clip.displacement[:frames]
    generated = real.copy()
    generated[:, layout.lower] = made[:, layout.lower]
    width = clip.mouth_width
    rows = [
        np.stack([landmark_image(clip.rest + moved * width, layout, SIZE_PX) for moved in movement])
        for movement in (real, generated)
    ]
    speech = Speech.from_waveform(clip.speech[None].numpy(), MODEL_RATE_HZ)
    video = ImageClip.from_frames(np.concatenate(rows, axis=2), RATE_HZ)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(video, path, sound=speech)
    shown = np.linspace(0, frames - 1, COLUMNS).astype(int)
    return np.concatenate([np.concatenate([*row[shown]], axis=1) for row in rows])
