"""Speech features: the networks' own hidden states, at the right time, the same whatever window asks."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mytalk_core.checkpoint.pretrained import resolve_folder
from mytalk_core.errors import WeightsError
from mytalk_core.speech.features import SpeechEncoder, SpeechFeatures, frames_for


def babble(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise with the loudness contour of syllables, at 16 kHz."""
    generator = np.random.default_rng(seed)
    samples = int(seconds * 16000)
    contour = np.interp(
        np.arange(samples), np.arange(0, samples + 1600, 1600), generator.random(samples // 1600 + 1)
    )
    return (0.3 * contour * generator.standard_normal(samples)).astype(np.float32)


@pytest.fixture(scope="module")
def bundled() -> SpeechEncoder:
    return SpeechEncoder.from_pretrained("mini")


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=32, num_mel_bins=80
    )
    folder = tmp_path_factory.mktemp("whisper")
    WhisperEncoder(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def wav2vec2_folder(tmp_path_factory):
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8,) * 7,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        num_feat_extract_layers=7,
        mask_time_prob=0.0,
    )
    folder = tmp_path_factory.mktemp("wav2vec2")
    Wav2Vec2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["whisper", "wav2vec2"])
def tiny(request) -> SpeechEncoder:
    folder = request.getfixturevalue(f"{request.param}_folder")
    return SpeechEncoder.from_pretrained(folder, layers=(0, 2))


def test_frames_cover_the_speech():
    assert [frames_for(samples) for samples in (1, 640, 641, 16000)] == [1, 1, 2, 25]


def test_bundled_encoder_is_whispers_own(bundled):
    """Mel, hidden states and last norm against transformers' feature extractor and encoder."""
    from transformers import WhisperFeatureExtractor

    speech = babble(10)
    extractor = WhisperFeatureExtractor(chunk_length=10)
    mel = extractor(speech, sampling_rate=16000, return_tensors="pt").input_features
    torch.testing.assert_close(bundled.log_mel(torch.from_numpy(speech)), mel[0], atol=1e-4, rtol=0)
    with torch.no_grad():
        output = bundled.model(mel, output_hidden_states=True)
    chunk = bundled.encode_chunk(torch.from_numpy(speech))
    assert bundled.layers == (0, 2, 3, 4)
    assert chunk.shape == (500, 4, 384)
    assert bundled.dim == 384
    torch.testing.assert_close(chunk[:, 3], output.last_hidden_state[0], atol=1e-4, rtol=1e-4)
    positions = bundled.model.embed_positions.weight
    torch.testing.assert_close(chunk[:, 0], output.hidden_states[0][0] - positions, atol=1e-4, rtol=1e-4)
    assert (
        load_file(resolve_folder("mini", "speech") / "model.safetensors")["conv1.weight"].dtype
        == torch.float16
    )


def test_a_click_is_heard_at_its_frame(bundled):
    """A click at t s changes motion frame 25 t = features 50 t and 50 t + 1 most, within one frame."""
    quiet = (1e-3 * np.random.default_rng(0).standard_normal(4 * 16000)).astype(np.float32)
    before = bundled.encode(quiet)
    for click_s in (1.0, 2.73):
        click = quiet.copy()
        click[int(click_s * 16000) - 40 : int(click_s * 16000) + 40] += 0.5
        difference = (bundled.encode(click) - before).norm(dim=-1)
        per_frame = difference.unflatten(0, (-1, 2)).mean(dim=(1, 2))
        assert abs(per_frame.argmax().item() - click_s * 25) <= 1
        assert abs(difference[:, 0].argmax().item() - click_s * 50) <= 1


def test_wav2vec2_click_is_heard_at_its_frame(wav2vec2_folder):
    encoder = SpeechEncoder.from_pretrained(wav2vec2_folder, layers=(0,))
    quiet = (1e-2 * np.random.default_rng(0).standard_normal(4 * 16000)).astype(np.float32)
    for feature in (40, 101):
        click = quiet.copy()
        click[feature * 320 - 5 : feature * 320 + 5] += 0.05
        difference = (encoder.encode(click) - encoder.encode(quiet)).norm(dim=-1)[:, 0]
        weight = difference**2
        centre = (weight * torch.arange(len(weight))).sum() / weight.sum()
        assert abs(centre.item() - feature) <= 1.5


def test_delay_moves_the_features_and_changes_them_little(bundled):
    """Hidden states tell their position in the chunk; cross-fading leaves little of it, and no jumps."""
    speech = babble(7)
    delay = 62
    late = np.concatenate([np.zeros(delay * 320, np.float32), speech])
    here = bundled.encode(speech)
    there = bundled.encode(late, len(here) + delay)[delay:]
    single = [bundled.encode_chunk(torch.from_numpy(np.pad(x, (0, 160000 - len(x))))) for x in (speech, late)]

    def distance(first, second):
        return ((first - second).abs() / here.std(dim=0))[25:-25].mean(dim=(0, 2))

    faded = distance(here, there)
    plain = distance(single[0][: len(here)], single[1][delay : len(here) + delay])
    assert faded[0] < 0.01
    assert (faded[1:] < 0.75 * plain[1:]).all()
    step = here.diff(dim=0).abs().mean(dim=(1, 2))
    assert step[249] < 2 * step.mean()


@pytest.mark.parametrize("seconds", [0.5, 7.0, 47.0])
def test_any_window_is_a_slice_of_the_whole(tiny, seconds):
    speech = babble(seconds)
    whole = tiny.encode(speech)
    assert whole.shape == (2 * frames_for(len(speech)), 2, 16)
    assert whole.dtype == torch.float32
    middle = len(whole) // 2
    for start, stop in ((0, len(whole)), (middle - 5, middle + 9), (len(whole) - 3, len(whole))):
        alone = SpeechFeatures(tiny, speech, len(whole)).window(start, stop)
        torch.testing.assert_close(alone, whole[start:stop])


def test_beyond_the_end_is_silence(tiny):
    speech = babble(2)
    if tiny.kind == "wav2vec2":
        # Centred, as the encoder does before it pads.
        speech -= speech.mean()
    padded = tiny.encode(np.concatenate([speech, np.zeros(16000, np.float32)]))
    longer = tiny.encode(speech, 150)
    assert longer.shape == padded.shape
    if tiny.kind == "whisper":
        torch.testing.assert_close(longer, padded, atol=1e-5, rtol=1e-5)
    else:
        # The loudness is that of the speech itself, not of speech and padding.
        assert torch.corrcoef(torch.stack((longer.flatten(), padded.flatten())))[0, 1] > 0.9


def test_loudness_does_not_matter_to_wav2vec2(wav2vec2_folder):
    encoder = SpeechEncoder.from_pretrained(wav2vec2_folder)
    speech = babble(2)
    torch.testing.assert_close(
        encoder.encode(speech), encoder.encode(0.1 * speech + 0.01), atol=1e-3, rtol=1e-2
    )
    assert encoder.layers == (2,)


def test_reading_in_order_encodes_every_chunk_once(tiny, monkeypatch):
    calls = []
    encode_chunk = tiny.encode_chunk
    monkeypatch.setattr(tiny, "encode_chunk", lambda samples: calls.append(1) or encode_chunk(samples))
    reader = SpeechFeatures(tiny, babble(60))
    length = len(reader)
    assert length == 3000
    for start in [*range(0, length - 500, 400), length - 500]:
        assert reader.window(start, start + 500).shape == (500, 2, 16)
    # Whisper: chunks every 5 s from -5 s on; wav2vec 2.0: 30 s every 15 s.
    assert len(calls) == {"whisper": 13, "wav2vec2": 3}[tiny.kind]


def test_digital_silence_is_ordinary_quiet(bundled):
    """Zeros and a breath of noise give nearly the same features."""
    silence = np.zeros(16000, np.float32)
    breath = silence + (1e-5 * np.random.default_rng(0).standard_normal(len(silence))).astype(np.float32)
    speech = bundled.encode(babble(1))
    zeros = bundled.encode(silence)
    assert (zeros - bundled.encode(breath)).abs().mean() < 0.05 * (zeros - speech).abs().mean()


def test_whole_whisper_and_old_wav2vec2_checkpoints_load(whisper_folder, wav2vec2_folder, tmp_path):
    tensors = load_file(whisper_folder / "model.safetensors")
    whole = {f"model.encoder.{key}": value for key, value in tensors.items()}
    whole["model.decoder.layer_norm.weight"] = torch.ones(16)
    loaded = SpeechEncoder.from_pretrained(copy_folder(whisper_folder, tmp_path / "w", whole), layers=(2,))
    speech = babble(1)
    expected = SpeechEncoder.from_pretrained(whisper_folder, layers=(2,)).encode(speech)
    torch.testing.assert_close(loaded.encode(speech), expected)

    tensors = load_file(wav2vec2_folder / "model.safetensors")
    old = {
        "wav2vec2."
        + key.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): value
        for key, value in tensors.items()
    }
    assert any(key.endswith("weight_g") for key in old)
    old["lm_head.weight"] = torch.ones(3, 16)
    loaded = SpeechEncoder.from_pretrained(copy_folder(wav2vec2_folder, tmp_path / "v", old))
    expected = SpeechEncoder.from_pretrained(wav2vec2_folder).encode(speech)
    torch.testing.assert_close(loaded.encode(speech), expected)


def copy_folder(source, target, tensors):
    target.mkdir()
    (target / "config.json").write_text((source / "config.json").read_text())
    save_file(tensors, target / "model.safetensors")
    return target


def test_what_does_not_fit_is_refused(whisper_folder, wav2vec2_folder, tmp_path):
    tensors = load_file(wav2vec2_folder / "model.safetensors")
    tensors.pop("encoder.layers.0.attention.k_proj.weight")
    folder = copy_folder(wav2vec2_folder, tmp_path / "short", tensors)
    with pytest.raises(WeightsError, match="missing .*k_proj"):
        SpeechEncoder.from_pretrained(folder)
    with pytest.raises(FileNotFoundError, match="config.json is missing"):
        SpeechEncoder.from_pretrained(tmp_path)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(WeightsError, match="must be whisper or wav2vec2; got 'bert'"):
        SpeechEncoder.from_pretrained(folder)
    with pytest.raises(ValueError, match=r"0 ... 2 of this whisper model; got \(3,\)"):
        SpeechEncoder.from_pretrained(whisper_folder, layers=(3,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_layers": 10_000_000}, "asks for more than the file's"),
        ({"d_model": 1_000_000}, "the config asks for"),
        ({"d_model": -16}, "no network can be built from this config"),
        ({"encoder_ffn_dim": 48}, r"layers.\d.fc[12].* has shape .*48"),
        ({"encoder_attention_heads": 0}, "no network can be built from this config"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_at_once(whisper_folder, tmp_path, changes, message):
    folder = copy_folder(
        whisper_folder, tmp_path / "hostile", load_file(whisper_folder / "model.safetensors")
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    start = time.process_time()
    with pytest.raises(WeightsError, match=message):
        SpeechEncoder.from_pretrained(folder)
    assert time.process_time() - start < 5


def test_wrong_speech_and_windows_are_refused(whisper_folder):
    encoder = SpeechEncoder.from_pretrained(whisper_folder, layers=(1,))
    for wrong in (np.zeros(0, np.float32), np.zeros((2, 100), np.float32)):
        with pytest.raises(ValueError, match="mono"):
            encoder.encode(wrong)
    reader = SpeechFeatures(encoder, babble(1))
    with pytest.raises(ValueError, match="within features 0 ... 50"):
        reader.window(40, 51)
