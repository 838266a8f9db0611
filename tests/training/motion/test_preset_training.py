"""Training at a preset's sizes: clips in its layout, its channels, and data that does not fit is refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from mytalk_training.dataset.shards import INDEX_NAME, ShardWriter
from mytalk_training.motion.data import fit_space, read_clips
from mytalk_training.motion.models import preset_config
from safetensors.numpy import save

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.models.preset import Preset
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig


@pytest.fixture
def dataset(tmp_path):
    """A dataset of one sample."""
    generator = np.random.default_rng(0)
    layout = LandmarkLayout.load("mesh478")
    tensors = {
        "displacement": generator.normal(0, 0.05, (40, 478, 3)).astype(np.float16),
        "present": np.ones(40, np.uint8),
        "rest": layout.template,
        "speech": np.zeros(40 * 640, np.int16),
    }
    writer = ShardWriter(tmp_path)
    span = writer.add("clip.motion.safetensors", save(tensors))
    writer.close()
    row = {"key": "clip", "identity": "someone", "layout": "mesh478", "shard": writer.name}
    (tmp_path / INDEX_NAME).write_text(json.dumps(row | {"members": {"motion.safetensors": span}}) + "\n")
    return tmp_path


def test_clips_come_in_the_presets_layout(dataset):
    (plain,), (made,) = read_clips(dataset), read_clips(dataset, "dense669")
    assert (plain.name, plain.identity, len(plain.speech)) == ("clip", "someone", 40 * 640)
    layout = LandmarkLayout.load("dense669")
    assert made.layout == "dense669"
    assert made.displacement.shape == (40, 669, 3)
    assert np.array_equal(made.displacement[:, :478], plain.displacement)
    one, other = layout.middles[0]
    moved = plain.rest + plain.displacement
    expected = (moved[:, one] + moved[:, other]) / 2
    np.testing.assert_allclose((made.rest + made.displacement)[:, 478], expected, atol=1e-3)
    with pytest.raises(ValueError, match="a landmark layout is one of"):
        read_clips(dataset, "unknown")


def test_paper_space_is_standardised_coordinates(dataset):
    paper = Preset.load("paper")
    (clip,) = read_clips(dataset, "dense669")
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


def test_fewer_channels_are_principal_components(dataset):
    space = fit_space(read_clips(dataset), SpaceConfig(lower=6, upper=4))
    assert isinstance(space, LandmarkSpace)
    assert torch.allclose(space.lower_basis @ space.lower_inverse, torch.eye(6), atol=1e-3)


def test_a_folder_without_samples_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not a prepared dataset"):
        read_clips(tmp_path)
    (tmp_path / INDEX_NAME).touch()
    with pytest.raises(FileNotFoundError, match=r"has no samples: its report.md says why"):
        read_clips(tmp_path)


def test_data_that_does_not_fit_the_preset_is_refused():
    paper = Preset.load("paper")
    fits = dataclasses.replace(paper.motion, width=8, process="flow")
    assert preset_config(paper, fits, "elsewhere") == dataclasses.replace(
        paper.motion, process="flow", speech_encoder="elsewhere"
    )
    with pytest.raises(ValueError, match="preset paper needs .*'lower': 540.* give .*'lower': 24"):
        preset_config(paper, dataclasses.replace(paper.motion, lower=24), "elsewhere")
