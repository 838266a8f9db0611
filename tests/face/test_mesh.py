"""The mesh on OpenCV's engine against the plain module, and the crops both read."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import torch
from repository import EXAMPLES

from mytalk_core.face import mesh_opencv
from mytalk_core.face.mesh import FaceMesh, region_box, region_from_box, region_matrix
from mytalk_core.face.mesh_reader import FaceMeshReader, cut_region
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.file_clip import FileClip


@pytest.fixture(scope="module")
def reader():
    return load_face_reader()


@pytest.fixture(scope="module")
def frames():
    return next(FileClip.open(EXAMPLES / "ai_woman.mp4").frames(0, 3, batch_size=3))


@pytest.fixture(scope="module")
def region(reader, frames):
    face = reader.detector.detect(frames[0])[0]
    return region_from_box(face.box, *face.key_points[:2])


def test_a_region_is_read_from_its_box_alone():
    rng = np.random.default_rng(0)
    height, width = 120, 160
    frame = rng.integers(0, 256, (height, width, 3), np.uint8)
    for _ in range(100):
        # Also beside the frame, and over its edges.
        region = np.array([*rng.uniform((-80, -80), (240, 200)), rng.uniform(9, 150), rng.uniform(-4, 4)])
        top, left, bottom, right = region_box(region, height, width)
        assert 0 <= top < bottom <= height and 0 <= left < right <= width
        noise = rng.integers(0, 256, frame.shape, np.uint8)
        noise[top:bottom, left:right] = frame[top:bottom, left:right]
        for size in (256, 96):
            matrix = region_matrix(region) * (size / 256)
            assert np.array_equal(cut_region(noise, matrix, size), cut_region(frame, matrix, size))


@torch.inference_mode()
def run_module(network, crops):
    return network(torch.from_numpy(crops).permute(0, 3, 1, 2) / 255.0)


def test_threads_share_the_engine(reader, frames, region):
    face = cut_region(frames[0], region_matrix(region))[None]
    crops = [face, 255 - face] * 2
    alone = [reader.mesh.opencv(crop)[0] for crop in crops]
    with ThreadPoolExecutor(len(crops)) as threads:
        for _ in range(5):
            together = threads.map(lambda crop: reader.mesh.opencv(crop)[0], crops)
            assert all(map(torch.equal, together, alone))


def test_the_engine_gives_the_modules_points(reader, frames, region):
    faces = np.stack([cut_region(frame, region_matrix(region)) for frame in frames])
    noise = np.random.default_rng(1).integers(0, 256, (1, 256, 256, 3), np.uint8)
    crops = np.concatenate([faces, noise])
    assert reader.mesh.opencv is not None
    points, logits = reader.mesh.opencv(crops)
    expected, expected_logits = run_module(reader.mesh.network, crops)
    assert points.shape == (4, 478, 3) and logits.shape == (4,)
    torch.testing.assert_close(points, expected, rtol=0, atol=5e-3)
    torch.testing.assert_close(logits, expected_logits, rtol=0, atol=5e-3)
    assert logits[:3].min() > 0 > logits[3], "three faces, then noise"


@pytest.fixture
def body_graph():
    """How the bundled body was made."""
    pytest.importorskip("onnx")
    from mytalk_training.convert.mesh_onnx import body_graph

    return body_graph


def test_the_bundled_body_is_the_bundled_mesh(reader, body_graph):
    onnx = pytest.importorskip("onnx")
    bundled = onnx.load_from_string(mesh_opencv.BODY.read_bytes())
    onnx.checker.check_model(bundled)
    assert bundled.graph == onnx.load_from_string(body_graph(reader.mesh.network)).graph


def test_the_engine_follows_any_weights(body_graph, tmp_path):
    torch.manual_seed(0)
    network = FaceMesh().eval()
    for name, parameter in network.named_parameters():
        if "act" in name:
            torch.nn.init.uniform_(parameter, -1, 2)
    crops = np.random.default_rng(2).integers(0, 256, (2, 256, 256, 3), np.uint8)
    (tmp_path / "body.onnx").write_bytes(body_graph(network))
    points, logits = mesh_opencv.OpenCVFaceMesh(network, tmp_path / "body.onnx")(crops)
    expected, expected_logits = run_module(network, crops)
    torch.testing.assert_close(points, expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits, expected_logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("failure", ["other points", "error"])
def test_an_engine_that_errs_is_not_used(reader, frames, region, monkeypatch, tmp_path, failure):
    network, body = reader.mesh.network, tmp_path / "body.onnx"
    other = copy.deepcopy(network)
    if failure == "error":
        body.write_bytes(b"\x00")
        monkeypatch.setattr(mesh_opencv, "BODY", body)
    else:
        # The body is that of the bundled weights.
        torch.nn.init.zeros_(other.body[0].weight)
    with pytest.warns(UserWarning, match="cannot run the face mesh"):
        plain = FaceMeshReader(other)
    assert plain.opencv is None
    plain.network.load_state_dict(network.state_dict())
    landmarks, presence = plain.read([frames[0]], [region])
    expected, expected_presence = reader.mesh.read([frames[0]], [region])
    np.testing.assert_allclose(landmarks, expected, atol=0.01)
    np.testing.assert_allclose(presence, expected_presence, atol=1e-3)


@pytest.mark.parametrize(
    "region",
    [
        (256, 256, 300, 0.0),
        (256, 250, 700, 0.4),
        (20, 490, 200, -1.0),
        (-60, 256, 130, 0.2),
        (300, 200, 40, 3),
    ],
)
def test_crops_are_what_warping_the_whole_frame_gives(frames, region):
    matrix = region_matrix(np.array(region))
    expected = cv2.warpAffine(frames[0], matrix, (256, 256), flags=cv2.INTER_LINEAR)
    difference = np.abs(cut_region(frames[0], matrix).astype(int) - expected)
    # OpenCV may place samples in steps of 1/32 px on one of the ways.
    assert difference.mean() < 0.1 and difference.max() <= 8


def test_a_crop_beside_the_frame_is_black(frames):
    assert not cut_region(frames[0], region_matrix(np.array([-900.0, 100.0, 200.0, 0.3]))).any()
