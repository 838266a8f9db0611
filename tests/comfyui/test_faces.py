"""What Extract Landmarks shows of the faces it found, and that a click means that face."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture
def two_people(part, examples_folder):
    """Three frames as IMAGE (T,H,W,3): a larger face at the right, the same one smaller at the left."""
    whole = part("mytalk_core.media.file_clip").FileClip.open(examples_folder / "ai_woman.mp4")
    frames = []
    for picture in whole.pictures([0, 1, 2]):
        small = np.asarray(Image.fromarray(picture.rgb).resize((256, 256)))
        canvas = np.zeros((512, 768, 3), np.uint8)
        canvas[128:384, :256], canvas[:, 256:] = small, picture.rgb
        frames.append(canvas)
    return torch.from_numpy(np.stack(frames)).float() / 255


def extract(part, monkeypatch, images, face: str = "largest", place: tuple[int, int] = (0, 0)):
    node = part("nodes.analyse").ExtractLandmarks
    made = node.execute(images, 24.0, face, 0, *place)
    return made.args[0].track, made.ui["faces"][0]


def test_faces_are_shown_in_boxes_and_a_click_chooses_one(part, folders, two_people, monkeypatch):
    track, shown = extract(part, monkeypatch, two_people)
    assert (shown["width"], shown["height"]) == (768, 512)
    large, small = shown["boxes"]
    assert (large["number"], small["number"]) == (0, 1)
    assert large["chosen"] and not small["chosen"]
    assert large["left"] > 256 > small["left"] + small["width"]
    points = track.landmarks[0][:, :2]
    assert large["left"] == pytest.approx(points[:, 0].min(), abs=0.1)
    with Image.open(folders / "temp" / shown["picture"]["filename"]) as picture:
        assert picture.size == (768, 512)
    # What the page sets when the second box is clicked.
    track, shown = extract(part, monkeypatch, two_people, "place", (small["x"], small["y"]))
    assert track.landmarks[0][:, 0].max() < 256
    assert [face["chosen"] for face in shown["boxes"]] == [False, True]


def test_the_frame_with_the_most_faces_is_shown(part):
    track, packed = part("mytalk_core.face.track"), part("mytalk_core.face.packed").PackedLandmarks

    def face(x: float, rows: list[int]):
        points = np.random.default_rng(0).random((len(rows), 478, 3)).astype(np.float32) * 50 + x
        return track.Tracklet(0, np.array(rows), packed.pack(points))

    faces = track.Faces([face(0, [0, 1, 2, 3]), face(200, [2, 3])], np.arange(4) / 25, np.zeros(4, int))
    assert part("nodes.faces").fullest_frame(faces) == 2


def test_a_mask_for_each_frame_chooses_who_is_there_in_its_first_painted_frame(part, folders, two_people):
    # The two change places, in a shot of its own.
    images = torch.cat([two_people, two_people.flip(2)])
    mask = torch.zeros(6, 512, 768)
    mask[4:, :, 512:] = 1
    made = part("nodes.analyse").ExtractLandmarks.execute(images, 24.0, "mask", 0, 0, 0, mask)
    assert made.args[0].track.landmarks[4][:, 0].min() > 512
