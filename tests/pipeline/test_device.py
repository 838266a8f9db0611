"""What the networks compute in where nobody says it."""

import pytest
import torch

from mytalk_core.pipeline import LipSync, device
from mytalk_core.pipeline.device import choose_drawing_dtype, choose_dtype

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("cost", "taken"), [(0.3, torch.bfloat16), (0.9, torch.float32), (30.0, torch.float32)]
)
def test_a_cpu_draws_in_bfloat16_where_that_is_quicker_for_sure(monkeypatch, cost, taken):
    monkeypatch.setattr(device, "bfloat16_cost", lambda: cost)
    assert choose_drawing_dtype("auto", CPU) == taken
    assert choose_dtype("auto", CPU) == torch.float32
    assert choose_drawing_dtype("float32", CPU) == choose_drawing_dtype(torch.float32, CPU) == torch.float32


def test_a_renderer_that_is_taken_later_draws_in_it_too(monkeypatch):
    monkeypatch.setattr(device, "bfloat16_cost", lambda: 0.3)
    model = LipSync.from_pretrained("mini", renderer="warp", device="cpu")
    assert model.dtype == torch.float32
    assert model.with_renderer("network").renderer.dtype == torch.bfloat16
    plain = LipSync.from_pretrained("mini", renderer="network", device="cpu", dtype="float32")
    assert plain.renderer.dtype == torch.float32


def test_measuring_draws_no_random_numbers():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    assert device.convolution_seconds(torch.float32) > 0
    assert torch.equal(torch.rand(4), expected)
