"""Training at a preset's sizes: clips in its layout, its channels, and data that does not fit is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig
from mytalk_core.preset import Preset
from training.motion_data import fit_space, read_clip
from training.train_motion import preset_config


@pytest.fixture
def clip_file(tmp_path):
    generator = np.random.default_rng(0)
    layout = LandmarkLayout.load("mesh478")
    tensors = {
        "displacement": generator.normal(0, 0.05, (40, 478, 3)).astype(np.float16),
        "present": np.ones(40, np.uint8),
        "rest": layout.template,
        "speech": np.zeros(40 * 640, np.int16),
    }
    path = tmp_path / "clip.safetensors"
    save_file(tensors, path, {"identity": "someone", "layout": "mesh478"})
    return path


def test_clips_come_in_the_presets_layout(clip_file):
    plain, made = read_clip(clip_file), read_clip(clip_file, "dense669")
    layout = LandmarkLayout.load("dense669")
    assert made.layout == "dense669"
    assert made.displacement.shape == (40, 669, 3)
    assert np.array_equal(made.displacement[:, :478], plain.displacement)
    one, other = layout.middles[0]
    moved = plain.rest + plain.displacement
    expected = (moved[:, one] + moved[:, other]) / 2
    np.testing.assert_allclose((made.rest + made.displacement)[:, 478], expected, atol=1e-3)
    with pytest.raises(ValueError, match="a landmark layout is one of"):
        read_clip(clip_file, "unknown")


def test_paper_space_is_standardised_coordinates(clip_file):
    paper = Preset.load("paper")
    clip = read_clip(clip_file, "dense669")
    space = fit_space([clip], paper.space)
    assert space.config == paper.space
    channels = space.encode_lower(clip.displacement)
    assert channels.shape == (40, 540)
    assert 0.8 < channels.std() < 1.2
    lower = LandmarkLayout.load("dense669").lower
    decoded = space.decode_lower(channels)
    np.testing.assert_allclose(decoded[:, lower, :2], clip.displacement[:, lower, :2], atol=1e-4)
    assert (decoded[..., 2] == 0).all()
    assert space.encode_upper(clip.displacement).shape == (40, 282)


def test_fewer_channels_are_principal_components(clip_file):
    space = fit_space([read_clip(clip_file)], SpaceConfig(lower=6, upper=4))
    assert isinstance(space, LandmarkSpace)
    assert torch.allclose(space.lower_basis @ space.lower_inverse, torch.eye(6), atol=1e-3)


def test_data_that_does_not_fit_the_preset_is_refused():
    paper = Preset.load("paper")
    fits = dataclasses.replace(paper.motion, width=8, process="flow")
    assert preset_config(paper, fits, "elsewhere") == dataclasses.replace(
        paper.motion, process="flow", speech_encoder="elsewhere"
    )
    with pytest.raises(ValueError, match="preset paper needs .*'lower': 540.* give .*'lower': 24"):
        preset_config(paper, dataclasses.replace(paper.motion, lower=24), "elsewhere")
