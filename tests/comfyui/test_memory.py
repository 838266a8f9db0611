"""ComfyUI's memory manager knows every network, and brings each before it works."""

from __future__ import annotations

import sys

import pytest


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
    analyse.ExtractLandmarks.hidden = animate.MotionDiffusionSampler.hidden = None
    faces = analyse.own_faces(clip)
    assert brought == [{"BlazeFace", "FaceMesh"}]
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
    assert brought[2:] == [{"MouthRefiner"}]


def test_the_metrics_networks_are_brought_too(part, folders, brought):
    measure = part("nodes.measure")
    networks = measure.find_networks(None, measure.OF_SETS, "cpu")
    memory = part("nodes.memory")
    memory.bring(list(memory.patchers_of(networks.modules).values()), 1)
    known = {"BlazeFace", "FaceMesh", "SyncExpert", "SpeechEncoder", "IdentityExtractor"}
    assert known <= brought[0]
