"""Which references are chosen, for clips as long as they come."""

import tracemalloc

import numpy as np

from mytalk_core.appearance import choosing
from mytalk_core.appearance.choosing import Choice, plan_references


def test_choosing_holds_little_beside_the_distances(monkeypatch):
    frames, count = 12_000, 240
    rng = np.random.default_rng(0)
    distance = rng.random((frames, count), np.float32)
    size = distance.nbytes
    monkeypatch.setattr(choosing, "reference_distance", lambda *_: distance)
    tracemalloc.start()
    plan = plan_references(range(count), np.zeros(frames), None, Choice(references=3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert plan.indices.shape == (frames, choosing.FADING)
    np.testing.assert_allclose(plan.weights.sum(1), 1, rtol=1e-5)
    # 16 bits of each distance: where a path came from.
    assert peak < size, "memory grew with frames times references"
