"""What the user is told: on the node, in the log, as an error, before the run."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import torch


def as_images(clip) -> torch.Tensor:
    return torch.stack([torch.from_numpy(picture.rgb) for picture in clip.pictures()]) / 255


def test_lines_are_on_the_node_and_in_the_log(part, caplog):
    with caplog.at_level(logging.WARNING):
        shown = part("nodes.screen").said("A node", ["one", "two"])
    assert shown == {"text": ("one\ntwo",)} and "A node: one" in caplog.text
    assert part("nodes.screen").said("A node", []) == {"text": ("",)}


def test_every_node_raises_pythons_own_kinds_only(pack, part):
    for node in pack.node_classes:
        assert hasattr(node.execute, "__wrapped__"), node
    plainly, errors = part("nodes.screen").plainly, part("mytalk_core.errors")

    def fails(error: Exception) -> None:
        raise error

    for own in (errors.MediaError, errors.NoFaceError, errors.WeightsError):
        with pytest.raises(ValueError, match="^one sentence$") as caught:
            plainly(fails)(own("one sentence"))
        assert type(caught.value) is ValueError
    cancelled = sys.modules["comfy.model_management"].InterruptProcessingException
    with pytest.raises(cancelled):
        plainly(fails)(cancelled())


def test_an_error_names_files_as_the_page_does(part, folders):
    plainly, errors = part("nodes.screen").plainly, part("mytalk_core.errors")

    def fails(error: Exception) -> None:
        raise error

    (folders / "input" / "silent.mp4").write_bytes(b"")
    for kind in (errors.MediaError, ValueError, FileNotFoundError):
        with pytest.raises(kind if kind is FileNotFoundError else ValueError) as caught:
            plainly(fails)(
                kind(f"speech was required, but {folders / 'input' / 'my' / 'silent.mp4'} has none")
            )
        assert str(caught.value) == f"speech was required, but {Path('my', 'silent.mp4')} has none"
    elsewhere = ValueError("speech was required, but /elsewhere/silent.mp4 has none")
    with pytest.raises(ValueError) as caught:
        plainly(fails)(elsewhere)
    assert caught.value is elsewhere
    with pytest.raises(ValueError, match="but silent.mp4 is empty") as caught:
        part("nodes.load").LoadSpeech.execute("silent.mp4")


def test_extract_landmarks_tells_its_rate_its_face_and_the_default(part, clip, monkeypatch):
    node = part("nodes.analyse").ExtractLandmarks
    mask = torch.zeros(1, clip.height, clip.width)
    mask[0, 200:300, 200:300] = 1
    made = node.execute(part("nodes.video").ClipVideo(clip), 30.0, "left", 0, 0, 0, mask)
    assert made.args[2] == 0 and made.args[3] == 25.0
    assert made.ui["text"][0] == "the linked mask chooses the face, 'left' does not"
    made = node.execute(as_images(clip), 25.0, "largest", 0, 0, 0)
    assert "set frame_rate" in made.ui["text"][0]
    made = node.execute(as_images(clip), 16.0, "largest", 0, 0, 0)
    assert made.ui["text"] == ("",) and made.args[3] == 16.0
    assert node.execute(as_images(clip)[:1], 25.0, "largest", 0, 0, 0).ui["text"] == ("",)


def test_a_small_face_is_told_before_anything_is_animated(part, folders, clip):
    node = part("nodes.analyse").ExtractLandmarks
    small = torch.nn.functional.avg_pool2d(as_images(clip).movedim(-1, 1), 6).movedim(1, -1).contiguous()
    assert "the face is small" in node.execute(small, 16.0, "largest", 0, 0, 0).ui["text"][0]


def test_a_mouth_that_does_not_move_is_told(part, tracked):
    check, layouts = part("nodes.animate").check_motion, part("mytalk_core.face.layout")
    layout = layouts.LandmarkLayout.load("mesh478")
    points = tracked.track.canonical[:][:, layout.lower]
    still = np.repeat(points[:1], len(points), 0)
    motion = part("mytalk_core.motion.motion").Motion
    assert "did not move" in check(motion(still, "mesh478", layout.lower), tracked.track).doubts[0]
    moved = still.copy()
    moved[1:, np.isin(layout.lower, layout.lips_inner[1 : len(layout.lips_inner) // 2]), 1] += 8
    assert not check(motion(moved, "mesh478", layout.lower), tracked.track).doubts


def test_another_video_of_the_same_size_is_told(part, clip, tracked):
    same_video, to_clip = part("nodes.same_video"), part("nodes.clips").to_clip
    images = as_images(clip)
    darker = (images * 0.7 + 0.05).clip(0, 1)
    small = torch.nn.functional.avg_pool2d(images.movedim(-1, 1), 2)
    soft = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear").movedim(1, -1)
    for same in (clip, to_clip(images, 25.0), to_clip(darker, 25.0), to_clip(soft.contiguous(), 25.0)):
        assert same_video.other_video(same, tracked) == []
    assert "another video" in same_video.other_video(to_clip(images.flip(2), 25.0), tracked)[0]
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0))
    assert "another video" in same_video.other_video(to_clip(noise, 25.0), tracked)[0]


def test_transparency_that_is_left_out_is_told(part):
    lost = part("nodes.clips").not_kept
    opaque = torch.ones(2, 8, 8, 4)
    assert lost(opaque) == [] and lost(opaque[..., :3]) == []
    assert "transparency" in lost(opaque * torch.tensor([1, 1, 1, 0.5]))[0]


def test_hdr_of_frames_in_memory_is_told(part):
    class Held(sys.modules["comfy_api.latest"].Input.Video):
        def get_color_space(self):
            return "HDR PQ"

    lost = part("nodes.clips").not_kept
    assert "HDR is not kept" in lost(Held())[0]
    Held.get_stream_source = lambda self: "a file, which keeps it"
    assert lost(Held()) == []


@pytest.mark.parametrize(
    "format, crf, pix_fmt, word",
    [
        ("h264 (.mp4)", 60, "auto", "crf of 0..51"),
        ("vp9 (.webm)", 63, "yuv444p", None),
        ("prores (.mov)", 60, "yuv420p", "pixel format that prores has"),
        ("ffv1 lossless (.mkv)", 60, "auto", None),
        ("gif", 18, "auto", "format is one of"),
        ("h264 (.mp4)", 18, "rgb48", "pixel format that h264 has"),
        (None, None, None, None),
    ],
)
def test_settings_that_do_not_fit_are_refused_before_the_run(part, format, crf, pix_fmt, word):
    said = part("nodes.combine").VideoCombine.validate_inputs(format=format, crf=crf, pix_fmt=pix_fmt)
    assert said is True if word is None else word in said


def test_what_the_file_cannot_keep_is_told_by_video_combine(part, folders, monkeypatch):
    made, combine = part("nodes.clips").to_clip(torch.rand(4, 64, 64, 3), 25.0), part("nodes.combine")

    def write_video(clip, path, *, warn, **settings) -> int:
        warn("2 chapters are not kept: .mov cannot hold them")
        return 0

    monkeypatch.setattr(combine, "write_video", write_video)
    settings = (25.0, "h264 (.mov)", 18, "silence", "b", True, "auto")
    shown = combine.VideoCombine.execute(part("nodes.video").ClipVideo(made), *settings).ui
    assert shown["text"] == ("2 chapters are not kept: .mov cannot hold them",)


def test_the_length_of_a_lip_sync_is_decided_once(part, clip, tracked):
    combine, arranged = part("nodes.combine"), part("mytalk_core.media.arranged")
    lower = part("mytalk_core.face.layout").LandmarkLayout.load("mesh478").lower
    motion = part("mytalk_core.motion.motion").Motion(tracked.track.canonical[:][:, lower], "mesh478", lower)
    timeline = part("mytalk_core.media.timeline").plan_timeline(clip, clip.duration_s)
    model = part("nodes.memory").bundled_model().with_renderer("warp").model
    rendered = model.draw(clip, tracked.track, motion, timeline)
    longer = part("mytalk_core.media.audio").Speech.from_waveform(np.zeros((1, 8000), np.float32), 16000)
    for animated in (rendered, arranged.part_of(rendered, 0.0, None)):
        shown, lines = combine.lay_out(animated, longer, "loop")
        assert len(shown) == len(rendered) and "'loop' is not used" in lines[-1]
    # Where nothing was animated the menu decides.
    shown, lines = combine.lay_out(clip, longer, "loop")
    assert len(shown) > 2 * len(clip) and lines == []
    assert combine.lay_out(rendered, None, "loop") == (None, [])


def test_an_unused_file_is_not_looked_for(part, folders):
    speech = part("nodes.load").LoadSpeech
    assert "No file" in speech.validate_inputs(audio="gone.wav")
    # A linked input is None before the run.
    assert speech.validate_inputs(audio="gone.wav", sound=None) is True and speech.validate_inputs() is True
    assert speech.fingerprint_inputs(audio="gone.wav", sound=None, start_s=0.0) is None
    sound = {"waveform": torch.ones(1, 1, 800), "sample_rate": 8000}
    assert speech.execute(sound=sound).args[0]["waveform"].shape == (1, 1, 800)


def test_cancel_stops_between_two_layers(part, monkeypatch):
    management, memory = sys.modules["comfy.model_management"], part("nodes.memory")
    network = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(9)))
    memory.patchers_of({"network": network})
    network(torch.ones(1, 2))
    monkeypatch.setattr(management, "cancel_after", 4)
    with pytest.raises(management.InterruptProcessingException):
        network(torch.ones(1, 2))


def test_frames_are_drawn_one_by_one_so_that_cancel_comes_between(part, clip, tracked):
    """By a rendered video's first picture no more frames are drawn than threads are at work."""
    layout = part("mytalk_core.face.layout").LandmarkLayout.load("mesh478")
    points = tracked.track.canonical[:][:, layout.lower]
    motion = part("mytalk_core.motion.motion").Motion(points, "mesh478", layout.lower)
    timeline = part("mytalk_core.media.timeline").plan_timeline(clip, clip.duration_s)
    model = part("nodes.memory").bundled_model().with_renderer("warp").model
    rendered = model.draw(clip, tracked.track, motion, timeline)
    drawn = []
    render = rendered.renderer.render
    rendered.renderer.render = lambda *inputs: drawn.append(len(inputs[0])) or render(*inputs)
    next(rendered.pictures())
    assert set(drawn) == {1} and len(drawn) <= 1 + rendered.threads < len(rendered)


def test_a_still_is_told_of_as_nothing_missing_and_shown_for_the_speech(part, clip):
    still = part("nodes.clips").to_clip(as_images(clip)[:1], 25.0)
    timeline = part("nodes.animate").plan_timeline(still, 1.0, "silence")
    assert len(timeline) == 25 and timeline.warnings == ()
