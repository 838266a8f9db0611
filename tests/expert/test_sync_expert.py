"""The lip-sync expert: finds shifts, tells pairs apart once trained, serves as a loss, travels."""

from __future__ import annotations

import pytest
import torch

from mytalk_core.expert.sync_expert import ExpertConfig, SyncExpert, shifted_cosines

TINY = ExpertConfig(motion=4, speech_width=3, speech_layers=(0, 1), width=16, embedding=8, dropout=0.0)


def tiny() -> SyncExpert:
    torch.manual_seed(0)
    return SyncExpert(TINY)


def pairs(batch: int, frames: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Lips that follow the speech's first layer, from smooth noise."""
    generator = torch.Generator().manual_seed(seed)
    spoken = torch.randn(batch, 2 * frames, 2, 3, generator=generator)
    mean = 0.5 * (spoken[:, ::2, 0] + spoken[:, 1::2, 0])
    lips = torch.cat((mean, mean[..., :1] * mean[..., 1:2]), dim=-1)
    return lips, spoken, torch.ones(batch, frames, dtype=torch.bool)


@pytest.fixture(scope="module")
def trained() -> SyncExpert:
    expert = tiny()
    optimizer = torch.optim.Adam(expert.parameters(), 1e-2)
    for seed in range(120):
        optimizer.zero_grad()
        expert.loss(*pairs(8, 50, seed), max_shift=5).backward()
        optimizer.step()
    expert.zero_grad(set_to_none=True)
    return expert.eval().requires_grad_(False)


def test_shifts_are_the_lips_delay():
    speech = torch.nn.functional.normalize(torch.randn(1, 30, 6), dim=-1)
    late = torch.roll(speech, 4, dims=1)
    cosine = shifted_cosines(late, speech, 6)
    assert (cosine[0, 10:-10].argmax(-1) - 6 == 4).all()
    assert (cosine[0, 0, 7:] == -1).all()
    assert (cosine[0, -1, :6] == -1).all()


@pytest.mark.parametrize("delay", [-4, 0, 3])
def test_offset_is_found(trained, delay):
    lips, spoken, _ = pairs(1, 80, 1000)
    score = trained.score(torch.roll(lips[0], delay, dims=0), spoken[0])
    assert score.offset_frames == delay
    assert score.confidence > 0.2


def test_foreign_speech_is_farther(trained):
    lips, spoken, _ = pairs(2, 80, 2000)
    own, foreign = trained.score(lips[0], spoken[0]), trained.score(lips[0], spoken[1])
    assert own.distance < foreign.distance - 0.2
    assert own.confidence > foreign.confidence + 0.2


def test_as_a_loss_it_pulls_lips_to_the_speech(trained):
    lips, spoken, valid = pairs(2, 60, 3000)
    made = (0.3 * torch.randn(lips.shape, generator=torch.Generator().manual_seed(1))).requires_grad_()
    optimizer = torch.optim.Adam([made], 0.05)
    before = trained.score(made[0].detach(), spoken[0])
    for _ in range(60):
        optimizer.zero_grad()
        trained.loss(made, spoken, valid).backward()
        optimizer.step()
    after = trained.score(made[0].detach(), spoken[0])
    assert after.offset_frames == 0
    assert after.confidence > before.confidence + 0.2
    assert all(parameter.grad is None for parameter in trained.parameters())


def test_gradient_reaches_every_parameter():
    expert = tiny()
    lips, spoken, valid = pairs(2, 20, 1)
    expert.loss(lips, spoken, valid).backward()
    named = expert.named_parameters()
    assert [name for name, p in named if p.grad is None or p.grad.abs().max().item() < 1e-12] == []


def test_padding_is_not_counted():
    expert = tiny().eval()
    lips, spoken, valid = pairs(2, 40, 1)
    valid[:, 20:] = False
    whole = expert.loss(lips, spoken, valid)
    # Beyond what a valid frame can see: its convolutions and the largest shift.
    changed = spoken.clone()
    changed[:, 2 * 31 :] = 9.0
    changed_lips = lips.clone()
    changed_lips[:, 26:] = 9.0
    torch.testing.assert_close(
        expert.loss(changed_lips, changed, valid, 5), expert.loss(lips, spoken, valid, 5)
    )
    assert whole.isfinite()


def test_round_trip(tmp_path):
    expert = tiny().eval()
    expert.set_feature_statistics(torch.randn(2, 3), torch.rand(2, 3) + 0.5)
    loaded = SyncExpert.from_pretrained(expert.save_pretrained(tmp_path))
    lips, spoken, _ = pairs(1, 40, 5)
    assert loaded.score(lips[0], spoken[0]) == expert.score(lips[0], spoken[0])


def test_too_short_a_clip_is_refused():
    lips, spoken, _ = pairs(1, 30, 5)
    with pytest.raises(ValueError, match="more than 30 frames to compare shifts; got 30"):
        tiny().score(lips[0], spoken[0])
