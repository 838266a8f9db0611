"""`--mixed-precision auto` computes in what this device is fastest with, and says why."""

import pytest
from mytalk_training.loop import precision


def test_what_is_asked_for_is_taken():
    assert precision.choose_precision("bf16", cpu=True) == ("bf16", "asked for")


@pytest.mark.parametrize(("cost", "taken"), [(0.3, "bf16"), (30.0, "no")])
def test_a_cpu_computes_in_what_takes_less_time(monkeypatch, cost, taken):
    monkeypatch.setattr(precision, "bfloat16_cost", lambda: cost)
    found, reason = precision.choose_precision("auto", cpu=True)
    assert found == taken
    assert f"{cost:.2g} times as long in bfloat16" in reason
