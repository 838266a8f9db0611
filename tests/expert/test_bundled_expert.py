"""The bundled lip-sync expert hears the bundled motion model's lips speak, and how late they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from repository import EXAMPLES

from mytalk_core.expert.sync_expert import SyncExpert
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.audio import Speech
from mytalk_core.motion.diffusion import PROCESSES
from mytalk_core.motion.generate import MotionModel, embed_identity
from mytalk_core.motion.person import Person
from mytalk_core.motion.sampler import EncodedSpeech, sample_motion
from mytalk_core.speech.features import SpeechFeatures

SPEECH = EXAMPLES / "speech_en.wav"
FRAMES = 100


@pytest.fixture(scope="module")
def spoken() -> tuple[torch.Tensor, torch.Tensor]:
    """Lips (F,D) that the bundled model made for the sample's speech, and that speech's features."""
    model = MotionModel.from_pretrained("mini")
    layout = LandmarkLayout.load("mesh478")
    speech = Speech.open(SPEECH).mono_16k
    features = SpeechFeatures(model.speech_encoder, np.asarray(speech), 2 * FRAMES)
    lips = sample_motion(
        model.denoiser,
        PROCESSES[model.denoiser.config.process](),
        EncodedSpeech(model.denoiser, features),
        torch.zeros(FRAMES, model.space.config.upper),
        embed_identity(model, Person(layout.template, layout.name)),
        temperature=0.3,
    )
    return lips, features.window(0, 2 * FRAMES)


@pytest.mark.parametrize("delay", [0, 6, -5])
def test_generated_lips_are_found_in_time(spoken, delay):
    expert = SyncExpert.from_pretrained("mini", "sync")
    lips, features = spoken
    score = expert.score(torch.roll(lips, delay, dims=0), features)
    assert abs(score.offset_frames - delay) <= 1
    assert score.confidence > 0.2
