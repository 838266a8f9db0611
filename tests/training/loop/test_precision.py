"""`--mixed-precision auto` computes in what this device is fastest with, and says why."""

import pytest
from mytalk_training.loop import precision


def test_what_is_asked_for_is_taken():
    assert precision.choose_precision("bf16", cpu=True) == ("bf16", "asked for")


@pytest.mark.parametrize(("amx", "taken"), [(True, "bf16"), (False, "no")])
def test_a_cpu_computes_in_bfloat16_where_it_has_amx(monkeypatch, amx, taken):
    monkeypatch.setattr(precision, "has_amx", lambda: amx)
    found, reason = precision.choose_precision("auto", cpu=True)
    assert found == taken
    assert "AMX" in reason
