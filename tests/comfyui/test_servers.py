"""The pack on a real ComfyUI: set COMFYUI_DIR to its folder, and COMFYUI_PYTHON to its Python if it has
its own."""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from pathlib import Path
from urllib.parse import quote

import av
import numpy as np
import pytest
from comfy_server import RESERVED_MB, ComfyServer, probe, write_clip
from pack_loader import ROOT

WORKFLOWS = sorted((ROOT / "workflows" / "api").glob("*.json"))
# Frames, frames a second and seconds of sound that each workflow's result has.
EXPECTED = {
    "Lip sync a video": (122, 25, 4.87),
    "Lip sync AI-generated frames": (78, 16, 4.87),
    "Look at the face mesh": (200, 25, 0),
    "Lip sync two speakers in one shot": (125, 25, 5.0),
    "Speak with another emotion": (122, 25, 4.87),
    "Change how the lips look": (122, 25, 4.87),
    "Lip sync a long video": (200, 25, 8.0),
    "Lip sync a folder of videos": (122, 25, 4.87),
    "Measure a lip sync": (122, 25, 4.87),
}

pytestmark = pytest.mark.skipif(not os.environ.get("COMFYUI_DIR"), reason="COMFYUI_DIR names no ComfyUI")


@pytest.fixture(scope="module")
def comfy(tmp_path_factory):
    server = ComfyServer.start(Path(os.environ["COMFYUI_DIR"]), tmp_path_factory.mktemp("comfy") / "base")
    yield server
    server.stop()


@pytest.fixture
def basic() -> dict:
    """The basic workflow on one second of speech; 2: the video, 3: the speech, 6: the motion, 8: the file."""
    workflow = json.loads((ROOT / "workflows" / "api" / "Lip sync a video.json").read_text())
    workflow["3"]["inputs"]["duration_s"] = 1.0
    return workflow


def on_images(workflow: dict, frame_rate: float, **frames: int) -> dict:
    """The workflow with an IMAGE batch in place of its VIDEO."""
    workflow = copy.deepcopy(workflow)
    workflow["20"] = {"class_type": "TestFrames", "inputs": {"video": ["2", 0], **frames}}
    workflow["4"]["inputs"] |= {"video": ["20", 0], "frame_rate": frame_rate}
    workflow["7"]["inputs"]["video"] = ["20", 0]
    return workflow


def test_all_nodes_are_there_and_help_and_templates_are_served(comfy):
    nodes = [name for name in comfy.call("/object_info") if name.startswith("MyTalk")]
    assert len(nodes) == 12
    for path in WORKFLOWS:
        for name in (quote(path.name), path.name.replace(" ", "-")):
            assert comfy.call(f"/api/workflow_templates/ComfyUI-MyTalk/{name}")["nodes"]
    assert comfy.call("/i18n")["zh"]["nodeDefs"]["MyTalkLoadSpeech"]["display_name"] == "加载语音"


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflow_makes_its_video(comfy, path):
    files = comfy.run(json.loads(path.read_text()))["files"]
    found = probe(next(file for file in files if file.suffix == ".mp4"))
    frames, rate, sound_s = EXPECTED[path.stem]
    assert found.frames == frames
    np.testing.assert_allclose(np.diff(found.times_s), 1 / rate, atol=1e-3)
    assert found.sound_s == pytest.approx(sound_s, abs=0.06)


def test_the_blueprint_is_listed_and_makes_a_video_of_a_video_and_a_speech(comfy, basic):
    listed = comfy.call("/global_subgraphs")
    [key] = [key for key, entry in listed.items() if entry["info"]["node_pack"].endswith("ComfyUI-MyTalk")]
    assert listed[key]["name"] == "Lip Sync"
    inside = json.loads(comfy.call(f"/global_subgraphs/{key}")["data"])["definitions"]["subgraphs"][0]
    workflow = {key: basic[key] for key in ("2", "3", "8")}
    made = {}
    for node in inside["nodes"]:
        values = comfy.call(f"/object_info/{node['type']}")[node["type"]]["input"]
        widgets = [entry["name"] for entry in node["inputs"] if "widget" in entry]
        given = [value for value in node["widgets_values"] if value != "fixed"]
        assert len(widgets) == len(given) and set(widgets) <= set(values["required"]) | set(
            values.get("optional", {})
        )
        made[node["id"]] = f"5:{node['id']}"
        workflow[made[node["id"]]] = {
            "class_type": node["type"],
            "inputs": dict(zip(widgets, given, strict=True)),
        }
    outside = {0: ["2", 0], 1: ["3", 0]}
    for link in inside["links"]:
        inner = link["origin_id"] > 0
        source = [made[link["origin_id"]], link["origin_slot"]] if inner else outside.get(link["origin_slot"])
        if link["target_id"] < 0:
            workflow["8"]["inputs"]["video"] = source
        elif source is not None:
            node = next(node for node in inside["nodes"] if node["id"] == link["target_id"])
            name = node["inputs"][link["target_slot"]]["name"]
            workflow[made[node["id"]]]["inputs"][name] = source
    [file] = [file for file in comfy.run(workflow)["files"] if file.suffix == ".mp4"]
    assert probe(file).frames == 200


def test_another_crf_draws_nothing_anew(comfy, basic):
    basic["8"]["inputs"]["filename_prefix"] = "drawn/once"
    basic["6"]["inputs"]["seed"] = 31
    first_s = seconds_of(comfy, basic)
    basic["8"]["inputs"]["crf"] = 30
    assert seconds_of(comfy, basic) < 0.6 * first_s


def seconds_of(comfy, workflow: dict) -> float:
    begin = time.monotonic()
    comfy.run(workflow)
    return time.monotonic() - begin


def test_metrics_of_a_file_against_itself(comfy):
    videos = {"reference": ["1", 0], "generated": ["1", 0], "audio": ["2", 0]}
    settings = {"same_words": True, "face": "largest", "every": 50, "frame_rate": 25.0}
    sound = {"audio": "speech_en.wav", "start_s": 0.0, "duration_s": 0.0, "gain_db": 0.0}
    write_clip(comfy.base / "input" / "short.mp4", count=50)
    workflow = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": "short.mp4"}},
        "2": {"class_type": "MyTalkLoadSpeech", "inputs": sound},
        "3": {"class_type": "MyTalkMetrics", "inputs": videos | settings},
    }
    [table] = comfy.run(workflow)["texts"]
    assert "| SSIM, mouth" in table and "1.000" in table
    assert "confidence" in table and "50 frames compared" in table


def test_second_run_is_cached(comfy, basic):
    comfy.run(basic)
    assert set(comfy.run(basic)["messages"]["execution_cached"]["nodes"]) == set(basic)


def test_core_saves_the_lazy_video_too(comfy, basic):
    settings = {"filename_prefix": "core", "format": "auto", "codec": "auto"}
    basic["9"] = {"class_type": "SaveVideo", "inputs": {"video": ["7", 0], **settings}}
    basic["10"] = {"class_type": "GetVideoComponents", "inputs": {"video": ["7", 0]}}
    basic["11"] = {"class_type": "SaveImage", "inputs": {"images": ["10", 0], "filename_prefix": "frame"}}
    files = comfy.run(basic)["files"]
    saved = probe(next(file for file in files if file.name.startswith("core")))
    assert (saved.frames, saved.size) == (25, (512, 512)) and saved.sound_s > 0.9
    assert len([file for file in files if file.name.startswith("frame")]) == 25


def test_images_and_masks_are_made_where_linked(comfy, basic):
    basic["9"] = {"class_type": "MaskToImage", "inputs": {"mask": ["7", 2]}}
    basic["10"] = {"class_type": "SaveImage", "inputs": {"images": ["9", 0], "filename_prefix": "mask"}}
    basic["11"] = {"class_type": "SaveImage", "inputs": {"images": ["7", 1], "filename_prefix": "lips"}}
    files = comfy.run(basic)["files"]
    assert len([file for file in files if file.name.startswith("mask")]) == 25
    assert len([file for file in files if file.name.startswith("lips")]) == 25


def folder_of_two(comfy, basic: dict, **changed: object) -> dict:
    """A workflow on a folder with a video that is cut off before a good one."""
    folder = comfy.base / "input" / "two"
    folder.mkdir(exist_ok=True)
    whole = write_clip(folder / "b.mp4", count=10).read_bytes()
    (folder / "a.mp4").write_bytes(whole[: len(whole) // 2])
    settings = json.loads((ROOT / "workflows/api/Lip sync a folder of videos.json").read_text())["2"]
    settings["inputs"] |= {"videos": "two", "output_folder": "two", "model": ["1", 0]} | changed
    return {"1": basic["1"], "2": settings}


def test_a_folder_goes_on_behind_a_video_that_fails_and_makes_each_once(comfy, basic):
    workflow = folder_of_two(comfy, basic)
    # What stands behind the node runs for each video.
    saved = {"filename_prefix": "each/video", "format": "auto", "codec": "auto", "video": ["2", 0]}
    workflow["3"] = {"class_type": "SaveVideo", "inputs": saved}
    result = comfy.run(workflow)
    assert result["texts"][0].startswith("1 made, 0 were there, 1 failed\na.mp4: failed: ")
    made = comfy.base / "output" / "two"
    assert sorted(path.name for path in made.iterdir()) == ["a.mp4.json", "b.mp4", "b.mp4.json"]
    assert probe(made / "b.mp4").frames == 10 and made / "b.mp4" in result["files"]
    assert len([file for file in result["files"] if file.parent.name == "each"]) == 1
    before = (made / "b.mp4").stat().st_mtime_ns
    assert comfy.run(workflow)["texts"][0].startswith("0 made, 1 were there, 1 failed")
    assert (made / "b.mp4").stat().st_mtime_ns == before
    assert "No folder" in json.dumps(
        comfy.call("/prompt", {"prompt": folder_of_two(comfy, basic, videos="x")})
    )


def test_interrupt_ends_a_folder_and_leaves_no_file(comfy, basic):
    workflow = folder_of_two(comfy, basic, videos="MyTalk samples", output_folder="stopped")
    prompt_id = comfy.submit(workflow)
    while not comfy.leftovers():
        assert comfy.is_busy(), "the run ended before it could be interrupted"
        time.sleep(0.05)
    time.sleep(2)
    comfy.call("/interrupt", {})
    began = time.monotonic()
    assert "execution_interrupted" in comfy.result(prompt_id, 60)["messages"]
    print(f"Cancel took {time.monotonic() - began:.2f} s")
    assert comfy.leftovers() == [] and list((comfy.base / "output" / "stopped").iterdir()) == []


def test_interrupt_ends_the_run_and_leaves_no_file(comfy, basic):
    basic["3"]["inputs"]["duration_s"] = 0.0
    basic["6"]["inputs"] |= {"seed": 11, "sync_mode": "silence"}
    basic["8"]["inputs"]["filename_prefix"] = "interrupted/video"
    prompt_id = comfy.submit(basic)
    while not comfy.leftovers():
        assert comfy.is_busy(), "the run ended before it could be interrupted"
        time.sleep(0.05)
    comfy.call("/interrupt", {})
    result = comfy.result(prompt_id, 60)
    assert "execution_interrupted" in result["messages"]
    assert comfy.leftovers() == [] and not list((comfy.base / "output" / "interrupted").glob("*.mp4"))


def test_a_video_without_a_face_says_so_on_its_node(comfy, basic):
    write_clip(comfy.base / "input" / "tiny.mp4", size=(12, 12))
    basic["2"]["inputs"]["file"] = "tiny.mp4"
    result = comfy.result(comfy.submit(basic))
    error = result["messages"]["execution_error"]
    assert (
        error["node_type"] == "MyTalkExtractLandmarks"
        and "visible face is needed" in error["exception_message"]
    )
    assert error["exception_type"] == "ValueError"
    assert comfy.leftovers() == []


def test_a_missing_file_is_refused_before_the_run(comfy, basic):
    basic["3"]["inputs"]["audio"] = "nothing.wav"
    errors = comfy.call("/prompt", {"prompt": basic})["node_errors"]["3"]["errors"]
    assert "upload it" in json.dumps(errors)


def test_an_unused_missing_file_is_no_matter(comfy, basic):
    basic["9"] = {"class_type": "LoadAudio", "inputs": {"audio": "speech_en.wav"}}
    basic["3"]["inputs"] |= {"audio": "nothing.wav", "sound": ["9", 0]}
    del basic["3"]["inputs"]["gain_db"]
    comfy.run(basic)


def test_a_setting_that_the_format_cannot_have_is_refused_before_the_run(comfy, basic):
    basic["8"]["inputs"]["crf"] = 60
    errors = comfy.call("/prompt", {"prompt": basic})["node_errors"]["8"]["errors"]
    assert "a crf of 0..51" in json.dumps(errors)


def test_nodes_say_what_is_cut(comfy, basic):
    write_clip(comfy.base / "input" / "short.mp4")
    basic["2"]["inputs"]["file"] = "short.mp4"
    basic["3"]["inputs"]["duration_s"] = 2.0
    basic["6"]["inputs"]["sync_mode"] = "silence"
    assert "its last 0.80 s are cut" in "".join(comfy.run(basic)["texts"])
    # Where the server can, it is told again to a page that was opened since, though the node need not run.
    schema = comfy.call("/object_info/MyTalkMotionDiffusionSampler")["MyTalkMotionDiffusionSampler"]
    basic["8"]["inputs"]["crf"] = 25
    told = "its last 0.80 s are cut" in "".join(comfy.run(basic)["texts"])
    assert told == bool(schema.get("has_intermediate_output"))


def test_two_queued_runs_both_finish(comfy, basic):
    other = copy.deepcopy(basic)
    basic["6"]["inputs"]["seed"], other["6"]["inputs"]["seed"] = 21, 22
    results = [comfy.result(prompt_id) for prompt_id in [comfy.submit(basic), comfy.submit(other)]]
    assert [result["status"] for result in results] == ["success"] * 2


def test_sixteen_frames_at_sixteen_a_second(comfy, basic):
    found = probe(comfy.run(on_images(basic, 16.0, count=16, height=256, width=256, channels=3))["files"][-1])
    assert (found.frames, found.size) == (16, (256, 256))
    np.testing.assert_allclose(np.diff(found.times_s), 1 / 16, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 4])
def test_gray_and_transparent_images_of_an_odd_size(comfy, basic, channels):
    workflow = on_images(basic, 25.0, count=10, height=257, width=255, channels=channels)
    found = [probe(file) for file in comfy.run(workflow)["files"] if file.suffix == ".mp4"][0]
    assert (found.frames, found.size) == (10, (255, 257))


def test_phone_video_keeps_its_times_and_stands_upright(comfy, basic):
    pts = np.cumsum(np.resize([3, 5, 4, 8], 30)).tolist()
    write_clip(comfy.base / "input" / "phone.mp4", size=(256, 320), pts=pts, turned=True)
    basic["2"]["inputs"]["file"] = "phone.mp4"
    basic["6"]["inputs"]["sync_mode"] = "silence"
    found = [probe(file) for file in comfy.run(basic)["files"] if file.suffix == ".mp4"][0]
    assert (found.frames, found.size) == (30, (256, 320))
    np.testing.assert_allclose(found.times_s - found.times_s[0], (np.array(pts) - pts[0]) / 100, atol=2e-3)


@pytest.mark.parametrize(
    "speech_s, sync_mode, frames",
    [
        (0.5, "silence", 30),
        (0.5, "cut_off", 13),
        (2.0, "silence", 30),
        (2.0, "cut_off", 30),
        (2.0, "loop", 50),
        (2.0, "bounce", 50),
        (2.0, "remap", 50),
        (0.6, "remap", 15),
    ],
)
def test_speech_of_another_length(comfy, basic, speech_s, sync_mode, frames):
    write_clip(comfy.base / "input" / "short.mp4")
    basic["2"]["inputs"]["file"] = "short.mp4"
    basic["3"]["inputs"]["duration_s"] = speech_s
    basic["6"]["inputs"]["sync_mode"] = sync_mode
    found = [probe(file) for file in comfy.run(basic)["files"] if file.suffix == ".mp4"][0]
    assert found.frames == frames
    assert found.sound_s == pytest.approx(frames / 25, abs=0.06)


@pytest.mark.parametrize("state", ["LOW_VRAM", "NO_VRAM"])
def test_a_card_with_little_memory_makes_the_same_video(comfy, basic, tmp_path, state):
    """Besides 1 GB to work in and what is reserved, 60 MB are free: one stage's networks, not all."""
    write_clip(comfy.base / "input" / "card.mp4", count=6)
    basic["2"]["inputs"]["file"], basic["7"]["inputs"]["renderer"] = "card.mp4", "network"
    [plain] = [path for path in comfy.run(basic)["files"] if path.suffix == ".mp4"]
    small_mb = 1024 + RESERVED_MB + 60
    server = ComfyServer.start(Path(os.environ["COMFYUI_DIR"]), tmp_path / "base", card=(small_mb, state))
    try:
        shutil.copy(comfy.base / "input" / "card.mp4", server.base / "input")
        [made] = [path for path in server.run(basic)["files"] if path.suffix == ".mp4"]
        calls = server.call("/card")
    finally:
        server.stop()
    assert all(np.array_equal(*pair) for pair in zip(pictures(plain), pictures(made), strict=True))
    assert {name for call in calls for name in call["asked"]} >= {
        "FaceMesh",
        "MotionDenoiser",
        "MouthRefiner",
    }
    assert all(sum(call["on_card"].values()) <= small_mb << 20 for call in calls)
    if state == "NO_VRAM":
        assert not any(sum(call["on_card"].values()) for call in calls)
        return
    for call in calls:
        assert {name: call["on_card"].get(name) for name in call["asked"]} == call["asked"], "half a network"
    everything = {name: size for call in calls for name, size in call["asked"].items()}
    assert max(sum(call["on_card"].values()) for call in calls) < sum(everything.values())


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
