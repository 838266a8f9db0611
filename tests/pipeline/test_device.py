"""What the networks compute in where nobody says it."""

import pytest
import torch

from mytalk_core.pipeline import LipSync
from mytalk_core.pipeline.device import choose_drawing_dtype, choose_dtype

CPU = torch.device("cpu")


@pytest.fixture
def amx(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)


@pytest.fixture(params=["none", "unknown"])
def no_amx(request, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True}, raising=False)
    if request.param == "unknown":
        monkeypatch.delattr(torch.cpu, "get_capabilities")


def test_a_cpu_that_multiplies_bfloat16_draws_in_it(amx):
    assert choose_drawing_dtype("auto", CPU) == torch.bfloat16
    assert choose_dtype("auto", CPU) == torch.float32
    assert choose_drawing_dtype("float32", CPU) == choose_drawing_dtype(torch.float32, CPU) == torch.float32


def test_any_other_cpu_draws_in_float32(no_amx):
    assert choose_drawing_dtype("auto", CPU) == torch.float32


def test_a_renderer_that_is_taken_later_draws_in_it_too(amx):
    model = LipSync.from_pretrained("mini", renderer="warp", device="cpu")
    assert model.dtype == torch.float32
    assert model.with_renderer("network").renderer.dtype == torch.bfloat16
    plain = LipSync.from_pretrained("mini", renderer="network", device="cpu", dtype="float32")
    assert plain.renderer.dtype == torch.float32
