"""Every network, and what the renderers do in PyTorch, on a card that is not there.

A tensor made on the wrong device fails here, without a GPU.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from fake_card import CARD, card_there
from repository import EXAMPLES

from mytalk_core.appearance.discriminator import DiscriminatorConfig, PatchDiscriminator
from mytalk_core.appearance.generator import AppearanceConfig, AppearanceGenerator
from mytalk_core.appearance.perceptual import PerceptualConfig, PerceptualDistance
from mytalk_core.appearance.refiner import MouthRefiner
from mytalk_core.appearance.renderers import LoadedRenderer
from mytalk_core.evaluation.networks.alexnet import AlexNetConfig, AlexNetDistance
from mytalk_core.evaluation.networks.inception import Inception, InceptionConfig
from mytalk_core.evaluation.networks.lpips import perceptual_score
from mytalk_core.evaluation.networks.syncnet_v2 import SyncNet, SyncNetConfig
from mytalk_core.expert.scorer import ExpertScorer
from mytalk_core.face.detector import INPUT_PX, BlazeFace
from mytalk_core.face.tracker import load_face_reader
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.remux import copy_untagged
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.motion.diffusion import SAMPLERS
from mytalk_core.motion.generate import MotionOptions
from mytalk_core.pipeline import LipSync, stages

SIZES = {"size": 64, "width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "fusion_width": 8}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    copy_untagged(EXAMPLES / "ai_woman.mp4", path, 1.7)
    return FileClip.open(path)


@pytest.fixture(scope="module")
def speech():
    return Speech.open(EXAMPLES / "speech_en.wav")


@pytest.fixture(scope="module")
def face(clip):
    return stages.track(load_face_reader("cpu"), clip).choose("largest")


@pytest.fixture(scope="module")
def model():
    with card_there():
        return LipSync.from_pretrained("mini", "network", CARD)


def test_the_fake_card_refuses_a_tensor_of_the_cpu():
    with card_there():
        network = BlazeFace().to(CARD)
        on_cpu = torch.zeros(1, 3, INPUT_PX, INPUT_PX)
        boxes, _ = network(on_cpu.to(CARD))
        assert boxes.device.type == CARD.type
        copied = boxes.cpu()
        assert copied.device.type == "cpu" and type(copied) is torch.Tensor and not copied.any()
        for wrong in (lambda: network(on_cpu), lambda: boxes + copied, lambda: torch.cat([boxes, copied])):
            with pytest.raises(RuntimeError, match="on the card and on the CPU"):
                wrong()


def test_all_that_was_loaded_is_on_the_card(model):
    for name, network in model.networks.items():
        tensors = [*network.parameters(), *network.buffers()]
        assert {tensor.device.type for tensor in tensors} == {CARD.type}, name
    assert model.dtype == torch.bfloat16


def test_faces(model, clip):
    frame = next(clip.pictures()).rgb
    with card_there():
        assert model.reader.detector.detect(frame, tiles=True) == []
        landmarks, presence = model.reader.mesh.read([frame, frame], [np.array([250.0, 250, 300, 0])] * 2)
    assert landmarks.shape == (2, 478, 3) and presence.shape == (2,)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_motion(model, clip, face, speech, sampler):
    timeline = plan_timeline(clip, speech.duration_s)
    with card_there():
        options = MotionOptions(2, guidance=2.0, sampler=sampler, temperature=1.0)
        motion = model.speak(speech, face, timeline, options, model.identify(face))
    assert len(motion.landmarks) == timeline.moments(25)


def test_the_refiner_draws(model, clip, face, speech):
    with card_there():
        drawn = model.draw(clip, face, None, plan_timeline(clip, speech.duration_s))
        assert [edit.picture.index for edit in drawn.edits([0, 3]) if edit.patches] == [0, 3]


def test_a_refiner_that_invents_draws(model, clip, face, speech):
    config = replace(model.renderer.network.config, width=8, widths=(8, 8, 8, 8), inventor=(8, 8))
    with card_there():
        network = MouthRefiner(config).to(CARD).eval()
        renderer = replace(model.renderer, network=network)
        drawn = stages.draw(renderer, clip, face, None, plan_timeline(clip, speech.duration_s))
        assert [bool(edit.patches) for edit in drawn.edits([0])] == [True]


@pytest.mark.parametrize("changes", [{}, {"reference_alignment": "mesh"}, {"references": "full-single"}])
def test_the_generator_draws(clip, face, speech, changes):
    generator = AppearanceGenerator(AppearanceConfig(landmark_layout=face.layout, **SIZES | changes))
    with card_there():
        renderer = LoadedRenderer("generator", generator.to(CARD).eval(), torch.float32)
        drawn = stages.draw(renderer, clip, face, None, plan_timeline(clip, speech.duration_s))
        assert [bool(edit.patches) for edit in drawn.edits([0, 1])] == [True, True]


def test_what_evaluation_and_training_measure_with(clip, face, speech):
    black, grey = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 99, np.uint8)
    with card_there():
        assert ExpertScorer.from_pretrained("mini", device=CARD).score(face, speech.mono_16k) is not None
        for network in (AlexNetDistance(AlexNetConfig()), PerceptualDistance(PerceptualConfig())):
            score = perceptual_score(network.to(CARD), black, grey, np.ones((64, 64), bool))
            assert score.whole == score.inside == 0
        assert Inception(InceptionConfig()).to(CARD).eval().read(black[None]).shape == (1, 2048)
        assert SyncNet(SyncNetConfig()).to(CARD).eval().score(clip, face, speech.mono_16k) is not None
        judge = PatchDiscriminator(DiscriminatorConfig()).to(CARD)
        assert judge(torch.zeros(1, 3, 64, 64, device=CARD)).device.type == CARD.type
