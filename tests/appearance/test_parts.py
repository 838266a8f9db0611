"""Parts of a picture: what lies between them and what they have about it."""

from __future__ import annotations

import numpy as np

from mytalk_core.appearance.covers.parts import enclosed, gaps


def test_gaps_lie_between_thick_places_and_not_at_the_edge():
    part = np.zeros((100, 120), bool)
    part[20:80, 10:40] = part[20:80, 56:90] = part[20:80, 100:102] = True
    between = gaps(part, 10)
    assert between[30:70, 40:56].all() and not between[30:70, 90:].any() and not between[:, :10].any()
    assert not gaps(part, 6)[30:70, 40:56].any()
    assert not gaps(part[:, 95:], 10).any(), "hair has none"


def test_small_holes_of_a_part_are_enclosed_and_what_a_ring_has_about_it_is_not():
    part = np.zeros((60, 100), bool)
    part[10:50, 10:50] = part[10:50, 55:95] = True
    part[20:30, 20:30] = part[14:46, 59:91] = part[:40, 40:42] = False
    found = enclosed(part, 0.2)
    assert found[20:30, 20:30].all() and found.sum() == 100
    assert not enclosed(part & False, 0.2).any()
