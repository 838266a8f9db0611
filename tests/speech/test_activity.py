"""The speech gate: voices move the lips, however quiet; nothing else does."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from repository import EXAMPLES

from mytalk_core.media.audio import Speech
from mytalk_core.speech import activity
from mytalk_core.speech.activity import PAUSE_FRAMES, speech_frames, speech_presence
from mytalk_core.speech.singing import load_singing_detector
from mytalk_core.speech.voice import PIECE, load_voice_detector

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


def tune(seconds: float) -> np.ndarray:
    """Chords with a beat, in which every note fades."""
    rng, times = np.random.default_rng(3), np.arange(RATE_HZ // 2) / RATE_HZ
    beats = []
    for _ in range(int(2 * seconds)):
        root = 130.8 * 2 ** (rng.choice([0, 2, 4, 5, 7, 9]) / 12)
        tones = [root * step * harmonic for step in (1, 1.26, 1.5) for harmonic in (1, 2, 3)]
        chord = sum(np.sin(2 * np.pi * tone * times) for tone in tones) * np.exp(-4 * times)
        beats.append(chord + 2 * rng.normal(size=len(times)) * np.exp(-60 * times))
    return np.concatenate(beats) / 20


def gusts(seconds: float) -> np.ndarray:
    """Noise that rises and falls as speech does."""
    rng, count = np.random.default_rng(4), int(seconds * RATE_HZ)
    loudness = np.interp(
        np.arange(count), np.arange(0, count, RATE_HZ // 5), rng.uniform(0, 1, -(-count // 3200))
    )
    return 0.2 * loudness * rng.normal(size=count)


def clicks(seconds: float) -> np.ndarray:
    """Keys that are struck."""
    rng, sound = np.random.default_rng(5), np.zeros(int(seconds * RATE_HZ))
    for start in np.cumsum(rng.uniform(0.1, 0.4, int(2 * seconds))) * RATE_HZ:
        stroke = sound[int(start) : int(start) + 800]
        stroke += rng.normal(size=len(stroke)) * np.exp(-np.arange(len(stroke)) / 100)
    return 0.3 * sound


@pytest.mark.parametrize("sound", [tune, gusts, clicks])
@pytest.mark.parametrize("level", [1.0, 0.01])
def test_what_rises_and_falls_is_speech_only_with_a_voice_in_it(sound, level):
    assert not speech_presence((level * sound(6)).astype(np.float32), 150).any()


def breath(seed: int) -> np.ndarray:
    """A quiet room in which somebody breathes out once, for some tenths of a second."""
    rng, count = np.random.default_rng(seed), 5 * RATE_HZ

    def around(samples: int, hz: float, width_hz: float) -> np.ndarray:
        spectrum = np.fft.rfft(rng.normal(size=samples))
        share = np.exp(-(((np.fft.rfftfreq(samples, 1 / RATE_HZ) - hz) / width_hz) ** 2))
        sound = np.fft.irfft(spectrum * share, samples)
        return sound / sound.std()

    rumble = np.fft.irfft(np.fft.rfft(rng.normal(size=count)) / np.sqrt(1 + np.arange(count // 2 + 1) / 400))
    length = int(rng.uniform(0.2, 0.5) * RATE_HZ)
    breath = around(length, rng.uniform(400, 900), 300)
    breath += rng.uniform(0.3, 1) * around(length, rng.uniform(1300, 2600), 500)
    breath += 0.3 * around(length, 4500, 1500)
    room = rumble / rumble.std()
    room[2 * RATE_HZ :][:length] += rng.uniform(1, 6) * np.sin(np.linspace(0, np.pi, length)) * breath
    return room / room.std()


@pytest.mark.parametrize("level_db", [-30, -66])
def test_a_breath_in_a_quiet_room_is_no_word(level_db):
    for seed in (0, 9, 23, 34, 55):
        assert not speech_presence((10 ** (level_db / 20) * breath(seed)).astype(np.float32), 125).any(), seed


@pytest.mark.parametrize("level_db", [0, -40])
def test_a_single_word_is_heard_however_short(speech, level_db):
    """Half a second of speech, alone between silences."""
    word = speech[int(0.4 * RATE_HZ) :][: RATE_HZ // 2]
    quiet = np.zeros(2 * RATE_HZ, np.float32)
    alone = np.concatenate([quiet, word, quiet]) * np.float32(10 ** (level_db / 20))
    speaking = speech_frames(alone, frames_of(alone))
    assert speaking[50:62].mean() > 0.5 and not speaking[:45].any() and not speaking[75:].any()


@pytest.mark.parametrize(("level_db", "heard"), [(0, True), (-20, False)])
def test_a_short_answer_is_heard_where_it_is_as_loud_as_what_is_surely_said(
    speech, monkeypatch, level_db, heard
):
    """Of a single word the voice detector may be half sure; a breath is far below the voice."""
    quiet, word = np.zeros(3 * RATE_HZ, np.float32), speech[int(0.4 * RATE_HZ) :][: int(0.4 * RATE_HZ)]
    mono = np.concatenate([word * np.float32(10 ** (level_db / 20)), quiet, speech[: 2 * RATE_HZ]])
    likely = np.zeros(frames_of(mono))
    likely[:10], likely[86:] = 0.65, 1.0
    monkeypatch.setattr(activity, "voice_by_frame", lambda sound, frames: likely)
    speaking = speech_frames(mono, len(likely))
    assert bool(speaking[:10].any()) == heard and speaking[90:120].all() and not speaking[15:80].any()


@pytest.mark.parametrize("sound", [tune, gusts, clicks])
def test_a_voice_over_a_bed_is_heard(speech, sound):
    bed = sound(len(speech) / RATE_HZ + 1)[: len(speech)]
    bed *= 0.5 * speech.std() / bed.std()
    assert speech_presence((speech + bed).astype(np.float32), frames_of(speech)).mean() > 0.9


def test_words_under_loud_music_are_told_from_the_music():
    """What the voice detector misses under music of the same loudness and more."""
    speech = Speech.open(EXAMPLES / "speech_en.wav").mono_16k
    bed = tune(len(speech) / RATE_HZ + 1)[: len(speech)]
    detector, frames = load_singing_detector(), frames_of(speech)
    loud = (speech + bed * speech.std() / bed.std()).astype(np.float32)
    with_words = detector.probabilities(0.1 * loud / loud.std(), frames)
    alone = detector.probabilities((0.1 * bed / bed.std()).astype(np.float32), frames)
    assert np.median(with_words) > 0.8 and np.median(alone) < 0.1


def test_a_song_is_asked_about_only_where_it_is_loud_and_no_voice_is_heard(speech, monkeypatch):
    asked = []

    class Sings:
        def probabilities(self, mono_16k, frames):
            asked.append(frames)
            return np.where(np.arange(frames) < 40, 0.95, 0.2)

    monkeypatch.setattr("mytalk_core.speech.activity.load_singing_detector", Sings)
    assert speech_frames(speech, frames_of(speech)).any() and not asked
    assert not speech_frames(np.zeros(RATE_HZ, np.float32), 25).any() and not asked
    song = tune(6).astype(np.float32)
    singing = speech_frames(song, 150)
    assert sum(asked) > 100 and singing[:35].all() and not singing[45:].any()


def test_speech_without_pauses_and_of_one_level_is_speech(speech):
    spoken = speech[: frames_of(speech) * FRAME].reshape(-1, FRAME)
    loud = spoken[np.abs(spoken).mean(1) > 0.2 * np.abs(speech).mean()]
    levelled = 0.1 * loud / np.sqrt(np.square(loud).mean(1, keepdims=True))
    assert speech_presence(levelled.ravel(), len(levelled)).mean() > 0.95


def test_a_quiet_voice_after_a_loud_one_moves_the_lips(speech):
    both = np.concatenate([speech, np.zeros(RATE_HZ, np.float32), 0.01 * speech])
    presence = speech_presence(both, frames_of(both))
    assert presence[-frames_of(speech) :].mean() > 0.8


def test_lips_rest_120_ms_behind_the_end_and_move_before_the_start(speech):
    spoken = int(np.flatnonzero(np.abs(speech) > 0.02)[-1]) + 1
    silence = np.zeros(2 * RATE_HZ, np.float32)
    sound = np.concatenate([silence, speech[:spoken], silence])
    presence = speech_presence(sound, frames_of(sound))
    end = (len(silence) + spoken) / FRAME
    assert presence[int(end)] == 1 and not presence[int(np.ceil(end + 3)) :].any()
    start = int(np.flatnonzero(presence == 1)[0])
    assert not presence[:25].any() and start < 50 + np.flatnonzero(np.abs(speech) > 0.02)[0] / FRAME
    assert (np.diff(presence[start - 4 : start + 1]) > 0).all()


def test_short_pauses_belong_to_the_speech(speech):
    # The middle of it, in which a voice goes on.
    part = speech[RATE_HZ : 2 * RATE_HZ]
    for pause in (PAUSE_FRAMES - 4, PAUSE_FRAMES + 20):
        sound = np.concatenate([part, np.zeros(pause * FRAME, np.float32), part])
        shown = speech_presence(sound, frames_of(sound))[25 : 25 + pause]
        assert (shown == 1).all() if pause < PAUSE_FRAMES else not shown[5:-21].any()


def test_long_speech_is_heard_as_short(speech):
    long = np.tile(speech, 10)
    heard = load_voice_detector().probabilities(long)
    network = load_voice_detector()
    pieces = torch.from_numpy(np.pad(long, (64, -len(long) % 512))).unfold(0, 576, 512)
    assert np.abs(heard - network(pieces)[0].numpy()).max() < 1e-4


@pytest.mark.parametrize("piece", range(11))
def test_a_motion_frame_hears_every_piece_that_touches_its_40_ms(piece):
    starts = np.arange(10) * FRAME - FRAME // 2
    touches = (starts < (piece + 1) * PIECE) & (starts + FRAME > piece * PIECE)
    heard = activity._by_frame(np.eye(11)[piece], 10)
    assert np.array_equal(heard == 1, touches) and touches.any()


def test_long_sound_is_levelled_as_short(speech, monkeypatch):
    quiet_then_loud = np.concatenate([0.01 * speech, speech])
    frames = frames_of(quiet_then_loud)
    level_db = activity.band_level_db(quiet_then_loud, frames)
    heard = activity.at_heard_level(quiet_then_loud, level_db)
    monkeypatch.setattr(activity, "BLOCK_FRAMES", 20)
    np.testing.assert_allclose(activity.band_level_db(quiet_then_loud, frames), level_db, atol=1e-3)
    np.testing.assert_allclose(activity.at_heard_level(quiet_then_loud, level_db), heard, rtol=1e-5)


def test_nothing_is_silent():
    assert not speech_presence(np.zeros(RATE_HZ, np.float32), 25).any()
    assert not speech_presence(np.zeros(0, np.float32), 25).any()
    rounding = np.random.default_rng(0).integers(-1, 2, RATE_HZ).astype(np.float32) / 32768
    assert not speech_presence(rounding, 25).any()
