"""`Speech`: every layout, rate and container; time 0 is the first frame's."""

from __future__ import annotations

import av
import numpy as np
import pytest
from av.stream import Disposition
from made_media import Sound, chirp, offset_s, write_video

from mytalk_core.errors import MediaError
from mytalk_core.media.audio import MODEL_RATE_HZ, Speech, mix_weights
from mytalk_core.media.file_clip import FileClip


def write_sound(path, codec: str, rate: int, layout: str, wave: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


FILES = [
    ("a.wav", "pcm_s16le", 22050, "mono", 1e-4),
    ("a.wav", "pcm_u8", 16000, "stereo", 1e-2),
    ("a.wav", "pcm_s24le", 48000, "5.1", 1e-6),
    ("a.wav", "pcm_f32le", 44100, "mono", 1e-7),
    ("a.wav", "pcm_f64le", 8000, "stereo", 1e-7),
    ("a.flac", "flac", 96000, "stereo", 1e-4),
    ("a.mov", "pcm_s16le", 44100, "stereo", 1e-4),
    ("a.mka", "pcm_s32le", 32000, "quad", 1e-6),
]


@pytest.mark.parametrize(("name", "codec", "rate", "layout", "tolerance"), FILES)
def test_lossless_samples_come_back(tmp_path, name, codec, rate, layout, tolerance):
    channels = av.AudioLayout(layout).nb_channels
    wave = chirp(rate, 0.9, channels) * np.linspace(1, 0.3, channels, dtype=np.float32)[:, None]
    write_sound(tmp_path / name, codec, rate, layout, np.ascontiguousarray(wave))
    speech = Speech.open(tmp_path / name)
    assert (speech.sample_rate, speech.channels, speech.samples) == (rate, channels, wave.shape[1])
    assert speech.duration_s == pytest.approx(0.9, abs=1e-4)
    assert speech.waveform.dtype == np.float32 and np.abs(speech.waveform - wave).max() <= tolerance
    assert sum(block.shape[1] for block in speech.blocks()) == speech.samples


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_model_version_is_16_khz_mono_and_in_time(rate):
    speech = Speech.from_waveform(chirp(rate, 1.3, 2), rate)
    assert speech.mono_16k.dtype == np.float32
    assert len(speech.mono_16k) == round(speech.samples * MODEL_RATE_HZ / rate)
    expected = chirp(MODEL_RATE_HZ, 1.3)[0][: len(speech.mono_16k)]
    assert abs(offset_s(speech.mono_16k, expected, MODEL_RATE_HZ)) < 1e-4
    assert np.abs(speech.mono_16k - expected).max() < 0.01


def test_mono_mix_keeps_level_and_hears_the_centre():
    tone = chirp(48000, 1.0)[0]
    for channels in (1, 2, 4):
        mixed = Speech.from_waveform(np.stack([tone] * channels), 48000).mono_16k
        assert np.abs(mixed).max() == pytest.approx(0.7, abs=0.01)
    surround = np.zeros((6, 48000), np.float32)
    surround[2] = tone
    assert np.abs(Speech.from_waveform(surround, 48000, "5.1").mono_16k).max() > 0.3
    surround[2], surround[3] = 0.0, 0.9
    assert np.abs(Speech.from_waveform(surround, 48000, "5.1").mono_16k).max() == 0


@pytest.mark.parametrize(
    ("layout", "weights"),
    [
        ("stereo", [1, 1]),
        ("2.1", [1, 1, 0]),
        ("3.0", [1, 1, 2]),
        ("3.0(back)", [1, 1, 1]),
        ("3.1", [1, 1, 2, 0]),
        ("quad", [1, 1, 1, 1]),
        ("5.1", [1, 1, 4, 0, 1, 1]),
        ("6.0", [1, 1, 5, 1, 1, 1]),
        ("6.1(front)", [1, 1, 0, 1, 1, 1, 1]),
        ("7.1", [1, 1, 6, 0, 1, 1, 1, 1]),
        ("a layout nobody knows", [1, 1, 1]),
    ],
)
def test_the_centre_counts_half_and_the_bass_nothing(layout, weights):
    assert mix_weights(len(weights), layout) == pytest.approx(np.array(weights) / np.sum(weights))


VIDEOS = [
    ("a.mp4", "libx264", Sound("aac", 44100, "stereo")),
    ("a.mp4", "libx264", Sound("aac", 22050, "mono")),
    ("a.mov", "libx264", Sound("pcm_s16le", 48000, "5.1")),
    ("a.mkv", "libx264", Sound("libmp3lame", 44100, "stereo")),
    ("a.webm", "libvpx-vp9", Sound("libopus", 48000, "mono")),
    ("a.ts", "libx264", Sound("aac", 48000, "stereo")),
]


@pytest.mark.parametrize(("name", "codec", "sound"), VIDEOS)
def test_priming_is_skipped(tmp_path, name, codec, sound):
    clip = FileClip.open(write_video(tmp_path / name, codec=codec, sound=sound))
    heard = clip.speech()
    assert clip.has_audio and heard.sample_rate == sound.rate
    lag = offset_s(heard.waveform[0], chirp(sound.rate, 1.6)[0], sound.rate)
    assert abs(lag) < 1e-3


@pytest.mark.parametrize(("first_frame", "expected_s"), [(0, 0.5), (10, 0.1)])
def test_time_zero_is_the_first_frame(tmp_path, first_frame, expected_s):
    """Frames that begin 0.4 s into the file: what was heard before them is cut."""
    stamps = list(range(first_frame, first_frame + 30))
    path = write_video(tmp_path / "a.mkv", pts=stamps, sound=Sound("flac", 16000, "mono", 1.6))
    heard = Speech.open(path).waveform[0]
    expected = chirp(16000, 1.6, at_s=expected_s)[0]
    assert abs(offset_s(heard, expected, 16000)) < 1e-3


def test_late_sound_is_preceded_by_silence(tmp_path):
    path = tmp_path / "a.mkv"
    write_video(tmp_path / "plain.mkv")
    with av.open(str(tmp_path / "plain.mkv")) as source, av.open(str(path), "w") as target:
        video = target.add_stream_from_template(source.streams.video[0], opaque=True)
        track = target.add_stream("flac", rate=16000)
        track.layout = "mono"
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.stream = video
                target.mux(packet)
        frame = av.AudioFrame.from_ndarray(chirp(16000, 1.0, at_s=0.2), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, 4800
        target.mux(track.encode(frame))
        target.mux(track.encode(None))
    speech = Speech.open(path)
    assert speech.samples == pytest.approx(16000 + 4800, abs=20)
    assert abs(offset_s(speech.waveform[0], chirp(16000, 1.3, at_s=0.5)[0], 16000)) < 1e-3


def test_from_waveform_takes_one_dimension_and_names_the_layout():
    speech = Speech.from_waveform(np.zeros(800, np.float64), 16000)
    assert (speech.channels, speech.samples, speech.layout) == (1, 800, "mono")
    assert np.array_equal(speech.waveform, np.zeros((1, 800), np.float32))


def test_a_cover_picture_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.m4a"), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 32, 32, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value
        container.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
        frame = av.AudioFrame.from_ndarray(chirp(44100, 0.9, 2), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = 44100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert Speech.open(tmp_path / "a.m4a").duration_s == pytest.approx(0.9, abs=0.05)
    with pytest.raises(MediaError, match="no video stream"):
        FileClip.open(tmp_path / "a.m4a")


@pytest.mark.parametrize("default", [None, 1])
def test_of_several_tracks_the_default_one_is_heard_or_the_first(tmp_path, default):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        # FFmpeg's own choice would be the one of the most channels.
        tracks = [container.add_stream("flac", rate=16_000) for _ in range(3)]
        for number, (track, layout) in enumerate(zip(tracks, ("mono", "mono", "stereo"), strict=True)):
            track.codec_context.layout = layout
            track.disposition = (Disposition.default if number == default else Disposition(0)).value
        for number, track in enumerate(tracks):
            level = np.full((track.layout.nb_channels, 16_000), 0.1 * (number + 1), np.float32)
            block = av.AudioFrame.from_ndarray(level, format="fltp", layout=track.layout.name)
            block.sample_rate, block.pts = 16_000, 0
            for part in av.AudioResampler("s16", track.layout.name, 16_000).resample(block):
                container.mux(track.encode(part))
            container.mux(track.encode(None))
    assert Speech.open(path).waveform.max() == pytest.approx(0.1 if default is None else 0.2, abs=1e-3)


def test_example_speech(examples):
    speech = Speech.open(examples / "speech_en.wav")
    assert (speech.sample_rate, speech.channels, speech.samples) == (24000, 1, 116992)
    assert np.abs(speech.mono_16k).max() > 0.1


def test_opposite_phase_is_heard_and_ordinary_stereo_is_the_plain_mean():
    tone = chirp(48000, 1.5)[0]
    alone = Speech.from_waveform(tone, 48000).mono_16k
    for second in (-tone, np.roll(-tone, 1), -0.9 * tone):
        heard = Speech.from_waveform(np.stack([tone, second]), 48000).mono_16k
        assert heard.std() > 0.9 * alone.std()
        assert min(np.abs(heard - alone).max(), np.abs(heard + alone).max()) < 0.1
    rng = np.random.default_rng(0)
    for second in (np.zeros_like(tone), 0.5 * tone, rng.normal(0, 0.1, len(tone)).astype(np.float32)):
        stereo = np.stack([tone, second])
        mixed = Speech.from_waveform(mix_weights(2, "stereo") @ stereo, 48000).mono_16k
        assert np.array_equal(Speech.from_waveform(stereo, 48000).mono_16k, mixed)


def test_a_phase_that_turns_is_followed_without_a_click():
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(4 * 16000) / 16000).astype(np.float32)
    turned = np.where(np.arange(len(tone)) < 32000, tone, -tone)
    heard = Speech.from_waveform(np.stack([tone, turned]), 16000).mono_16k
    assert heard[:31000].std() == pytest.approx(tone.std(), rel=0.01)
    assert heard[-16000:].std() == pytest.approx(tone.std(), rel=0.01)
    assert np.abs(np.diff(heard)).max() < 1.1 * np.abs(np.diff(tone)).max()
