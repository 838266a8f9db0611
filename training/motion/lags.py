"""How late the lips of a training clip are, finer than a frame, and clips whose sound is another's."""

from __future__ import annotations

from dataclasses import replace

import torch
from tqdm import tqdm

from mytalk_core.expert.scorer import ExpertScorer
from mytalk_core.expert.sync_expert import MAX_SHIFT
from mytalk_core.motion.person import RATE_HZ
from mytalk_core.speech.features import SAMPLES_PER_FRAME

from ..dataset.samples import shift
from ..dataset.sync_check import judge
from .data import RawClip


def in_sync(clips: list[RawClip], scorer: ExpertScorer, least_confidence: float) -> list[RawClip]:
    """The clips whose lips and sound agree by the expert's word, their speech moved to where the lips are.

    Clips too short to judge, and those of less confidence, are left out: what is not known to be in sync
    teaches the model to move at random.
    """
    agreed = []
    for clip in tqdm(clips, desc="lags"):
        score = judge(scorer, clip.displacement, clip.speech.numpy())
        if score is None or score.confidence < least_confidence or abs(score.offset_frames) == MAX_SHIFT:
            continue
        agreed.append(moved(clip, score.late_frames / RATE_HZ))
    return agreed


def moved(clip: RawClip, late_s: float) -> RawClip:
    """The clip with its speech as late as its lips are, movement and speech equally long."""
    speech = shift(clip.speech.numpy(), late_s)
    frames = min(len(clip.displacement), len(speech) // SAMPLES_PER_FRAME)
    return replace(
        clip,
        displacement=clip.displacement[:frames],
        present=clip.present[:frames],
        speech=torch.from_numpy(speech[: frames * SAMPLES_PER_FRAME].copy()),
    )
