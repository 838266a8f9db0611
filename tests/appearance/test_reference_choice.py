"""Which references are chosen: the nearest of equal worth, for clips as long as they come."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from drawn_face import shape
from test_warp_renderer import pool

from mytalk_core.appearance.fade import Light
from mytalk_core.appearance.references import plan as reference_plan
from mytalk_core.appearance.references.plan import ReferenceChoice, plan_references, reference_distance
from mytalk_core.face.layout import LandmarkLayout


@pytest.fixture(scope="module")
def layout():
    return LandmarkLayout.load("mesh478")


def beyond_the_edge(crops):
    """Whose lower half lies outside the frame."""
    return np.arange(256)[:, None] * np.ones((len(crops), 1, 256)) < np.array([140, 256])[:, None, None]


@pytest.mark.parametrize(
    ("what", "price"),
    [
        ({"sharpness": np.float32([0.5, 1])}, ReferenceChoice().blur),
        ({"shots": np.array([7, 0])}, ReferenceChoice().other_shot),
        ({"crops": 50}, ReferenceChoice().other_light * (50 - reference_plan.SAME_LIGHT)),
        ({"crops": 20}, 0),
        ({"seen": beyond_the_edge}, ReferenceChoice().unseen),
    ],
    ids=["blurred", "another shot", "another light", "nearly the same light", "beyond the edge"],
)
def test_of_two_alike_the_one_without_a_fault_is_taken(layout, what, price):
    alike = pool(layout, [8, 8], shade=-60)
    light = Light.of(alike.crops).brightness[:1]
    if "crops" in what:
        brighter = alike.crops.copy()
        brighter[0] += np.uint8(what["crops"])
        what = {"crops": brighter}
    elif "seen" in what:
        what = {"seen": what["seen"](alike.crops)}
    choice, shots = ReferenceChoice(references=1), np.zeros(1, int)
    given = replace(alike, **what), alike.landmarks[:1], layout, choice, shots, light
    first, second = reference_distance(*given)[0]
    assert second == 0 and first == pytest.approx(price, rel=0.1)
    assert plan_references(*given).indices[0, 0] == (1 if price else 0)


def test_each_frame_has_different_references_whatever_part_of_the_clip_it_is_in(layout, monkeypatch):
    references = pool(layout, [0, 3, 6, 9, 12])
    targets = np.stack([shape(layout, opening) for opening in np.linspace(0, 12, 20)]).astype(np.float32)
    given = (
        references,
        targets,
        layout,
        ReferenceChoice(references=3),
        np.repeat([0, 1], 10),
        np.full(20, 99.0),
    )
    plan = plan_references(*given)
    for indices, weights in zip(plan.indices, plan.weights, strict=True):
        used = indices[weights > 0]
        assert len(used) >= 3 and len(set(used)) == len(used) and (used >= 0).all()
    monkeypatch.setattr(reference_plan, "CHUNK", 3)
    again = plan_references(*given)
    assert np.array_equal(again.indices, plan.indices)
    np.testing.assert_allclose(again.weights, plan.weights, atol=1e-6)


def test_choosing_holds_little_beside_the_distances(monkeypatch):
    frames, count = 12_000, 240
    rng = np.random.default_rng(0)
    distance = rng.random((frames, count), np.float32)
    size = distance.nbytes
    monkeypatch.setattr(reference_plan, "reference_distance", lambda *_: distance)
    tracemalloc.start()
    plan = plan_references(range(count), np.zeros(frames), None, ReferenceChoice(references=3))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert plan.indices.shape == (frames, reference_plan.FADING)
    np.testing.assert_allclose(plan.weights.sum(1), 1, rtol=1e-5)
    # 16 bits of each distance: where a path came from.
    assert peak < size, "memory grew with frames times references"
