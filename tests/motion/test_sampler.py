"""Sampling over windows: joined without seams, repeatable, cancellable, window by window in memory."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from mytalk_core.motion.denoiser import MotionConfig, MotionDenoiser
from mytalk_core.motion.diffusion import GaussianDiffusion, RectifiedFlow
from mytalk_core.motion.sampler import EncodedSpeech, plan_windows, sample_motion

CONFIG = MotionConfig(
    lower=4,
    upper=3,
    speech_width=5,
    speech_layers=(0, 1),
    audio_width=16,
    audio_layers=1,
    audio_heads=2,
    audio_ffn_width=16,
    audio_kernel=3,
    width=16,
    layers=1,
    heads=2,
    ffn_width=16,
    kernel=3,
    time_width=16,
    identity_width=6,
    condition_mlp=0,
    predict_upper=False,
)


@pytest.fixture(scope="module")
def denoiser() -> MotionDenoiser:
    torch.manual_seed(0)
    return MotionDenoiser(CONFIG).eval()


def conditions(frames: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        "speech": torch.randn(frames, 16, generator=generator),
        "upper": torch.randn(frames, 3, generator=generator),
        "identity": torch.randn(1, 6, generator=generator),
    }


class LocalDenoiser(torch.nn.Module):
    """A denoiser that looks at one frame only: any windows must give what one long window gives."""

    config = CONFIG

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.8))

    def forward(self, x_t, t, speech, upper, identity, valid=None):
        return torch.tanh(self.scale * x_t + speech[..., :4] + upper[..., :1] + t.view(-1, 1, 1) / 1000)


@pytest.mark.parametrize("frames", [1, 30, 250, 251, 399, 400, 450, 1000])
def test_windows_cover_every_frame_with_weight_one(frames):
    windows = plan_windows(frames, 250, 50)
    ones = torch.ones(len(windows.starts), windows.length, 1)
    torch.testing.assert_close(windows.join(ones, frames), torch.ones(frames, 1))
    assert windows.starts[0] == 0
    assert windows.starts[-1] + windows.length == frames
    x = torch.randn(frames, 2)
    torch.testing.assert_close(windows.join(windows.cut(x), frames), x)


def test_windows_of_450_overlap_by_50_and_fade_linearly():
    windows = plan_windows(450, 250, 50)
    assert windows.starts == (0, 200)
    assert windows.weight[0, :200].eq(1).all()
    torch.testing.assert_close(windows.weight[0, 200:].diff(), torch.full((49,), -0.02), atol=1e-6, rtol=0)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp_2m"])
@pytest.mark.parametrize("process", [GaussianDiffusion, RectifiedFlow])
def test_many_windows_equal_one_for_a_local_model(sampler, process):
    model, given = LocalDenoiser(), conditions(130)
    arguments = {"steps": 5, "sampler": sampler, "seed": 3}
    whole = sample_motion(model, process(), **given, window=130, overlap=0, **arguments)
    joined = sample_motion(model, process(), **given, window=40, overlap=10, **arguments)
    torch.testing.assert_close(joined, whole, atol=1e-5, rtol=1e-5)


def test_no_seam_at_window_borders(denoiser):
    """Steps between frames at the borders of windows are no larger than elsewhere."""
    given = conditions(200)
    given["speech"] = given["speech"].cumsum(0) / 10
    x0 = sample_motion(denoiser, GaussianDiffusion(), **given, window=50, overlap=10, steps=6)
    step = x0.diff(dim=0).norm(dim=-1)
    borders = torch.tensor([frame for start in (40, 80, 120, 150) for frame in (start - 1, start + 9)])
    assert step[borders].mean() < 1.5 * step.mean()


def test_same_seed_same_motion_other_seed_other_motion(denoiser):
    given = conditions(70)
    arguments = {"window": 30, "overlap": 10, "steps": 3}
    first = sample_motion(denoiser, GaussianDiffusion(), **given, seed=1, **arguments)
    torch.rand(7)
    again = sample_motion(denoiser, GaussianDiffusion(), **given, seed=1, **arguments)
    other = sample_motion(denoiser, GaussianDiffusion(), **given, seed=2, **arguments)
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1e-3
    batched = sample_motion(denoiser, GaussianDiffusion(), **given, seed=1, batch_windows=1, **arguments)
    torch.testing.assert_close(batched, first, atol=1e-5, rtol=1e-5)


def test_temperature_scales_the_starting_noise():
    given = conditions(40)
    started = []

    class Recorder(LocalDenoiser):
        def forward(self, x_t, *rest):
            started.append(x_t[0])
            return super().forward(x_t, *rest)

    for temperature in (1.0, 0.25, 0.0):
        sample_motion(Recorder(), GaussianDiffusion(), **given, steps=1, temperature=temperature)
    assert 0.8 < started[0].std() < 1.2
    torch.testing.assert_close(started[1], 0.25 * started[0])
    assert (started[2] == 0).all()


def test_guidance_pushes_along_the_speech(denoiser):
    given = conditions(20)
    diffusion = GaussianDiffusion()
    silent = {**given, "speech": torch.zeros_like(given["speech"])}
    # With one step from pure noise x0 is the guided prediction itself.
    one = sample_motion(denoiser, diffusion, **given, steps=1)
    free = sample_motion(denoiser, diffusion, **silent, steps=1)
    pushed = sample_motion(denoiser, diffusion, **given, steps=1, guidance=2.5)
    torch.testing.assert_close(pushed, free + 2.5 * (one - free), atol=1e-5, rtol=1e-4)
    assert (pushed - one).abs().max() > 1e-4


def test_progress_counts_to_the_end_and_can_cancel(denoiser):
    class Cancelled(Exception):  # noqa: N818
        pass

    seen = []
    arguments = {"window": 30, "overlap": 10, "steps": 2, "batch_windows": 2}
    sample_motion(
        denoiser,
        GaussianDiffusion(),
        **conditions(110),
        **arguments,
        progress=lambda done, total: seen.append((done, total)),
    )
    # Five windows of speech to encode, then two steps of three batches.
    assert seen == [(i, 11) for i in range(1, 12)]

    def cancel(done, total):
        if done == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        sample_motion(denoiser, GaussianDiffusion(), **conditions(110), **arguments, progress=cancel)


def test_speech_is_read_once_a_window_and_no_further(denoiser):
    given = conditions(110)
    asked = []

    def provider(start, stop):
        asked.append((start, stop))
        return given["speech"][start:stop]

    arguments = {"window": 50, "overlap": 10, "steps": 3}
    lazy = sample_motion(denoiser, GaussianDiffusion(), **{**given, "speech": provider}, **arguments)
    assert asked == [(0, 50), (40, 90), (60, 110)]
    assert torch.equal(lazy, sample_motion(denoiser, GaussianDiffusion(), **given, **arguments))


def test_encoded_speech_reads_two_features_a_frame(denoiser):
    features = torch.randn(40, 2, 5)

    class Reader:
        def __len__(self):
            return len(features)

        def window(self, start, stop):
            return features[start:stop]

    speech = EncodedSpeech(denoiser, Reader())
    assert speech.frames == 20
    torch.testing.assert_close(speech(5, 15), denoiser.encode_speech(features[None, 10:30])[0])


def test_half_precision_model_walks_in_float32(denoiser):
    half = MotionDenoiser(dataclasses.replace(CONFIG))
    half.load_state_dict(denoiser.state_dict())
    half = half.eval().to(torch.bfloat16)
    given = conditions(30)
    x0 = sample_motion(half, GaussianDiffusion(), **given, steps=3)
    exact = sample_motion(denoiser, GaussianDiffusion(), **given, steps=3)
    assert x0.dtype == torch.float32
    assert (x0 - exact).abs().max() < 0.2


def test_wrong_arguments_are_named(denoiser):
    given = conditions(30)
    with pytest.raises(ValueError, match="sampler must be one of ddpm, ddim, dpmpp_2m"):
        sample_motion(denoiser, GaussianDiffusion(), **given, sampler="euler")
    with pytest.raises(ValueError, match="same frames; got 20 and 30"):
        sample_motion(denoiser, GaussianDiffusion(), **{**given, "speech": given["speech"][:20]})
    with pytest.raises(ValueError, match="overlap"):
        sample_motion(denoiser, GaussianDiffusion(), **given, window=10, overlap=10)
