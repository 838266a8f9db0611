"""`--mixed-precision auto` computes in what this device is fastest with, and says why."""

import pytest
import torch
from mytalk_training.loop import precision


def test_what_is_asked_for_is_taken():
    assert precision.choose_precision("bf16", cpu=True) == ("bf16", "asked for")


@pytest.mark.parametrize(("half_s", "taken"), [(0.3, "bf16"), (30.0, "no")])
def test_a_cpu_computes_in_what_takes_less_time(monkeypatch, half_s, taken):
    seconds = {torch.bfloat16: half_s, torch.float32: 1.0}
    monkeypatch.setattr(precision, "step_seconds", seconds.__getitem__)
    found, reason = precision.choose_precision("auto", cpu=True)
    assert found == taken
    assert f"{half_s:.2g} times as long in bfloat16" in reason


def test_measuring_draws_no_random_numbers_of_the_run():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    assert precision.step_seconds(torch.float32) > 0
    assert torch.equal(torch.rand(4), expected)
