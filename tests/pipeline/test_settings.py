"""What is asked for reaches the work: every setting of the command, of a batch and of a file."""

from __future__ import annotations

import sys
from fractions import Fraction
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
import torch
from job_lists import write_list
from repository import EXAMPLES

from mytalk_core.cli import batch as command
from mytalk_core.cli.main import main
from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.motion.generate import MotionOptions
from mytalk_core.pipeline import LipSync, write
from mytalk_core.pipeline.batch import Loading, Worker
from mytalk_core.pipeline.jobs import Settings
from mytalk_core.pipeline.report import Report

VIDEO, SPEECH, MOOD = (EXAMPLES / name for name in ("ai_woman.mp4", "speech_en.wav", "cartoon_boy.mp4"))
OPTIONS = {
    "steps": 7,
    "guidance": 2.5,
    "seed": 9,
    "sampler": "ddim",
    "temperature": 0.4,
    "expression": 1.5,
    "manner": "model",
    "emotion_strength": 0.5,
}
HOW = {"sync_mode": "loop", "frame_rate": Fraction(24), "face": "left", "codec": "h264", "crf": 30}
LOADED = {"renderer": "network", "device": "cpu", "dtype": "bfloat16", "revision": "main"}
# As words of a command.
WORDS = [
    f"--{name.replace('_', '-')}={value}"
    for name, value in (OPTIONS | HOW | LOADED | {"emotion": MOOD}).items()
]
lip_sync_module = sys.modules["mytalk_core.pipeline.lip_sync"]


@pytest.fixture
def asked(monkeypatch) -> dict:
    """A lip sync that ends at once; what it was asked for."""
    asked = {}

    def lip_sync(video, speech, output, **named):
        asked.update(named | {"video": video, "speech": speech, "output": output})
        return Report(str(output))

    monkeypatch.setattr(lip_sync_module, "lip_sync", lip_sync)
    return asked


def test_every_word_of_the_command_reaches_the_lip_sync(tmp_path, asked):
    files = {"save_motion": tmp_path / "motion.safetensors", "save_mask": tmp_path / "mask.mkv"}
    words = [f"--{name.replace('_', '-')}={path}" for name, path in files.items()]
    output = tmp_path / "out.mp4"
    assert (
        main(["sync", str(VIDEO), str(SPEECH), "-o", str(output), *WORDS, *words, "--strict", "--resume"])
        == 0
    )
    for name in ("credentials", "progress", "recognition", "speakers", "model"):
        asked.pop(name)
    assert asked == HOW | LOADED | files | {
        "video": VIDEO,
        "speech": SPEECH,
        "output": output,
        "emotion": MOOD,
        "options": MotionOptions(**OPTIONS),
        "strict": True,
        "resume": True,
    }


def test_every_word_of_a_batch_reaches_its_jobs_and_workers(tmp_path, asked, monkeypatch):
    given = []

    def engine(args, loading, todo):
        given.extend([loading, *todo])
        raise ValueError("enough")

    monkeypatch.setattr(command, "_engine", engine)
    listed = write_list(tmp_path / "l.csv", [{"video": str(VIDEO), "speech": str(SPEECH), "output": "a.mp4"}])
    assert main(["batch", str(listed), "-o", str(tmp_path / "out"), *WORDS, "--strict"]) == 1
    loading, job = given
    assert loading == Loading(**LOADED)
    assert job.settings == Settings(**HOW, options=MotionOptions(**OPTIONS), strict=True, emotion=MOOD)
    model = SimpleNamespace()
    worker = Worker(loading, model=model, opened=lambda path, rate: (path, rate), resume=True)
    assert worker.do(job).error == f"[Errno 2] No such file or directory: '{job.output}'"
    assert asked == {name: value for name, value in HOW.items() if name != "frame_rate"} | {
        "video": (VIDEO, Fraction(24)),
        "speech": SPEECH,
        "output": job.output,
        "model": model,
        "emotion": MOOD,
        "options": MotionOptions(**OPTIONS),
        "strict": True,
        "resume": True,
    }


def test_what_is_to_be_loaded_is_loaded(monkeypatch):
    given, threads = [], []
    monkeypatch.setattr(
        LipSync, "from_pretrained", staticmethod(lambda model, **how: given.append((model, how)))
    )
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    monkeypatch.setattr(cv2, "setNumThreads", threads.append)
    assert Worker(Loading("ann", **LOADED, recognition="sface.onnx", threads=3)).load().problem is None
    lip_sync_module._loaded(
        "ann", *(LOADED[n] for n in ("renderer", "device", "dtype", "revision")), "sface.onnx"
    )
    assert given == [("ann", LOADED | {"recognition": "sface.onnx"})] * 2 and threads == [3, 3]


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "h264"), (".webm", "vp9")])
def test_a_file_is_as_good_as_is_asked_for(tmp_path, suffix, codec):
    noise = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    clip, sizes = ImageClip.from_frames(noise, 25), []
    for crf in (5, 45):
        write(clip, tmp_path / f"a{suffix}", crf=crf)
        sizes.append((tmp_path / f"a{suffix}").stat().st_size)
    assert sizes[0] > 2 * sizes[1]
    sound = Speech.from_waveform(np.full(8000, 0.5, np.float32), 8000)
    write(
        clip, tmp_path / "b.mkv", codec=codec, pixel_format="yuv444p", sound=sound, metadata={"artist": "Ann"}
    )
    back = FileClip.open(tmp_path / "b.mkv")
    assert back.format_name == "yuv444p" and back.speech().mono_16k.max() > 0.4
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert {key.lower(): value for key, value in container.metadata.items()}["artist"] == "Ann"
        assert codec in container.streams.video[0].codec_context.codec.name
