"""Comparing real clips: ideal for itself, worse for blur and noise; every line for what differs."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
from repository import EXAMPLES

from mytalk_core.errors import NoFaceError
from mytalk_core.evaluation.compare import Scoring, compare, compare_clips, follow
from mytalk_core.evaluation.networks.metric_networks import Networks
from mytalk_core.evaluation.subject import Subject, read_subject
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.packed import PackedLandmarks
from mytalk_core.face.reader import load_face_reader
from mytalk_core.face.track import build_track
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip

VIDEO = EXAMPLES / "ai_woman.mp4"
FRAMES = 12


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(load_face_reader())


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    clip = FileClip.open(VIDEO)
    return np.stack([cv2.resize(f, (256, 256), interpolation=cv2.INTER_AREA) for f in next(clip.frames())])[
        :FRAMES
    ]


@pytest.fixture(scope="module")
def reference(frames, networks) -> Subject:
    return read_subject(ImageClip.from_frames(frames, 25), networks.reader)


def scores(reference, generated, networks, speech=None, **how) -> dict:
    made = follow(reference, generated, networks)
    return compare(reference, made, speech, networks, Scoring(**how)).scores


@pytest.fixture(scope="module")
def itself(reference, networks) -> dict:
    silence = Speech.from_waveform(np.zeros(16_000, np.float32), 16_000)
    return scores(reference, reference.clip, networks, silence)


def test_a_clip_is_ideal_against_itself(itself):
    ideal = {
        "psnr_face": 100,
        "psnr_mouth": 100,
        "psnr_frame": 100,
        "ssim_face": 1,
        "ssim_mouth": 1,
        "ssim_frame": 1,
        "lmd_mouth": 0,
        "lmd_face": 0,
        "opening_correlation": 1,
        "flicker_face": 0,
        "flicker_mouth": 0,
        "outside_face": 0,
        "outside_frame": 0,
    }
    for key, value in ideal.items():
        assert itself[key] == pytest.approx(value, abs=1e-6), key


@pytest.mark.parametrize("kind", ["blur", "noise"])
def test_scores_fall_with_harm(reference, networks, frames, kind):
    found = []
    for amount in (1, 3):
        if kind == "blur":
            harmed = np.stack([cv2.GaussianBlur(frame, (0, 0), amount) for frame in frames])
        else:
            noise = np.random.default_rng(0).normal(0, 6 * amount, frames.shape)
            harmed = np.clip(frames + noise, 0, 255).astype(np.uint8)
        found.append(scores(reference, ImageClip.from_frames(harmed, 25), networks, every=3))
    little, much = found
    for key in ("psnr_face", "psnr_mouth", "psnr_frame", "ssim_face", "ssim_mouth", "ssim_frame"):
        assert much[key] < little[key], key
    for key in ("outside_face", "outside_frame", "flicker_face", "lmd_mouth"):
        assert much[key] > little[key], key


def test_only_the_mouth_changed_is_seen_there(reference, networks, frames):
    changed = frames.copy()
    for i in range(FRAMES):
        x, y = reference.track.landmarks[i][13, :2].astype(int)
        changed[i, y - 6 : y + 7, x - 8 : x + 9] = 90
    found = scores(reference, ImageClip.from_frames(changed, 25), networks, every=4)
    assert found["outside_frame"] == 0
    assert found["psnr_mouth"] < found["psnr_face"] < found["psnr_frame"] < 100


def test_sizes_and_lengths_that_differ_get_a_line_each(networks, frames, reference):
    small = np.stack([cv2.resize(f, (192, 192), interpolation=cv2.INTER_AREA) for f in frames[:8]])
    result = compare_clips(reference.clip, ImageClip.from_frames(small, 25), networks=networks)
    assert result.frames == 8
    assert any("192x192" in note for note in result.notes)
    assert any("8 frames, the reference has 12" in note for note in result.notes)
    assert any("no speech" in note for note in result.notes)
    assert result.scores["psnr_face"] > 25
    assert result.scores["lmd_mouth"] < 3
    assert set(result.worst) <= set(range(8))


def test_unpaired_leaves_out_what_needs_the_same_words(reference, networks, itself):
    found = scores(reference, reference.clip, networks, paired=False)
    assert "lmd_mouth" in itself
    assert not set(found) & {"psnr_mouth", "ssim_face", "lmd_mouth", "opening_correlation"}
    assert found["outside_frame"] == 0


def test_scores_of_each_third_frame_are_near_all(reference, networks, frames):
    blurred = ImageClip.from_frames(np.stack([cv2.GaussianBlur(f, (0, 0), 2) for f in frames]), 25)
    whole, third = (scores(reference, blurred, networks, every=n) for n in (1, 3))
    assert third["psnr_face"] == pytest.approx(whole["psnr_face"], abs=0.5)
    with pytest.raises(ValueError, match="every must be 1"):
        Scoring(every=0)


def test_no_face_is_one_line(networks):
    empty = ImageClip.from_frames(np.full((3, 128, 128, 3), 90, np.uint8), 25)
    with pytest.raises(NoFaceError, match="frames: a video with a visible face is needed"):
        compare_clips(empty, empty, networks=networks)


class Repeated:
    """Frames of a long video that take no memory: one frame again and again."""

    def __init__(self, frame: np.ndarray):
        self.frame = frame

    def __getitem__(self, number: int) -> np.ndarray:
        return self.frame


def test_memory_does_not_grow_with_the_clip(frames):
    def peak(count: int) -> int:
        pts = np.arange(count, dtype=np.int64)
        clip = replace(ImageClip.from_frames(frames[:1], 25), pts=pts, images=Repeated(frames[0]))
        face = np.tile(LandmarkLayout.load("mesh478").template, (count, 1, 1)).astype(np.float32)
        shots = np.zeros(count, np.int32)
        track = build_track(PackedLandmarks.pack(face), np.ones(count, bool), clip.times_s, shots)
        tracemalloc.start()
        try:
            compare(Subject(clip, track), Subject(clip, track), None, Networks(None), Scoring(every=300))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(900) < peak(300) + 500_000
