"""Speech features are computed once: the same speech is read back, other speech or another length is not."""

from __future__ import annotations

import torch
from mytalk_training.motion.kept_features import KeptFeatures


class Encoder:
    """Counts its calls; features are the speech's own numbers."""

    dim, layers = 3, (0, 2)

    def __init__(self):
        self.calls = 0

    def encode(self, speech, count):
        self.calls += 1
        return speech[:count, None, None].expand(count, 2, 3)


def test_features_are_computed_once(tmp_path):
    encoder = Encoder()
    kept = KeptFeatures(encoder, tmp_path / "features")
    speech = torch.arange(20.0)
    first = kept.encode(speech, 10)
    assert (kept.dim, kept.layers) == (3, (0, 2))
    again = KeptFeatures(encoder, tmp_path / "features").encode(speech, 10)
    assert encoder.calls == 1
    assert again.dtype == torch.float32
    assert torch.equal(again, first)
    assert torch.equal(first, speech[:10, None, None].expand(10, 2, 3))
    assert kept.encode(speech, 8).shape == (8, 2, 3)
    assert kept.encode(speech + 1, 10)[0, 0, 0] == 1
    assert encoder.calls == 3
