"""`LipSync`: every network loaded once, by name, and nothing read again."""

from __future__ import annotations

import shutil
import sys

import pytest
import torch

from mytalk_core.checkpoint.pretrained import BUNDLED
from mytalk_core.media.remux import copy_untagged
from mytalk_core.pipeline import LipSync, lip_sync

opened: list[str] = []
watching = False


def note_opened(event: str, arguments: tuple) -> None:
    if watching and event == "open" and isinstance(arguments[0], str) and ".safetensors" in arguments[0]:
        opened.append(arguments[0])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return shutil.copytree(BUNDLED / "mini", tmp_path_factory.mktemp("models") / "mini")


@pytest.fixture(scope="module")
def model(folder):
    return LipSync.from_pretrained(folder, renderer="network")


def test_every_network_has_a_name(model):
    assert set(model.networks) == {
        "face detector",
        "face mesh",
        "motion denoiser",
        "identity extractor",
        "speech encoder",
        "renderer network",
    }
    assert all(isinstance(network, torch.nn.Module) for network in model.networks.values())


def test_another_renderer_shares_the_rest(model):
    plain = model.with_renderer("warp")
    assert plain.renderer.network is None and "refiner" in model.hashes and "refiner" not in plain.hashes
    assert plain.motion is model.motion and plain.reader is model.reader
    assert set(plain.hashes) == {"motion", "space", "identity", "speech"}


def test_a_second_run_loads_nothing(model, folder, tmp_path, examples):
    global watching
    copy_untagged(examples / "ai_woman.mp4", tmp_path / "in.mp4", 0.3)
    runs = {}
    sys.addaudithook(note_opened)
    for name in ("first", "second"):
        out = tmp_path / f"{name}.mp4"
        runs[name] = lip_sync(tmp_path / "in.mp4", examples / "speech_en.wav", out, model=model)
        # Not even the files need to be there any more.
        shutil.rmtree(folder, ignore_errors=True)
        watching = True
    watching = False
    assert opened == []
    assert (tmp_path / "first.mp4").read_bytes() == (tmp_path / "second.mp4").read_bytes()
    assert runs["first"].model_hashes == runs["second"].model_hashes and runs["second"].renderer == "network"
    assert runs["first"].dtypes == {"motion": "torch.float32", "drawing": str(model.renderer.dtype)}
    watching = True
    LipSync.from_pretrained("mini", "warp")
    watching = False
    assert opened, "the count would tell"


def test_dtype_reaches_the_renderer():
    model = LipSync.from_pretrained("mini", "network", dtype="bfloat16")
    assert model.renderer.dtype == torch.bfloat16 and model.motion.denoiser.config is not None
    assert next(model.motion.denoiser.parameters()).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="dtype"):
        LipSync.from_pretrained("mini", dtype="half")
