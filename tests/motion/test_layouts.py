"""A model in the paper's layout moves tracks of the face mesh."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from repository import EXAMPLES
from tiny_models import TINY_MOTION

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.packed import PackedLandmarks
from mytalk_core.face.track import FaceTrack, build_track
from mytalk_core.media.audio import Speech
from mytalk_core.motion.denoiser import MotionConfig, MotionDenoiser
from mytalk_core.motion.generate import MotionModel, MotionOptions, embed_identity, generate_motion
from mytalk_core.motion.identity import IdentityConfig, IdentityExtractor
from mytalk_core.motion.person import find_rest
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.speech.features import SpeechEncoder


@pytest.fixture(scope="module")
def track() -> FaceTrack:
    layout = LandmarkLayout.load("mesh478")
    moves = np.random.default_rng(0).normal(0, 0.4, (30, 478, 3)).astype(np.float32)
    landmarks = PackedLandmarks.pack(layout.template + moves)
    return build_track(landmarks, np.ones(30, bool), np.arange(30) / 25, np.zeros(30, np.int32))


@pytest.fixture(scope="module")
def model(track) -> MotionModel:
    torch.manual_seed(0)
    dense = track.in_layout("dense669")
    moves = np.random.default_rng(1).normal(0, 0.05, (40, dense.landmarks.shape[1], 3))
    space = LandmarkSpace.fit_coordinates("dense669", moves)
    config = MotionConfig(
        speech_width=384,
        speech_layers=(2,),
        **TINY_MOTION,
        identity_width=6,
        condition_mlp=0,
    )
    identity = IdentityExtractor(IdentityConfig(width=8, hidden_layers=1, embedding=6))
    speech = SpeechEncoder.from_pretrained("mini", layers=(2,))
    return MotionModel(MotionDenoiser(config).eval(), space, identity.eval(), speech)


def test_motion_is_in_the_tracks_layout(model, track):
    mesh = LandmarkLayout.load("mesh478")
    speech = Speech.open(EXAMPLES / "speech_en.wav").mono_16k[16_000:32_000]
    with torch.no_grad():
        motion = generate_motion(model, speech, track, 25, MotionOptions(steps=2, temperature=1.0))
    assert motion.layout == "mesh478"
    assert np.array_equal(motion.points, mesh.lower)
    times_s = np.arange(25) / 25
    canonical = track.canonical[np.arange(25)]
    moved = motion.onto(canonical, times_s)
    lips = np.abs(moved - canonical)[:, mesh.lips].max(-1)
    assert 0.01 < lips.mean() < 20
    assert np.array_equal(moved[:, mesh.upper], canonical[:, mesh.upper])


def test_identity_is_the_same_from_either_layout(model, track):
    person, dense = find_rest(track), find_rest(track.in_layout("dense669"))
    assert (person.layout, dense.layout) == ("mesh478", "dense669")
    with torch.no_grad():
        one, other = embed_identity(model, person), embed_identity(model, dense)
    torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-2)
