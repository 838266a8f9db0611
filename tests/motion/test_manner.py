"""The mouth opens as far as this person's does."""

from __future__ import annotations

import numpy as np
import pytest
from test_rest import track

from mytalk_core.media.audio import Speech
from mytalk_core.motion.generate import MotionModel, MotionOptions, generate_motion
from mytalk_core.motion.manner import LEAST_GAIN, MOST_GAIN, Manner
from mytalk_core.motion.person import opening_ratio


def speaking(amplitude: float, frames: int = 150) -> list[float]:
    return list(amplitude * np.sin(np.arange(frames) * 0.9) ** 2)


def test_the_range_is_the_openings_own():
    shown = Manner.shown(track(speaking(0.2)))
    assert 0.1 < shown.opening_range < 0.25
    assert shown.seconds == pytest.approx(6, abs=0.1)
    wide = Manner.shown(track(speaking(0.4)))
    assert wide.opening_range == pytest.approx(2 * shown.opening_range, rel=0.2)


def test_gains_go_towards_the_source_and_are_bounded():
    usual = Manner(0.15, 60.0)
    assert Manner(0.15, 60.0).gain(usual) == pytest.approx(1)
    assert Manner(0.10, 60.0).gain(usual) == pytest.approx(0.67, abs=0.02)
    assert LEAST_GAIN <= Manner(0.031, 1000.0).gain(usual) < LEAST_GAIN + 0.02
    assert MOST_GAIN - 0.03 < Manner(2.0, 1000.0).gain(usual) <= MOST_GAIN
    # A few seconds tell less than many.
    assert 1 < Manner(0.2, 3.0).gain(usual) < Manner(0.2, 60.0).gain(usual)
    assert 1 < Manner(0.2, 60.0).gain(Manner(0.15, 3.0)) < Manner(0.2, 60.0).gain(usual)


def test_a_still_a_listener_and_a_moment_tell_nothing():
    usual = Manner(0.15, 60.0)
    for openings in ([0.1] * 200, speaking(0.02), speaking(0.3, 30), [0.1]):
        assert Manner.shown(track(openings)).gain(usual) == 1
    # Two seconds tell, by halves.
    assert Manner.shown(track(speaking(0.3, 50))).gain(Manner(0.1, 60.0)) > 1.2
    # A second of speech in a loop is still a second.
    looped = track(speaking(0.3, 25)).take(np.arange(200) % 25, np.arange(200) / 25)
    assert Manner.shown(looped).seconds == pytest.approx(1, abs=0.1)
    # A face that is there half of the time speaks half as long.
    away = track(speaking(0.2))
    away.present[::2] = False
    assert Manner.shown(away).seconds == pytest.approx(3, abs=0.2)
    assert Manner(0.2, 60.0).gain(Manner(0.0, 0.0)) == 1


def test_unknown_manners_are_refused():
    with pytest.raises(ValueError, match="own, model"):
        MotionOptions(manner="mine")


def test_calm_and_lively_people_differ_in_what_is_generated(examples):
    model = MotionModel.from_pretrained("mini")
    mono = Speech.open(examples / "speech_en.wav").mono_16k
    ranges = {}
    for amplitude in (0.06, 0.3):
        face = track(speaking(amplitude, 110))
        canonical = face.canonical[np.arange(110)]
        for manner in ("own", "model"):
            motion = generate_motion(model, mono, face, 110, MotionOptions(steps=3, manner=manner))
            opening = opening_ratio(motion.onto(canonical, face.times_s))
            ranges[manner, amplitude] = np.ptp(np.quantile(opening, (0.2, 0.95)))
    assert ranges["own", 0.06] < 0.85 * ranges["model", 0.06]
    assert ranges["own", 0.3] > 1.3 * ranges["own", 0.06]
    silent = generate_motion(model, np.zeros(16_000, np.float32), face, 110, MotionOptions(steps=1))
    assert opening_ratio(silent.onto(canonical, face.times_s)).max() < 0.005
