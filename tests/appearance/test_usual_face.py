"""What a face usually looks like where something always stands before it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from drawn_face import SIZE, picture, shape

from mytalk_core.appearance.covers.face_view import FaceView
from mytalk_core.appearance.covers.usual_face import UsualFace
from mytalk_core.appearance.square.raster import triangulate
from mytalk_core.face.layout import LandmarkLayout

OPENINGS = (0.0, 1.0, 2.0, 3.0, 4.0)
LIPS, SKIN = (170, 60, 70), (203, 158, 120)


@pytest.mark.parametrize(("above", "below", "looks"), [(-1, 8, SKIN), (4, -2, LIPS)], ids=["chin", "lip"])
def test_skin_goes_on_as_skin_and_lips_as_lips_behind_a_bar(above, below, looks):
    """above: units from the lower lip's edge up at which the bar begins; below: where one looks."""
    layout, views = LandmarkLayout.load("mesh478"), []
    for opening in OPENINGS:
        points = shape(layout, opening).astype(np.float32)
        drawn = picture(layout, points)
        teeth = np.rint((points[layout.lips_inner] - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(drawn, [teeth], (240, 240, 240), shift=4)
        views.append(FaceView(drawn, points, layout, np.ones(3, np.float32), 0.0))
    usual_shape = np.median([view.landmarks for view in views], axis=0)
    edge = int(usual_shape[layout.lips_outer, 1].max())
    bar = np.zeros((SIZE, SIZE), bool)
    bar[edge - above :] = True
    face = UsualFace.of(views, [bar] * len(views), usual_shape, triangulate(layout), 2)
    seen = face.picture[edge + below, 120:136, :3].astype(float)
    assert np.abs(seen - looks).max() < 45
