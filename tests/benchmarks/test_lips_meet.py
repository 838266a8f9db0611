"""How far lips are apart, as `benchmarks/lips_meet.py` says it."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from repository import ROOT

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion.person import OPENING_PAIRS, interocular


@pytest.fixture
def lips_meet(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import lips_meet

    yield lips_meet
    for name in ("lips_meet", "motion", "manifest"):
        sys.modules.pop(name, None)


def test_lips_that_overlap_are_below_zero_in_a_head_that_tilts(lips_meet):
    face = LandmarkLayout.load("mesh478").template[:, :2].astype(np.float64)
    face[OPENING_PAIRS[:, 1]] = face[OPENING_PAIRS[:, 0]]
    assert lips_meet.lips_apart(face) == pytest.approx(0, abs=1e-6)
    for units in (-2.0, 3.0):
        lips = face.copy()
        lips[OPENING_PAIRS[:, 1], 1] += units
        turn = np.array([[0.8, -0.6], [0.6, 0.8]])
        apart = lips_meet.lips_apart(lips @ turn.T)
        assert apart == pytest.approx(units / interocular(face), rel=0.02)


def test_a_missing_reader_is_one_line(lips_meet, monkeypatch):
    monkeypatch.setattr(lips_meet, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pip install mediapipe"):
        lips_meet.Extractor()
