"""Every network, and what the renderers do in PyTorch, on a card that is not there.

A tensor made on the wrong device fails here, without a GPU.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fake_card import CARD, card_there
from repository import EXAMPLES

from mytalk_core.appearance.mouth import Parting
from mytalk_core.appearance.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from mytalk_core.appearance.networks.generator import AppearanceConfig, AppearanceGenerator
from mytalk_core.appearance.networks.perceptual import PerceptualConfig, PerceptualDistance
from mytalk_core.appearance.renderers import LoadedRenderer
from mytalk_core.appearance.warp_renderer import AT_ONCE, WarpRenderer
from mytalk_core.evaluation.networks.alexnet import AlexNetConfig, AlexNetDistance
from mytalk_core.evaluation.networks.inception import Inception, InceptionConfig
from mytalk_core.evaluation.networks.lpips import perceptual_score
from mytalk_core.evaluation.networks.syncnet_v2 import SyncNet, SyncNetConfig
from mytalk_core.expert.scorer import ExpertScorer
from mytalk_core.face.detector import INPUT_PX, BlazeFace
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.remux import copy_untagged
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.motion.diffusion import SAMPLERS
from mytalk_core.motion.generate import MotionOptions
from mytalk_core.motion.motion import Motion
from mytalk_core.pipeline import LipSync, stages
from mytalk_core.pipeline.ahead import work_threads

LEFT = "on the card and on the CPU|must be on the same device"
SIZES = {"size": 64, "width": 8, "multipliers": (1, 2), "blocks": 1, "groups": 4, "fusion_width": 8}


def part_of_example(folder, seconds):
    path = folder / "a.mp4"
    copy_untagged(EXAMPLES / "ai_woman.mp4", path, seconds)
    return FileClip.open(path)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return part_of_example(tmp_path_factory.mktemp("clip"), 0.3)


@pytest.fixture(scope="module")
def longer(tmp_path_factory):
    """A clip and its face, long enough to be scored, and for a model of its texture."""
    clip = part_of_example(tmp_path_factory.mktemp("clip"), 1.7)
    return clip, stages.track(load_face_reader("cpu"), clip).choose("largest")


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
            with pytest.raises(RuntimeError, match=LEFT):
                wrong()
        with pytest.raises(RuntimeError, match="float64 on the card"):
            boxes.double()


def test_all_that_was_loaded_is_on_the_card(model):
    for name, network in model.networks.items():
        tensors = [*network.parameters(), *network.buffers()]
        assert {tensor.device.type for tensor in tensors} == {CARD.type}, name
    assert model.dtype == torch.bfloat16


def detect(model, clip, face, speech):
    frame = next(clip.pictures()).rgb
    assert model.reader.detector.detect(frame, tiles=True) == []


def read_mesh(model, clip, face, speech):
    frame = next(clip.pictures()).rgb
    landmarks, presence = model.reader.mesh.read([frame, frame], [np.array([250.0, 250, 300, 0])] * 2)
    assert landmarks.shape == (2, 478, 3) and presence.shape == (2,)


def speak(model, clip, face, speech, sampler="ddim"):
    timeline = plan_timeline(clip, speech.duration_s)
    options = MotionOptions(2, guidance=2.0, sampler=sampler, temperature=1.0)
    motion = model.speak(speech, face, timeline, options, model.identify(face))
    assert len(motion.landmarks) == timeline.moments(25)


def draw(model, clip, face, speech):
    drawn = model.draw(clip, face, None, plan_timeline(clip, speech.duration_s))
    # Two at once, and then one more.
    assert [edit.picture.index for edit in drawn.edits([0, 3, 5]) if edit.patches] == [0, 3, 5]


# What each network of a model does.
WORK = {
    "face detector": detect,
    "face mesh": read_mesh,
    "motion denoiser": speak,
    "identity extractor": speak,
    "speech encoder": speak,
    "renderer network": draw,
}


def test_every_network_has_its_work(model):
    assert model.networks.keys() == WORK.keys()


@pytest.mark.parametrize("work", dict.fromkeys(WORK.values()), ids=lambda work: work.__name__)
def test_work_of_the_model(model, clip, face, speech, work):
    with card_there():
        work(model, clip, face, speech)


@pytest.mark.parametrize("name", WORK)
def test_a_network_of_which_a_part_is_left_is_found(model, clip, face, speech, name, monkeypatch):
    layer = next(one for one in model.networks[name].modules() if getattr(one, "weight", None) is not None)
    with card_there():
        monkeypatch.setitem(layer._parameters, "weight", torch.nn.Parameter(torch.zeros(layer.weight.shape)))
        with pytest.raises(RuntimeError, match=LEFT):
            WORK[name](model, clip, face, speech)


@pytest.mark.parametrize("sampler", [name for name in SAMPLERS if name != "ddim"])
def test_every_sampler(model, clip, face, speech, sampler):
    with card_there():
        speak(model, clip, face, speech, sampler)


def drawn_with(renderer, clip, face):
    """The clip with lips 2 units lower, so that something moves along."""
    lower = LandmarkLayout.load(face.layout).lower
    motion = Motion(face.canonical[:][:, lower] + np.float32([0, 2]), face.layout, lower)
    return stages.draw(renderer, clip, face, motion, plan_timeline(clip, clip.duration_s))


def draw_together(drawn):
    """Two frames in one call."""
    assert drawn.together() > 1 and drawn.threads == min(work_threads(), AT_ONCE)
    assert [bool(edit.patches) for edit in drawn.edits([0, 1])] == [True, True]


@pytest.fixture(scope="module")
def warped(longer):
    return drawn_with(LoadedRenderer(device=CARD), *longer)


def test_no_more_threads_give_a_card_its_work_than_do_it_good(warped, monkeypatch):
    monkeypatch.setattr("mytalk_core.pipeline.rendered.work_threads", lambda: AT_ONCE + 2)
    assert warped.threads == AT_ONCE


@pytest.fixture
def parted(monkeypatch):
    """Teeth that part and frames out of focus, so that all is done that may be."""
    monkeypatch.setattr("mytalk_core.appearance.references.mouths.parting", lambda *_: Parting(apart=2.0))
    monkeypatch.setattr("mytalk_core.appearance.focus.UsualFocus.missing", lambda *_: np.array([1.0, 2.0]))


def test_lips_that_are_warped_are_drawn_there_without_a_network(warped, parted, monkeypatch):
    batches, lips = [], WarpRenderer.lips_batched
    monkeypatch.setattr(
        WarpRenderer, "lips_batched", lambda self, batch: batches.append(batch) or lips(self, batch)
    )
    with card_there():
        draw_together(warped)
    assert [batch.device.type for batch in batches] == [CARD.type]
    assert all(frame.texture is not None for frame in batches[0].frames)


@pytest.mark.parametrize(
    "module", ["batch", "focus", "lips", "matching", "mouth", "raster", "surroundings", "warp", "windows"]
)
def test_picture_work_that_is_left_on_the_cpu_is_found(warped, parted, module, monkeypatch):
    path = f"mytalk_core.appearance.on_device.{module}.on"
    monkeypatch.setattr(path, lambda array, device: torch.from_numpy(np.array(array, np.float32)))
    with card_there(), pytest.raises((RuntimeError, IndexError), match=f"{LEFT}|must be"):
        draw_together(warped)


@pytest.mark.parametrize("changes", [{}, {"reference_alignment": "mesh"}, {"references": "full-single"}])
def test_the_generator_draws(clip, face, changes):
    generator = AppearanceGenerator(AppearanceConfig(landmark_layout=face.layout, **SIZES | changes))
    with card_there():
        renderer = LoadedRenderer("generator", generator.to(CARD).eval(), torch.float32)
        drawn = drawn_with(renderer, clip, face)
        draw_together(drawn)
        generator.landmark_encoder.to("cpu")
        with pytest.raises(RuntimeError, match=LEFT):
            draw_together(drawn)


def test_the_expert_scores(longer, speech):
    with card_there():
        scorer = ExpertScorer.from_pretrained("mini", device=CARD)
        assert scorer.score(longer[1], speech.mono_16k) is not None
        next(iter(scorer.expert.children())).to("cpu")
        with pytest.raises(RuntimeError, match=LEFT):
            scorer.score(longer[1], speech.mono_16k)


def test_what_evaluation_and_training_measure_with(longer, speech):
    black, grey = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), 99, np.uint8)
    with card_there():
        for network in (AlexNetDistance(AlexNetConfig()), PerceptualDistance(PerceptualConfig())):
            score = perceptual_score(network.to(CARD), black, grey, np.ones((64, 64), bool))
            assert score.whole == score.inside == 0
        assert Inception(InceptionConfig()).to(CARD).eval().read(black[None]).shape == (1, 2048)
        assert SyncNet(SyncNetConfig()).to(CARD).eval().score(*longer, speech.mono_16k) is not None
        judge = PatchDiscriminator(DiscriminatorConfig()).to(CARD)
        assert judge(torch.zeros(1, 3, 64, 64, device=CARD)).device.type == CARD.type
