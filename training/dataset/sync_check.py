"""Do lips and sound of a shot belong together, and how late are the lips: the lip-sync expert's word."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mytalk_core.expert.scorer import ExpertScorer
from mytalk_core.expert.sync_expert import MAX_SHIFT, SyncExpert, SyncScore
from mytalk_core.motion.person import RATE_HZ
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.speech.features import SpeechEncoder, SpeechFeatures

FRAME_MS = 1000 / RATE_HZ


def load_expert(source: str, device: str) -> ExpertScorer:
    """The expert of a model ("mini", a folder, hub:OWNER/NAME), or of a folder that expert.train wrote.

    Errors as in `PretrainedModel`.
    """
    folder = Path(source)
    if not (folder / "config.json").is_file():
        return ExpertScorer.from_pretrained(source, device=device)
    expert = SyncExpert.from_pretrained(folder, device=device)
    space = LandmarkSpace.from_pretrained(folder, "space")
    return ExpertScorer(
        expert, space, SpeechEncoder.from_pretrained(layers=expert.config.speech_layers, device=device)
    )


def judge(scorer: ExpertScorer, displacement: np.ndarray, speech: np.ndarray) -> SyncScore | None:
    """The expert's score of movement (F,N,3) and speech (S,) at 16 kHz; None if there are too few frames."""
    frames = len(displacement)
    if frames <= 2 * MAX_SHIFT:
        return None
    features = SpeechFeatures(scorer.encoder, speech, 2 * frames)
    return scorer.expert.score(scorer.space.encode_lower(displacement), features.window(0, 2 * frames))
