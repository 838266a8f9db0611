"""A real ComfyUI server with the pack in it, and small media for it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from pack_loader import ROOT

# A node for the tests: a video's first frames as IMAGE of any size and number of channels.
TEST_NODE = """
import torch

class TestFrames:
    @classmethod
    def INPUT_TYPES(cls):
        size = {"default": 64, "min": 1, "max": 4096}
        return {"required": {"video": ("VIDEO",), "count": ("INT", size), "height": ("INT", size),
                             "width": ("INT", size), "channels": ("INT", size)}}

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"
    CATEGORY = "test"

    def run(self, video, count, height, width, channels):
        images = video.get_components().images[:count].movedim(-1, 1)
        images = torch.nn.functional.interpolate(images, (height, width), mode="bilinear").movedim(1, -1)
        if channels == 1:
            images = images.mean(-1, keepdim=True)
        if channels == 4:
            images = torch.cat([images, torch.ones_like(images[..., :1])], -1)
        return (images,)

NODE_CLASS_MAPPINGS = {"TestFrames": TestFrames}
"""

# Of a card that is simulated, what ComfyUI leaves to others.
RESERVED_MB = 512


@dataclass
class ComfyServer:
    """A running server; base: its folders; port: where it listens."""

    base: Path
    port: int
    process: subprocess.Popen

    @classmethod
    def start(
        cls, comfyui: Path, base: Path, pack: Path = ROOT, card: tuple[int, str] | None = None
    ) -> ComfyServer:
        """Lay out the folders with that node pack, start, wait until it answers.

        card: MB and state of the card that the processor stands in for, see `small_card`.
        """
        for name in ("custom_nodes", "input", "output", "temp", "models", "user"):
            (base / name).mkdir(parents=True)
        (base / "custom_nodes" / "ComfyUI-MyTalk").symlink_to(pack, target_is_directory=True)
        (base / "custom_nodes" / "test_frames.py").write_text(TEST_NODE)
        environment = dict(os.environ)
        if card is not None:
            shutil.copy(Path(__file__).with_name("small_card.py"), base / "custom_nodes")
            environment |= {"CARD_MB": str(card[0]), "CARD_STATE": card[1]}
        for path in (ROOT / "examples").iterdir():
            shutil.copy(path, base / "input")
        (base / "input" / "MyTalk samples").mkdir()
        for path in (ROOT / "examples").glob("*.mp4"):
            shutil.copy(path, base / "input" / "MyTalk samples")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        python = os.environ.get("COMFYUI_PYTHON", sys.executable)
        options = f"--cpu --listen 127.0.0.1 --port {port} --disable-auto-launch --disable-api-nodes"
        command = [python, "main.py", *options.split(), "--base-directory", str(base)]
        command += ["--database-url", "sqlite:///:memory:"]
        command += [] if card is None else ["--reserve-vram", str(RESERVED_MB / 1024)]
        with (base / "log.txt").open("w") as log:
            process = subprocess.Popen(
                command, cwd=comfyui, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        server = cls(base, port, process)
        for _ in range(300):
            if process.poll() is not None:
                raise RuntimeError((base / "log.txt").read_text()[-3000:])
            try:
                server.call("/queue")
                return server
            except OSError:
                time.sleep(1)
        raise TimeoutError("ComfyUI did not answer within five minutes")

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(30)

    def call(self, path: str, data: dict | None = None) -> dict:
        """GET, or POST of JSON; the answer, an error's too."""
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return json.loads(error.read())

    def submit(self, workflow: dict) -> str:
        """Queue an API workflow, as a page does, whose every node must be valid; its id."""
        answer = self.call("/prompt", {"prompt": workflow, "client_id": "page"})
        assert not answer.get("node_errors"), json.dumps(answer["node_errors"])[:2000]
        return answer["prompt_id"]

    def result(self, prompt_id: str, limit_s: float = 600) -> dict:
        """Wait for the end; {"status", "messages": {name: data}, "files": [Path], "texts": [shown text]}."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            history = self.call(f"/history/{prompt_id}")
            if prompt_id in history:
                entry = history[prompt_id]
                return {
                    "status": entry["status"]["status_str"],
                    "messages": dict(entry["status"]["messages"]),
                    "files": [
                        self.base / file["type"] / file["subfolder"] / file["filename"]
                        for output in entry["outputs"].values()
                        for file in output.get("images", [])
                    ],
                    "texts": [
                        text
                        for output in entry["outputs"].values()
                        for text in output.get("text", [])
                        if text
                    ],
                }
            time.sleep(0.2)
        raise TimeoutError(f"no result within {limit_s} s")

    def run(self, workflow: dict) -> dict:
        """Submit and wait; the result of a run that must succeed."""
        result = self.result(self.submit(workflow))
        assert result["status"] == "success", result["messages"].get("execution_error")
        return result

    def is_busy(self) -> bool:
        """Whether a run goes on, or waits for its turn."""
        queue = self.call("/queue")
        return bool(queue["queue_running"] or queue["queue_pending"])

    def leftovers(self) -> list[Path]:
        """Unfinished files of the writer."""
        return [*self.base.rglob(".mytalk-*")]


@dataclass(frozen=True)
class Probe:
    """What a file holds; times_s: when each frame begins; sound_s: length of its sound, 0 without."""

    frames: int
    size: tuple[int, int]
    times_s: np.ndarray
    sound_s: float


def probe(path: Path) -> Probe:
    """Decode a whole file."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        times = np.array([frame.time for frame in frames])
    with av.open(str(path)) as container:
        samples = (
            sum(f.samples / f.sample_rate for f in container.decode(audio=0))
            if container.streams.audio
            else 0
        )
    return Probe(len(frames), (frames[0].width, frames[0].height), times, samples)


def write_clip(
    path: Path,
    *,
    count: int = 30,
    size: tuple[int, int] = (256, 256),
    pts: list[int] | None = None,
    turned: bool = False,
) -> Path:
    """The sample's first frames as a silent video of (width, height) size, at pts / 100 s where given.

    turned: the picture lies on its side in the file, and a matrix tells players to turn it upright.
    """
    with av.open(str(ROOT / "examples" / "ai_woman.mp4")) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=25)
        height, width = size if turned else size[::-1]
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 100)
        for index, frame in zip(range(count), source.decode(video=0), strict=False):
            image = frame.reformat(*size, "rgb24").to_ndarray()
            image = np.ascontiguousarray(np.rot90(image) if turned else image)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=stream.pix_fmt)
            picture.pts, picture.time_base = pts[index] if pts else 4 * index, Fraction(1, 100)
            target.mux(stream.encode(picture))
        target.mux(stream.encode(None))
    if turned:
        data = bytearray(path.read_bytes())
        begin = data.index(b"tkhd") + 44
        matrix = np.array([0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30], ">i4")
        data[begin : begin + 36] = matrix.tobytes()
        path.write_bytes(data)
    return path
