"""A person chosen by a mask, a photo, or by the video's own sound."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.errors import MediaError, NoFaceError, WeightsError
from mytalk_core.expert.scorer import ExpertScorer, SyncFigures
from mytalk_core.face.choice import Mask, Photo, Place, check_choice
from mytalk_core.face.reader import FaceReader, load_face_reader
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.pipeline import stages
from mytalk_core.pipeline.choosing import choose

FRAMES = 6


def read(name: str, start: int = 0) -> np.ndarray:
    frames = next(FileClip.open(EXAMPLES / name).frames(start, start + FRAMES, batch_size=FRAMES))
    return np.stack([cv2.resize(f, (256, 256), interpolation=cv2.INTER_AREA) for f in frames])


@pytest.fixture(scope="module")
def reader() -> FaceReader:
    return load_face_reader()


@pytest.fixture(scope="module")
def pair() -> ImageClip:
    """The woman at the left, the boy at the right."""
    return ImageClip.from_frames(np.concatenate([read("ai_woman.mp4"), read("cartoon_boy.mp4")], axis=2), 25)


@pytest.fixture(scope="module")
def faces(reader, pair):
    return stages.track(reader, pair)


def no_expert() -> ExpertScorer:
    raise FileNotFoundError("weights of part sync were required")


def side(track) -> str:
    return "left" if track.landmarks[0][:, 0].mean() < 256 else "right"


@pytest.mark.parametrize(("name", "expected"), [("ai_woman.mp4", "left"), ("cartoon_boy.mp4", "right")])
def test_a_photo_chooses_its_person(reader, pair, faces, tmp_path, name, expected):
    """Another moment, size and brightness."""
    picture = np.clip(cv2.resize(read(name, 60)[0], (400, 400)) * 0.8 + 20, 0, 255).astype(np.uint8)
    path = tmp_path / "me.png"
    cv2.imwrite(str(path), picture[..., ::-1])
    assert side(choose(reader, pair, faces, f"photo:{path}", no_expert)) == expected


def test_a_photo_of_nobody_there_chooses_nobody(reader, pair, faces, tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 90, np.uint8))
    with pytest.raises(NoFaceError, match=r"wall\.png"):
        choose(reader, pair, faces, Photo(tmp_path / "wall.png"), no_expert)
    woman = ImageClip.from_frames(read("ai_woman.mp4"), 25)
    cv2.imwrite(str(tmp_path / "boy.png"), read("cartoon_boy.mp4")[0][..., ::-1])
    with pytest.raises(NoFaceError, match="none is plainly that one"):
        choose(reader, woman, stages.track(reader, woman), Photo(tmp_path / "boy.png"), no_expert)


def test_face_recognition_decides_where_its_weights_are_given(pair, tmp_path):
    """In place of SFace's network one that sees where a picture is light."""
    weights = colour_network(tmp_path / "network.onnx")
    reader = load_face_reader("cpu", weights)
    faces = stages.track(reader, pair)
    looks = [look for t in faces.tracklets for look in t.looks.values()]
    assert all(look.embedding is not None and look.embedding.shape == (192,) for look in looks)
    cv2.imwrite(str(tmp_path / "boy.png"), read("cartoon_boy.mp4", 60)[0][..., ::-1])
    assert side(choose(reader, pair, faces, Photo(tmp_path / "boy.png"), no_expert)) == "right"


def colour_network(path: Path) -> Path:
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    grey = helper.make_tensor("grey", onnx.TensorProto.FLOAT, [1, 3, 1, 1], [120.0, 110.0, 100.0])
    nodes = [
        helper.make_node("Sub", ["data", "grey"], ["centred"]),
        helper.make_node("AveragePool", ["centred"], ["cells"], kernel_shape=[14, 14], strides=[14, 14]),
        helper.make_node("Flatten", ["cells"], ["fc1"]),
    ]
    data = helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, [1, 3, 112, 112])
    out = helper.make_tensor_value_info("fc1", onnx.TensorProto.FLOAT, [1, 192])
    graph = helper.make_graph(nodes, "network", [data], [out], [grey])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def test_weights_of_face_recognition_that_are_none_are_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="face_recognition_sface"):
        load_face_reader("cpu", tmp_path / "none.onnx")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(WeightsError, match="OpenCV does not read"):
        load_face_reader("cpu", tmp_path / "text.onnx")


@pytest.mark.parametrize(("columns", "expected"), [(slice(60, 200), "left"), (slice(300, 480), "right")])
def test_a_mask_chooses_the_face_under_it(reader, pair, faces, tmp_path, columns, expected):
    """In another size than the video's."""
    mask = np.zeros((256, 512), np.uint8)
    mask[40:200, columns] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), cv2.resize(mask, (1024, 512)))
    assert side(choose(reader, pair, faces, f"mask:{tmp_path / 'mask.png'}", no_expert)) == expected
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((64, 64), np.uint8))
    with pytest.raises(MediaError, match="nothing is painted"):
        choose(reader, pair, faces, Mask(tmp_path / "mask.png"), no_expert)


class Scorer:
    """Says that the mouth of a face at the right fits best, as the expert would."""

    def score(self, track, mono_16k):
        return SyncFigures(0.5, 2.0 if side(track) == "right" else 0.1, 0.0)


def test_who_speaks_is_told_by_the_expert(reader, pair, faces):
    with pytest.raises(MediaError, match="it has none"):
        choose(reader, pair, faces, "speaking", no_expert)
    sound = Speech.from_waveform(np.zeros(16_000, np.float32) + 0.1, 16_000)
    heard = ImageClip.from_frames(np.concatenate(list(pair.frames())), 25, sound)
    assert side(choose(reader, heard, faces, "speaking", Scorer)) == "right"
    with pytest.raises(FileNotFoundError, match="part sync"):
        choose(reader, heard, faces, "speaking", no_expert)


@pytest.mark.parametrize(
    ("text", "choice"),
    [
        ("left", "left"),
        ("speaking", "speaking"),
        ("12", 12),
        ("100,20.5", Place(100, 20.5)),
        ("100,20@1.5", Place(100, 20, 1.5)),
        ((3.0, 4.0), Place(3, 4)),
    ],
)
def test_a_choice_is_read(text, choice):
    assert check_choice(text) == choice


@pytest.mark.parametrize("text", ["biggest", "-1", "1,2,3", "1,", "nan,2", "1,2@", "1,2@inf", ""])
def test_another_word_is_one_line(text):
    with pytest.raises(ValueError, match="a face is chosen by"):
        check_choice(text)


@pytest.mark.parametrize("text", ["mask:none.png", "photo:none.jpg"])
def test_a_file_that_is_not_there_is_one_line(text):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        check_choice(text)
