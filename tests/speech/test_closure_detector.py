"""The network that hears on which sounds lips meet."""

from __future__ import annotations

import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.evaluation.networks.phones import find_recogniser
from mytalk_core.media.audio import Speech
from mytalk_core.speech import closures
from mytalk_core.speech.closures import LAYERS, load_closure_detector
from mytalk_core.speech.features import SpeechEncoder, SpeechFeatures


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return Speech.open(EXAMPLES / "speech_en.wav").mono_16k


@pytest.fixture(scope="module")
def sure(speech) -> np.ndarray:
    encoder = SpeechEncoder.from_pretrained("mini", layers=LAYERS)
    return load_closure_detector().probabilities(SpeechFeatures(encoder, speech))


def test_it_is_surer_within_p_b_m_than_elsewhere(speech, sure):
    recogniser = find_recogniser()
    if recogniser is None:
        pytest.skip("needs pocketsphinx")
    moments = np.arange(len(sure)) / 50
    spans = recogniser.bilabial_times(speech)
    within = np.any([(moments >= start) & (moments < end) for start, end in spans], axis=0)
    assert within.sum() > 10
    assert sure[within].mean() > 4 * sure[~within].mean()


def test_silence_has_none():
    encoder = SpeechEncoder.from_pretrained("mini", layers=LAYERS)
    silent = SpeechFeatures(encoder, np.zeros(32_000, np.float32))
    assert load_closure_detector().probabilities(silent).max() < 0.1


def test_pieces_make_no_difference(speech, sure, monkeypatch):
    monkeypatch.setattr(closures, "BLOCK", 37)
    encoder = SpeechEncoder.from_pretrained("mini", layers=LAYERS)
    again = load_closure_detector().probabilities(SpeechFeatures(encoder, speech))
    np.testing.assert_allclose(again, sure, atol=1e-5)


def test_another_encoders_features_are_read_anew(speech, sure):
    other = SpeechEncoder.from_pretrained("mini", layers=(1,))
    again = load_closure_detector().probabilities(SpeechFeatures(other, speech))
    np.testing.assert_allclose(again, sure, atol=1e-5)
