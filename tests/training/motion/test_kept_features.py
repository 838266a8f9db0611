"""Speech features are computed once: the same speech is read back, other speech, another length or
what another encoder makes of it is not.
"""

from __future__ import annotations

import torch
from mytalk_training.motion.kept_features import KeptFeatures


class Encoder:
    """Counts its calls; features are the speech's own numbers, scaled by its only weight."""

    dim = 3

    def __init__(self, weight=1, layers=(0, 2)):
        self.calls, self.weight, self.layers, self.sha256 = 0, weight, layers, f"of {weight}"

    def encode(self, speech, count):
        self.calls += 1
        return self.weight * speech[:count, None, None].expand(count, 2, 3)


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


def test_encoders_of_one_width_share_a_folder(tmp_path):
    speech, others = torch.arange(20.0), [Encoder(), Encoder(weight=2), Encoder(layers=(0, 1))]
    features = [KeptFeatures(encoder, tmp_path).encode(speech, 10) for encoder in others]
    assert [encoder.calls for encoder in others] == [1, 1, 1]
    assert torch.equal(features[1], 2 * features[0])
