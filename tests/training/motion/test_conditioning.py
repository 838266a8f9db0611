"""How the denoiser is told of the person (Tab. 5): one flag of the training, the same in generation."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
import torch
from mytalk_training.motion.models import motion_config, preset_config

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.models.preset import Preset
from mytalk_core.motion.denoiser import CONDITIONING, MotionDenoiser
from mytalk_core.motion.generate import MotionModel, embed_identity
from mytalk_core.motion.identity import IdentityConfig, IdentityExtractor
from mytalk_core.motion.person import Person, identity_channels
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig


@pytest.mark.parametrize("conditioning", CONDITIONING)
def test_the_flag_reaches_model_and_generation(conditioning):
    space = LandmarkSpace(SpaceConfig(lower=6, upper=4))
    extractor = IdentityExtractor(IdentityConfig(956, "mesh478", width=8, hidden_layers=1, embedding=7))
    encoder = SimpleNamespace(dim=5, layers=(12,))
    sizes = {"width": 8, "layers": 1, "dropout": 0.0}
    config = motion_config(space, encoder, extractor, **sizes, process="diffusion", conditioning=conditioning)
    assert config.conditioning == conditioning
    denoiser = MotionDenoiser(config).eval()
    layout = LandmarkLayout.load("mesh478")
    with torch.no_grad():
        told = embed_identity(
            MotionModel(denoiser, space, extractor, None), Person(layout.template, layout.name)
        )
        made = denoiser(
            torch.zeros(1, 9, 6), torch.zeros(1), torch.zeros(1, 9, 8), torch.zeros(1, 9, 4), told[None]
        )
    assert made.shape == (1, 9, 6)
    landmarks = identity_channels(torch.from_numpy(layout.template[None, :, :2]))
    expected = extractor(landmarks) if conditioning == "id-cross-attention" else landmarks
    torch.testing.assert_close(told, expected)


def test_a_presets_conditioning_can_be_changed():
    paper = Preset.load("paper")
    found = dataclasses.replace(paper.motion, conditioning="add-key-landmark", identity_width=1338)
    config = preset_config(paper, found, "speech")
    assert (config.conditioning, config.identity_width) == ("add-key-landmark", 1338)
    assert config.width == paper.motion.width
