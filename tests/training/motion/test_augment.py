"""Changes to the speech that the motion model is trained with."""

from __future__ import annotations

import numpy as np
import torch
from mytalk_training.motion.augment import LONGEST_HIDDEN, change_tempo, hidden_spans, hide, vary_voice


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_hidden_stretches_are_the_mean_and_short():
    features = torch.randn(200, 2, 3, generator=seeded())
    chosen = torch.stack([hidden_spans(200, 3, seeded(seed)) for seed in range(40)])
    hidden = hide(features.expand(40, 200, 2, 3), chosen)
    changed = (hidden != features).any(-1).any(-1)
    assert torch.equal(changed, chosen)
    for other, frames in zip(hidden, changed, strict=True):
        torch.testing.assert_close(other[frames], features.mean(0).expand(int(frames.sum()), 2, 3))
    assert 20 < changed.sum(1).float().mean() < 3 * LONGEST_HIDDEN / 2
    assert changed.sum(1).max() <= 3 * LONGEST_HIDDEN
    assert changed.any(0).float().mean() > 0.95  # no frame is spared
    assert torch.equal(hidden_spans(200, 3, seeded(5)), chosen[5])


def test_another_voice_says_the_same_at_the_same_time():
    speech = torch.zeros(16_000)
    speech[4000:8000] = 0.1 * torch.randn(4000, generator=seeded())
    other = vary_voice(speech, seeded(1))
    assert other.shape == speech.shape and other.abs().max() <= 1
    assert not torch.allclose(other, speech, atol=1e-3)
    assert other[4500:8000].std() > 5 * other[9000:].std()


def test_tempo_moves_speech_and_lips_alike():
    """A click and a jump of the lips at 1 s are both at 0.8 s when played 1.25 times as fast."""
    speech, displacement = torch.zeros(32_000), np.zeros((50, 4, 3), np.float32)
    speech[16_000] = 1.0
    displacement[25:] = 1.0
    faster, moved = change_tempo(speech, displacement, 1.25)
    assert len(faster) == 640 * len(moved) == 25_600
    assert abs(int(faster.abs().argmax()) - 12_800) <= 2
    assert np.flatnonzero(moved[:, 0, 0] > 0.5)[0] == 20
