"""The motion denoiser: the paper's sizes, every variant trains, padding changes nothing."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mytalk_core.motion.conformer import FrameNorm, RelativeSelfAttention, sinusoid
from mytalk_core.motion.denoiser import CONDITIONING, PREFIX, MotionConfig, MotionDenoiser

TINY = MotionConfig(
    lower=6,
    upper=4,
    landmark_layout="mesh478",
    speech_encoder="mini",
    speech_width=5,
    speech_layers=(0, 2),
    audio_width=16,
    audio_layers=1,
    audio_heads=2,
    audio_ffn_width=24,
    audio_kernel=5,
    width=24,
    layers=2,
    heads=3,
    ffn_width=32,
    kernel=5,
    time_width=32,
    identity_width=7,
    condition_mlp=8,
    predict_upper=False,
)


def tiny(**changes) -> MotionDenoiser:
    torch.manual_seed(0)
    return MotionDenoiser(dataclasses.replace(TINY, **changes))


def random_inputs(batch: int = 2, frames: int = 9, tokens: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    return {
        "features": randn(batch, 2 * frames, 2, 5),
        "x_t": randn(batch, frames, 6),
        "upper": randn(batch, frames, 4),
        "identity": randn(batch, tokens, 7),
        "t": torch.tensor([3.0, 700.0])[:batch],
    }


def run(model, features, valid=None, **inputs):
    return model(speech=model.encode_speech(features, valid), valid=valid, **inputs)


def count(module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_paper_sizes_are_table_9():
    with torch.device("meta"):
        model = MotionDenoiser(MotionConfig())
    assert count(model.audio_encoder) == 24_599_040
    assert count(model.downsample) == 786_944
    assert count(model.backbone) == 188_051_766


def test_audio_encoder_is_torchaudios_conformer():
    """Without padding, and with our norm in place, ours is torchaudio's own forward, weight by weight."""
    models = pytest.importorskip("torchaudio.models")
    encoder = tiny(audio_layers=2).eval().audio_encoder
    theirs = models.Conformer(16, 2, 24, 2, 5, TINY.dropout, use_group_norm=True).eval()
    for layer in theirs.conformer_layers:
        layer.conv_module.sequential[3] = FrameNorm(16)
    theirs.load_state_dict(encoder.conformer.state_dict(), strict=True)
    features = torch.randn(2, 11, 2, 5)
    expected, _ = theirs(encoder.input(encoder._standardise_and_mix(features)), torch.full((2,), 11))
    torch.testing.assert_close(encoder(features), expected, atol=1e-5, rtol=1e-4)


def test_features_are_standardised_and_mixed():
    model = tiny()
    mean, std = torch.randn(2, 5), torch.rand(2, 5) + 0.5
    model.set_feature_statistics(mean, std)
    features = torch.randn(3, 4, 2, 5)
    expected = ((features - mean) / std).mean(dim=2)
    torch.testing.assert_close(model.audio_encoder._standardise_and_mix(features), expected)


@pytest.mark.parametrize("prefix", PREFIX)
@pytest.mark.parametrize("conditioning", CONDITIONING)
def test_every_variant_trains_every_parameter(conditioning, prefix):
    model = tiny(conditioning=conditioning, prefix=prefix, dropout=0.0, attention_dropout=0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    inputs = random_inputs(tokens=2)
    target = torch.randn(2, 9, 6)
    for _ in range(2):
        optimizer.zero_grad()
        (run(model, **inputs) - target).square().mean().backward()
        optimizer.step()
    dead = [
        name for name, p in model.named_parameters() if p.grad is None or p.grad.abs().max().item() < 1e-12
    ]
    assert dead == []


def test_one_identity_token_still_trains_the_attention():
    model = tiny()
    run(model, **random_inputs(tokens=1)).square().mean().backward()
    attention = model.backbone.layers[0].cross_attention
    assert attention.query.weight.grad.abs().max() > 1e-9


@pytest.mark.parametrize("prefix", PREFIX)
@pytest.mark.parametrize("conditioning", CONDITIONING)
def test_padding_changes_nothing(conditioning, prefix):
    model = tiny(conditioning=conditioning, prefix=prefix, audio_layers=2).eval()
    inputs = random_inputs(frames=9)
    valid = torch.ones(2, 9, dtype=torch.bool)
    valid[0, 6:] = False
    alone = {
        key: value[:1, : 12 if key == "features" else 6] if value.ndim > 1 else value[:1]
        for key, value in inputs.items()
    }
    alone["identity"] = inputs["identity"][:1]
    expected = run(model, **alone)
    for fill in (0.0, 100.0):
        padded = {key: value.clone() for key, value in inputs.items()}
        padded["features"][0, 12:] = fill
        padded["x_t"][0, 6:] = fill
        padded["upper"][0, 6:] = fill
        torch.testing.assert_close(run(model, valid=valid, **padded)[:1, :6], expected, atol=2e-5, rtol=1e-4)


def test_full_mask_is_no_mask():
    model = tiny().eval()
    inputs = random_inputs()
    valid = torch.ones(2, 9, dtype=torch.bool)
    torch.testing.assert_close(run(model, valid=valid, **inputs), run(model, **inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("changed", ["features", "x_t", "upper", "identity", "t"])
@pytest.mark.parametrize("prefix", PREFIX)
def test_every_condition_is_heard(changed, prefix):
    model = tiny(prefix=prefix).eval()
    inputs = random_inputs()
    before = run(model, **inputs)
    after = run(model, **{**inputs, changed: inputs[changed] + 1})
    assert (before - after).abs().max() > 1e-4


def test_speech_acts_at_its_own_time():
    """A change of the features 2 j, 2 j + 1 moves encoded speech most around frame j."""
    model = tiny(audio_layers=1, audio_kernel=3).eval()
    inputs = random_inputs(batch=1, frames=40)
    changed = inputs["features"].clone()
    changed[:, 40:42] += 5
    difference = (model.encode_speech(changed) - model.encode_speech(inputs["features"])).norm(dim=-1)[0]
    assert abs(difference.argmax().item() - 20) <= 1


def test_relative_scores_are_those_of_the_formula():
    torch.manual_seed(0)
    attention = RelativeSelfAttention(12, 3, 0.0).eval()
    torch.nn.init.normal_(attention.content_bias)
    torch.nn.init.normal_(attention.position_bias)
    x = torch.randn(2, 5, 12)
    query, key, value = attention.query_key_value(x).chunk(3, dim=-1)
    expected = torch.zeros(2, 5, 12)
    for head in range(3):
        part = slice(4 * head, 4 * head + 4)
        scores = torch.zeros(2, 5, 5)
        for i in range(5):
            for j in range(5):
                position = attention.position(sinusoid(torch.tensor([i - j]), 12))[0, part]
                scores[:, i, j] = ((query[:, i, part] + attention.content_bias[part]) * key[:, j, part]).sum(
                    -1
                ) + (query[:, i, part] + attention.position_bias[part]) @ position
        expected[..., part] = (scores / 2).softmax(-1) @ value[..., part]
    torch.testing.assert_close(attention(x, None, 1), attention.output(expected), atol=1e-5, rtol=1e-4)


def test_with_upper_returns_all_channels():
    model = tiny(predict_upper=True).eval()
    inputs = random_inputs()
    assert run(model, **inputs).shape == (2, 9, 6)
    assert run(model, with_upper=True, **inputs).shape == (2, 9, 10)
    with pytest.raises(ValueError, match="predict_upper"):
        run(tiny(), with_upper=True, **inputs)


def test_bfloat16_autocast_stays_close():
    model = tiny().eval()
    inputs = random_inputs()
    with torch.autocast("cpu", torch.bfloat16):
        half = run(model, **inputs)
    assert (half.float() - run(model, **inputs)).abs().max() < 0.05


def test_unknown_choices_and_odd_features_are_refused():
    with pytest.raises(ValueError, match="conditioning must be one of"):
        tiny(conditioning="none")
    with pytest.raises(ValueError, match="2 F"):
        tiny().encode_speech(torch.zeros(1, 5, 2, 5))
