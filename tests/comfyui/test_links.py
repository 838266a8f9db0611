"""What is linked to a node is the right thing, or its user reads what is wrong: landmarks of another size, a
motion of another video, nothing where sound was meant; and nothing of what was linked is lost."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
import torch


@pytest.fixture
def performance(part, tracked):
    """The clip's own mouth, with a tone."""
    layout = part("mytalk_core.face.layout").LandmarkLayout.load("mesh478")
    points = tracked.track.canonical[:][:, layout.lower]
    motion = part("mytalk_core.motion.motion").Motion(points, "mesh478", layout.lower)
    timeline = part("mytalk_core.media.timeline").plan_timeline(tracked.clip, tracked.clip.duration_s)
    return part("nodes.sockets").Performance(motion, timeline, sounding(part, 0.5), tracked.clip)


@pytest.fixture
def images() -> torch.Tensor:
    """IMAGE of four frames."""
    return torch.rand(4, 50, 70, 3)


def sounding(part, level: float):
    """A sound of a quarter of a second, all samples alike."""
    return part("mytalk_core.media.audio").Speech.from_waveform(np.full((1, 4000), level, np.float32), 16000)


def given(points: np.ndarray, size: tuple[int, int]) -> dict:
    """FACE_LANDMARKS of one face, of pictures of a size (height, width)."""
    frames = [[{"landmarks_xy": one[:, :2], "landmarks_3d": one * 0.4}] for one in points]
    return {"frames": frames, "image_size": size}


def test_landmarks_of_smaller_pictures_are_enlarged(part, clip, tracked):
    analyse, own = part("nodes.analyse"), tracked.track
    half = own.landmarks[:] / 2
    track = analyse.given_faces(clip, given(half, (clip.height // 2, clip.width // 2))).choose()
    np.testing.assert_allclose(track.landmarks[:, :, :2], own.landmarks[:][:, :, :2], atol=0.2)


def test_landmarks_of_another_picture_or_mesh_are_refused(part, clip, tracked):
    analyse, points = part("nodes.analyse"), tracked.track.landmarks[:]
    with pytest.raises(ValueError, match="link the same frames"):
        analyse.given_faces(clip, given(points, (clip.height, clip.width * 2)))
    with pytest.raises(ValueError, match="478 points"):
        analyse.given_faces(clip, given(points[:, :468], (clip.height, clip.width)))


def test_another_of_the_faces_is_chosen_without_looking_for_them_again(part, clip, monkeypatch):
    analyse = part("nodes.analyse")
    looked, own_faces = [], analyse.own_faces
    monkeypatch.setattr(analyse, "own_faces", lambda clip: looked.append(clip) or own_faces(clip))
    video = part("nodes.video").ClipVideo(clip)
    for face in ("largest", "left"):
        analyse.ExtractLandmarks.execute(video, 25.0, face, 0, 0, 0)
    assert len(looked) == 1
    images = torch.zeros(2, 64, 64, 3)
    for rate in (16, 16, 24):
        analyse.known_faces(images, part("nodes.clips").to_clip(images, rate))
    # The images' times are others at another rate.
    assert len(looked) == 3
    number = id(images)
    del images
    assert number not in analyse._known


def test_a_motion_of_another_video_is_refused(part, clip, performance):
    same_video, arranged = part("nodes.same_video"), part("mytalk_core.media.arranged")
    same_video.check_times(performance, clip)
    same_video.check_times(replace(performance, clip=None), clip)
    shorter = arranged.part_of(clip, 0.0, 0.12)
    slower = part("nodes.clips").to_clip(torch.rand(len(clip), 64, 64, 3), 16.0)
    for other in (shorter, slower):
        with pytest.raises(ValueError, match="link this video's track to the motion sampler"):
            same_video.check_times(performance, other)


def test_where_no_sound_arrives_it_is_said(part, folders, tracked):
    load, to_speech = part("nodes.load"), part("nodes.sound").to_speech
    (folders / "input" / "chosen.wav").write_bytes(b"")
    with pytest.raises(ValueError, match="the linked node gave none"):
        load.LoadSpeech.execute("chosen.wav", sound=None)
    for nothing in (None, {"waveform": torch.zeros(0, 1, 800), "sample_rate": 8000}):
        with pytest.raises(ValueError, match="the linked node gave none"):
            to_speech(nothing)


def test_samples_that_are_integers_are_as_loud_as_they_are(part):
    whole = torch.full((1, 1, 800), 2**14, dtype=torch.int16)
    assert part("nodes.sound").to_speech({"waveform": whole, "sample_rate": 8000}).waveform.max() == 0.5
    bytes_of_pcm = torch.tensor([[[0, 128, 192]]], dtype=torch.uint8)
    speech = part("nodes.sound").to_speech({"waveform": bytes_of_pcm, "sample_rate": 8000})
    assert speech.waveform.tolist() == [[-1.0, 0.0, 0.5]]


@pytest.mark.parametrize("batch", [True, False])
def test_a_sound_without_a_batch_or_of_numpy_keeps_its_channels(part, batch):
    waveform = np.array([[0.5, 0.5], [-0.5, -0.5]], np.float32)
    for kind in (torch.as_tensor, np.asarray):
        audio = {"waveform": kind(waveform[None] if batch else waveform), "sample_rate": np.float64(8000)}
        speech = part("nodes.sound").to_speech(audio)
        np.testing.assert_array_equal(speech.waveform, waveform)
        assert speech.sample_rate == 8000
    assert part("nodes.sound").to_speech({"waveform": torch.ones(80), "sample_rate": 8000}).samples == 80


def test_of_several_sounds_the_first_is_taken_and_it_is_said(part, folders, images):
    two = {"waveform": torch.rand(2, 1, 8000), "sample_rate": 8000}
    line = "the first of the batch's 2 sounds is taken"
    assert line in part("nodes.load").LoadSpeech.execute(sound=two).ui["text"][0]
    combine = part("nodes.combine").VideoCombine
    written = combine.execute(images, 16.0, "h264 (.mp4)", 18, "silence", "b", True, "auto", two)
    assert line in written.ui["text"][0]
    one = {"waveform": torch.rand(1, 1, 8000), "sample_rate": 8000}
    assert part("nodes.load").LoadSpeech.execute(sound=one).ui["text"] == ("",)


@pytest.mark.parametrize("other", [{"waveform": torch.zeros(1, 1, 8)}, {"path": "a.wav"}, (1, 2), "a.wav"])
def test_what_is_no_sound_is_refused_with_the_remedy(part, other):
    with pytest.raises(
        ValueError, match="an AUDIO of waveform and sample_rate was required, but a .* arrived"
    ):
        part("nodes.sound").to_speech(other)


@pytest.mark.parametrize("other", [None, "a.mp4", [torch.zeros(1, 8, 8, 3)]])
def test_what_is_no_video_is_refused_with_the_remedy(part, other):
    with pytest.raises(ValueError, match="a VIDEO or an IMAGE batch was required, but .* arrived: link"):
        part("nodes.clips").to_clip(other, 25.0)


def test_a_video_of_another_pack_s_class_is_its_parts(part):
    parts = SimpleNamespace(
        images=torch.rand(3, 8, 8, 3).bfloat16(),
        frame_rate=8.0,
        audio={"waveform": torch.zeros(1, 2, 0), "sample_rate": 8000},
    )
    clip = part("nodes.clips").to_clip(SimpleNamespace(get_components=lambda: parts), 25.0)
    assert len(clip) == 3 and clip.fps == 8 and not clip.has_audio


def test_a_mask_s_one_channel_may_stand_before_or_behind_its_sides(part, images):
    analyse, clip = part("nodes.analyse"), part("nodes.clips").to_clip(images, 16.0)
    mask = torch.zeros(1, 100, 140)
    mask[:, 60:81, 100:121] = 1
    for layers in (mask[0], mask, mask[:, None], mask[..., None]):
        place = analyse.mask_place(layers, clip)
        assert (place.x_px, place.y_px) == pytest.approx((55, 35), abs=0.5)


def test_an_image_with_nan_in_it_is_refused_and_never_black(part, images):
    images[3, 5, 5] = float("nan")
    with pytest.raises(ValueError, match="NaN"):
        [*part("nodes.clips").to_clip(images, 16.0).pictures()]


def test_values_that_are_linked_are_checked_in_every_node(pack, part):
    io, sockets = sys.modules["comfy_api.latest"].io, part("nodes.sockets")
    odd = {io.Int.Input: (object(), "many", 2.5), io.Float.Input: (object(), "many", float("nan"), 1e9)}
    own = (sockets.ModelSocket, sockets.TrackSocket, sockets.MotionSocket, sockets.IdentitySocket)
    odd |= {socket.Input: (object(), None) for socket in own}
    odd |= {io.String.Input: (None,), io.Combo.Input: (None,), io.Boolean.Input: (None,)}
    for node in pack.node_classes:
        for entry in node.define_schema().inputs:
            for value in odd.get(type(entry), ()):
                if value is not None or not entry.optional:
                    with pytest.raises(ValueError, match=f"^{entry.id}: an? .* was required, but .* arrived"):
                        node.execute(**{entry.id: value})


def test_linked_numbers_become_the_widget_s_kind(part):
    linked, io = part("nodes.linked"), sys.modules["comfy_api.latest"].io
    whole, number = io.Int.Input("seed"), io.Float.Input("guidance", min=0.0, max=10.0)
    for value in (7, 7.0, "7", "7.0", np.int64(7), torch.tensor(7)):
        made = linked.fitting(whole, value)
        assert made == 7 and type(made) is int
    assert linked.fitting(whole, 2**64 - 1) == linked.fitting(whole, str(2**64 - 1)) == 2**64 - 1
    assert linked.fitting(number, "1.5") == linked.fitting(number, np.float32(1.5)) == 1.5
    with pytest.raises(ValueError, match="whole number"):
        linked.fitting(whole, 2.5)


def test_what_a_node_refuses_before_a_run_it_refuses_of_linked_values_too(part, folders, images):
    combine, load = part("nodes.combine").VideoCombine, part("nodes.load").LoadSpeech
    with pytest.raises(ValueError, match="format is one of"):
        combine.execute(images, 16.0, "mp4", 18, "silence", "b", True, "auto")
    with pytest.raises(ValueError, match="lies outside"):
        combine.execute(images, 16.0, "h264 (.mp4)", 18, "silence", "../b", True, "auto")
    with pytest.raises(ValueError, match="upload it with the button"):
        load.execute("nothing.wav")
    sound = {"waveform": torch.full((1, 1, 8000), 0.5), "sample_rate": 8000}
    # Nothing that is linked to an optional widget is its default.
    assert load.execute(None, None, "0.5", None, sound).args[0]["waveform"].shape == (1, 1, 4000)


def test_levels_that_are_integers_are_as_bright_as_they_are(part):
    levels = torch.full((2, 8, 8, 3), 200, dtype=torch.uint8)
    clip = part("nodes.clips").to_clip(levels, 25.0)
    assert {int(picture.rgb.max()) for picture in clip.pictures()} == {200}


@pytest.mark.parametrize(("start_s", "duration_s"), [(-3.0, 1.0), (0.0, -3.0)])
def test_a_part_begins_in_the_sound_and_has_a_length(part, start_s, duration_s):
    sound = {"waveform": torch.ones(1, 1, 80_000), "sample_rate": 8000}
    with pytest.raises(ValueError, match="from 0 to 36000 was required"):
        part("nodes.load").LoadSpeech.execute(None, start_s, duration_s, sound=sound)
    with pytest.raises(ValueError, match="a part from 0 s on"):
        part("mytalk_core.media.cut").cut_speech(sounding(part, 0.5), start_s, duration_s)


def test_of_lips_over_lips_both_speeches_are_heard(part, clip, tracked, performance):
    render = part("nodes.render")
    model = part("nodes.memory").bundled_model().with_renderer("warp").model
    first = model.draw(
        clip, tracked.track, performance.motion, performance.timeline, speech=sounding(part, 0.25)
    )
    both, lines = render.heard(first, performance)
    assert np.abs(np.concatenate([*both.blocks()], 1) - 0.75).max() < 1e-3 and lines == []
    same, _ = render.heard(first, replace(performance, speech=sounding(part, 0.25)))
    assert same.mono_16k.max() == pytest.approx(0.25)
    # Lips that nobody animated before speak the new speech alone.
    assert render.heard(clip, performance)[0] is performance.speech


def test_with_a_motion_from_a_file_the_video_keeps_its_sound(part, clip, performance):
    render, arranged = part("nodes.render"), part("mytalk_core.media.arranged")
    filmed = arranged.part_of(clip, 0.0, None, sounding(part, 0.3))
    sound, lines = render.heard(filmed, replace(performance, speech=None))
    assert sound.mono_16k.max() == pytest.approx(0.3) and "the video's own sound stays" in lines[0]
    sound, lines = render.heard(clip, replace(performance, speech=None))
    assert sound is None and "stays" not in lines[0] and "link it to Video Combine" in lines[0]


def test_cancel_stops_between_two_references(part, tracked, performance, monkeypatch):
    management = sys.modules["comfy.model_management"]
    node = part("nodes.render").AppearanceGenerate
    monkeypatch.setattr(management, "cancel_after", 3)
    with pytest.raises(management.InterruptProcessingException):
        node.execute(
            part("nodes.video").ClipVideo(tracked.clip), tracked, performance, "warp", True, 8.0, 5.0
        )


def test_other_weights_under_the_name_are_another_model(part, tmp_path, monkeypatch):
    load = part("nodes.load")
    folder = tmp_path / "models" / "mine" / "motion"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.setitem(sys.modules["folder_paths"].models, "mytalk", [str(tmp_path / "models")])
    first = load.LoadModel.fingerprint_inputs("mine", repository="", revision="")
    assert first == load.LoadModel.fingerprint_inputs("mine", repository="", revision="")
    os.utime(folder / "config.json", (1, 1))
    assert first != load.LoadModel.fingerprint_inputs("mine", repository="", revision="")
    # It lands in the prompt that results carry.
    assert len(first) == 16 and str(tmp_path) not in first


def test_a_file_whose_name_is_linked_is_read_each_time(part, folders):
    """ComfyUI takes an equal fingerprint, or the same object, for unchanged; a linked value is None there."""
    load, edit, folder = part("nodes.load"), part("nodes.edit"), part("nodes.folder")
    names = {"videos": "a", "speeches": "b", "output_folder": "c", "emotion": ""}
    marks = [
        *(load.LoadSpeech.fingerprint_inputs(audio=None, start_s=0.0) for _ in range(2)),
        *(edit.LoadMotion.fingerprint_inputs(file=None) for _ in range(2)),
        *(folder.LipSyncFolder.fingerprint_inputs(**names | {name: None}) for name in names),
    ]
    assert len({*marks}) == len(marks)


def test_what_nodes_are_asked_for_reaches_the_work(part, folders, images, tracked, performance, monkeypatch):
    memory, combine, asked = part("nodes.memory"), part("nodes.combine"), {}
    sampler, render = part("nodes.animate").MotionDiffusionSampler, part("nodes.render").AppearanceGenerate

    def speak(sound, face, timeline, options, identity, progress):
        asked.update(vars(options) | {"frames": len(timeline), "identity": identity})
        return performance.motion

    def draw(*given, **settings):
        asked.update(settings)
        raise RuntimeError("enough")

    monkeypatch.setattr(memory.LoadedModel, "ready", lambda self, *names: SimpleNamespace(speak=speak))
    drawing = SimpleNamespace(model=SimpleNamespace(draw=draw))
    monkeypatch.setattr(memory.LoadedModel, "with_renderer", lambda self, name: drawing)
    monkeypatch.setattr(sampler, "hidden", None, raising=False)
    options = {"seed": 9, "steps": 7, "guidance": 2.5, "sampler": "ddim", "temperature": 0.4}
    options |= {"expression": 1.5, "manner": "model", "emotion_strength": 0.5}
    sound = {"waveform": torch.full((1, 1, 8000), 0.5), "sample_rate": 8000}
    model = memory.bundled_model()
    sampler.execute(model, sound, tracked, smoothing_s=0.0, sync_mode="loop", **options)
    assert asked == options | {"frames": 25, "identity": None}
    with pytest.raises(RuntimeError, match="enough"):
        video = part("nodes.video").ClipVideo(tracked.clip)
        render.execute(video, tracked, performance, "warp", False, 3.0, 10.0, lip_references=tracked)
    expected = {"colour_match": False, "detail": 3.0, "feather": 25.6, "check_visibility": False}
    assert expected.items() <= vars(asked["settings"]).items()
    assert asked["lips"] == (tracked.clip, tracked.track)
    monkeypatch.setattr(
        combine, "write_video", lambda clip, path, **how: asked.update(how | {"path": path}) or 0
    )
    combine.VideoCombine.execute(images, 16.0, "vp9 (.webm)", 33, "loop", "b", True, "yuv444p", sound)
    assert (asked["codec"], asked["crf"], asked["pixel_format"]) == ("vp9", 33, "yuv444p")
    assert asked["path"].suffix == ".webm" and len(asked["timeline"]) == 16
    assert asked["sound"].duration_s == 1.0 and asked["sound"].mono_16k.max() == pytest.approx(0.5, abs=0.01)


def test_images_at_the_default_rate_are_told_of_where_they_are_written(part, folders, monkeypatch):
    combine = part("nodes.combine")
    monkeypatch.setattr(combine, "write_video", lambda clip, path, **settings: 0)
    for rate, word in ((25.0, "set frame_rate"), (16.0, "")):
        made = combine.VideoCombine.execute(
            torch.rand(4, 64, 64, 3), rate, "h264 (.mp4)", 18, "silence", "b", True, "auto"
        )
        assert made.ui["text"][0].count(word) and bool(made.ui["text"][0]) == bool(word)


def test_names_have_the_date_and_stay_in_the_output_folder(part, folders):
    outputs = part("nodes.outputs")
    now = datetime(2026, 3, 4, 5, 6, 7)
    assert outputs.dated("a/%date:yyyy-MM-dd%_%date:hh.mm.ss%", now) == "a/2026-03-04_05.06.07"
    assert outputs.dated("%date%", now) == "20260304050607" and outputs.dated("%width%", now) == "%width%"
    for node in (part("nodes.combine").VideoCombine, part("nodes.edit").SaveMotion):
        assert node.validate_inputs(filename_prefix="MyTalk/%date:yy%/a") is True
        assert node.validate_inputs() is True
        for outside in ("../../x", "/elsewhere/x"):
            assert "lies outside" in node.validate_inputs(filename_prefix=outside)
