"""The speech gate: relative to the sound itself."""

from __future__ import annotations

import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.media.audio import Speech
from mytalk_core.speech.activity import PAUSE_FRAMES, speech_frames, speech_presence

RATE_HZ, FRAME = 16_000, 640


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return Speech.open(EXAMPLES / "speech_en.wav").mono_16k


def frames_of(mono: np.ndarray) -> int:
    return len(mono) // FRAME


def test_level_makes_no_difference(speech):
    frames = frames_of(speech)
    loud = speech_frames(speech, frames)
    assert loud.mean() > 0.9
    for gain_db in (-20, -40, -50):
        quiet = speech_frames(speech * np.float32(10 ** (gain_db / 20)), frames)
        assert (quiet == loud).mean() > 0.97, gain_db


@pytest.mark.parametrize("level", [0.1, 0.003])
def test_steady_sounds_are_no_speech(level):
    rng = np.random.default_rng(0)
    white = rng.normal(size=5 * RATE_HZ)
    spectrum = np.fft.rfft(rng.normal(size=5 * RATE_HZ))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)))
    hum = np.sin(2 * np.pi * 440 * np.arange(5 * RATE_HZ) / RATE_HZ)
    for sound in (white, pink / pink.std(), hum):
        assert not speech_presence((level * sound).astype(np.float32), 125).any()


def test_a_long_pause_is_found_behind_noise(speech):
    silence = np.zeros(2 * RATE_HZ, np.float32)
    noise = np.random.default_rng(1).normal(0, 0.1 * speech.std(), len(speech) + len(silence))
    presence = speech_presence(
        (np.concatenate([speech, silence]) + noise).astype(np.float32), frames_of(noise)
    )
    spoken = frames_of(speech)
    assert presence[:spoken].mean() > 0.9 and presence[spoken + 5 :].max() == 0


def test_speech_in_noise_still_moves_the_lips(speech):
    noise = np.random.default_rng(1).normal(0, 0.3 * speech.std(), len(speech))
    assert speech_presence((speech + noise).astype(np.float32), frames_of(speech)).mean() > 0.9


def test_lips_rest_120_ms_behind_the_end_and_move_before_the_start():
    bursts = np.zeros(100 * FRAME, np.float32)
    # Loud and louder by turns, from frame 40 on to 59.
    for frame in range(40, 60):
        bursts[frame * FRAME - 320 : frame * FRAME + 320] = (0.05, 0.2)[frame % 2] * np.sin(
            np.arange(640) / 3
        )
    presence = speech_presence(bursts, 100)
    assert (presence[38:61] == 1).all()
    assert (presence[62:] == 0).all() and (presence[:36] == 0).all()
    assert (np.diff(presence[35:39]) > 0).all()


def test_short_pauses_belong_to_the_speech():
    for pause in (PAUSE_FRAMES - 4, PAUSE_FRAMES + 4):
        level = np.tile([0.05, 0.05, 0.2, 0.2], 25)
        level[40 : 40 + pause] = 0
        sound = np.repeat(level, FRAME) * np.sin(np.arange(100 * FRAME) / 3)
        shown = speech_presence(sound.astype(np.float32), 100)[44 : 36 + pause]
        assert shown.all() if pause < PAUSE_FRAMES else not shown.any()


def test_nothing_is_silent():
    assert not speech_presence(np.zeros(RATE_HZ, np.float32), 25).any()
    assert not speech_presence(np.zeros(0, np.float32), 25).any()
    rounding = np.random.default_rng(0).integers(-1, 2, RATE_HZ).astype(np.float32) / 32768
    assert not speech_presence(rounding, 25).any()
