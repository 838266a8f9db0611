"""ComfyUI's memory manager knows every network, and brings each before it works."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

READERS = {"BlazeFace", "FaceMesh"}


@pytest.fixture
def brought(pack, monkeypatch) -> list[set[str]]:
    """Class names of the networks of each call of load_models_gpu."""
    calls: list[set[str]] = []

    def note(patchers, memory_required=0, force_full_load=False):
        assert memory_required > 0 and force_full_load
        calls.append({type(patcher.model).__name__ for patcher in patchers})

    monkeypatch.setattr(sys.modules["comfy.model_management"], "load_models_gpu", note)
    return calls


def test_every_network_has_a_patcher_of_its_own(part):
    loaded = part("nodes.memory").LoadedModel.load("mini", None).with_renderer("network")
    assert set(loaded.patchers) == set(loaded.model.networks)
    for name, patcher in loaded.patchers.items():
        assert patcher.model is loaded.model.networks[name]
    assert loaded.with_renderer("warp").model.renderer.network is None


def test_the_pack_s_own_model_is_read_once(part):
    memory = part("nodes.memory")
    assert memory.bundled_model() is memory.bundled_model()
    again = memory.bundled_model().with_renderer("network")
    assert again is memory.bundled_model().with_renderer("network")


def test_each_stage_brings_its_networks(part, folders, examples_folder, brought):
    analyse, animate, render = (part(f"nodes.{name}") for name in ("analyse", "animate", "render"))
    clip = part("mytalk_core.media.arranged").part_of(
        part("mytalk_core.media.file_clip").FileClip.open(examples_folder / "ai_woman.mp4"), 0.0, 0.2
    )
    video = part("nodes.video").ClipVideo(clip)
    animate.MotionDiffusionSampler.hidden = None
    faces = analyse.own_faces(clip)
    assert brought == [READERS]
    track = part("nodes.sockets").TrackedFace(clip, faces.choose())
    sound = part("mytalk_core.media.audio").Speech.open(examples_folder / "speech_en.wav")
    model = part("nodes.memory").bundled_model()
    speech = part("nodes.sound").to_audio(sound)
    settings = (0, 2, 1.0, "dpmpp_2m", 0.3, 1.0, 0.0, "silence")
    motion = animate.MotionDiffusionSampler.execute(model, speech, track, *settings).args[0]
    assert brought[1:] == [{"MotionDenoiser", "IdentityExtractor", "SpeechEncoder"}]
    drawn = model.with_renderer("network")
    rendered = drawn.model.draw(clip, track.track, motion.motion, motion.timeline)
    assert len(brought) == 2, "nothing is brought before somebody reads"
    assert video.clip is clip
    node = render.AppearanceGenerate
    node.hidden = type("Hidden", (), {"unique_id": "1"})()
    output = node.execute(video, track, motion, "network", True, 8.0, 5.0, model=model).args[0]
    assert len(brought) == 2 and len(output.clip) == len(rendered)
    next(output.clip.pictures())
    assert brought[2:] == [{"MouthRefiner", *READERS}], "who reads the lips again would be pushed out"


class Draws(torch.nn.Module):
    """A network that draws."""


class DrawsToo(torch.nn.Module):
    """Another."""


@pytest.fixture
def drawn_twice(part, drawn, brought):
    """What Appearance Generate made of frames of which the fourth shows no face, and another renderer's lips
    over it."""
    memory = part("nodes.memory")
    clip = dataclasses.replace(drawn[0].args[0].clip, patch_cache=None)
    clip.track.present[3] = False
    clips = [clip]
    for network in (Draws(), DrawsToo()):
        model = SimpleNamespace(renderer=SimpleNamespace(networks={"network": network}))
        loaded = memory.LoadedModel(model, memory.patchers_of({"network": network}))
        prepare = memory.DrawingNetworks.of(loaded, part("nodes.clips").sources(clips[-1]))
        clips.append(dataclasses.replace(clip, source=clips[-1], prepare=prepare))
    return clips[1:]


def test_what_draws_is_brought_once_in_a_pass_and_only_to_draw(drawn_twice, brought):
    clip, _ = drawn_twice
    assert len(list(clip.pictures())) == 5
    assert brought == [{"Draws", *READERS}]
    next(clip.pictures([3]))
    assert brought == [{"Draws", *READERS}], "nothing is drawn without a face"
    list(clip.edits([3, 0, 1]))
    assert brought == [{"Draws", *READERS}] * 2


def test_of_lips_over_lips_neither_network_pushes_out_the_other(drawn_twice, brought):
    _, over = drawn_twice
    list(over.pictures())
    assert brought == [{"Draws", *READERS}, {"Draws", "DrawsToo", *READERS}]


@pytest.fixture
def drawn(part, folders, examples_folder, monkeypatch):
    """What Appearance Generate gives for a fifth of a second, and the number of frames drawn in each call."""
    animate, analyse, render = (part(f"nodes.{name}") for name in ("animate", "analyse", "render"))
    clip = part("mytalk_core.media.arranged").part_of(
        part("mytalk_core.media.file_clip").FileClip.open(examples_folder / "ai_woman.mp4"), 0.0, 0.2
    )
    track = part("nodes.sockets").TrackedFace(clip, analyse.own_faces(clip).choose())
    lower = part("mytalk_core.face.layout").LandmarkLayout.load("mesh478").lower
    motion = part("mytalk_core.motion.motion").Motion(track.track.canonical[:][:, lower], "mesh478", lower)
    monkeypatch.setattr(render.AppearanceGenerate, "hidden", SimpleNamespace(unique_id="1"))
    video, performance = part("nodes.video").ClipVideo(clip), part("nodes.sockets").Performance(motion)
    made = render.AppearanceGenerate.execute(video, track, performance, "warp", True, 8.0, 5.0)
    calls: list[int] = []
    renderer = made.args[0].clip.renderer
    draw = renderer.render
    monkeypatch.setattr(renderer, "render", lambda *inputs: calls.append(len(inputs[0])) or draw(*inputs))
    return made, calls


def test_each_frame_is_drawn_once_for_video_images_and_mask(part, folders, drawn):
    made, calls = drawn
    clip, images, mask = made.args[0].clip, made.args[1], made.args[2]
    fresh = dataclasses.replace(clip, patch_cache=None)
    expected = [(edit.pasted.rgb, edit.mask()) for edit in fresh.edits()]
    calls.clear()
    combine = part("nodes.combine").VideoCombine
    for crf in (18, 30):
        combine.execute(made.args[0], 25.0, "h264 (.mp4)", crf, "silence", "b", True, "auto")
    np.testing.assert_array_equal((images * 255).round().byte(), np.stack([rgb for rgb, _ in expected]))
    np.testing.assert_array_equal((mask * 255).round().byte(), np.stack([cover for _, cover in expected]))
    assert calls == [1] * len(clip)
    assert list((folders / "temp").iterdir()) == []


def test_lips_that_did_not_move_as_intended_are_told_by_video_combine(part, folders, drawn):
    class Unedited:
        def get(self, row: int) -> list:
            return []

    combine, video = part("nodes.combine").VideoCombine, part("nodes.video").ClipVideo
    settings = (25.0, "h264 (.mp4)", 18, "silence", "b", True, "auto")
    moved = drawn[0].args[0].clip
    still = dataclasses.replace(moved, patch_cache=Unedited())
    assert "only 0 of 5 frames have new lips" in combine.execute(video(still), *settings).ui["text"][0]
    assert "new lips" not in combine.execute(video(moved), *settings).ui["text"][0]


def test_what_finds_no_room_on_the_disk_is_drawn_again(part, folders, drawn, monkeypatch):
    made, calls = drawn
    clip, kept = made.args[0].clip, part("nodes.kept")
    monkeypatch.setattr(kept, "MOST_BYTES", 300_000)
    first, second = ([picture.rgb for picture in clip.pictures()] for _ in range(2))
    np.testing.assert_array_equal(np.stack(first), np.stack(second))
    assert len(clip) < len(calls) < 2 * len(clip)
    # Another server that starts on these folders removes the temp folder.
    made_elsewhere = dataclasses.replace(clip, patch_cache=kept.KeptPatches(folders / "temp"))
    shutil.rmtree(folders / "temp")
    third = [picture.rgb for picture in made_elsewhere.pictures()]
    np.testing.assert_array_equal(np.stack(first), np.stack(third))
    monkeypatch.setattr(kept, "SPARE_BYTES", 1 << 60)
    assert not kept.KeptPatches(Path())._has_room(1)


def test_the_metrics_networks_are_brought_too(part, folders, brought):
    measure = part("nodes.measure")
    networks = measure.find_networks(None, measure.OF_SETS, "cpu")
    memory = part("nodes.memory")
    memory.bring(list(memory.patchers_of(networks.modules).values()), 1)
    known = {"BlazeFace", "FaceMesh", "SyncExpert", "SpeechEncoder", "IdentityExtractor"}
    assert known <= brought[0]
