"""What the stages of a clip cost, in this process."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import torch
from renderer_alone import seconds_alone, synchronise

from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.memory import peak_memory_mb, share_heap
from mytalk_core.pipeline import LipSync, write
from mytalk_core.pipeline.rendered import RenderedClip

STAGES = ("decode + encode", "track", "speak", "references", "render + write")


@dataclass
class Cost:
    """What a clip cost. seconds: CPU seconds by stage, load among them; walls: seconds of the clock by stage;
    wall_s: of all but load; alone: seconds of the clock a frame of the renderer and the composite alone, see
    `ALONE`, `together` frames a call; dtype: of the networks."""

    name: str
    height: int
    width: int
    frames: int
    device: str
    threads: int
    seconds: dict[str, float] = field(default_factory=dict)
    wall_s: float = 0.0
    peak_mb: float | None = None
    walls: dict[str, float] = field(default_factory=dict)
    alone: dict[str, float] = field(default_factory=dict)
    together: int = 1
    dtype: str = ""
    renderer: str = "warp"

    @property
    def ours(self) -> float:
        """CPU seconds a frame of all stages."""
        return sum(self.seconds[stage] for stage in STAGES[1:]) / self.frames

    def a_frame(self, stage: str) -> float:
        """CPU seconds a frame of one stage."""
        return self.seconds[stage] / self.frames


def make_clip(source: Path, path: Path, size: tuple[int, int], frames: int, faces: int = 1) -> None:
    """The source's frames, forth and back, as high as `size` (height, width), beside each other so often as
    `faces` says and grey around; H.264."""
    pictures = [picture.rgb for picture in FileClip.open(source).pictures(np.arange(min(frames, 50)))]
    order = np.concatenate([np.arange(len(pictures)), np.arange(len(pictures))[::-1]])
    height, width = size
    side = min(height, width // faces)
    with av.open(str(path), "w") as target:
        stream = target.add_stream("libx264", rate=Fraction(25), options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            picture = pictures[order[number % len(order)]]
            frame = np.full((height, width, 3), 128, np.uint8)
            scaled = cv2.resize(picture, (side, side), interpolation=cv2.INTER_CUBIC)
            left = (width - faces * side) // 2
            for face in range(faces):
                frame[:side, left + face * side : left + (face + 1) * side] = scaled
            target.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        target.mux(stream.encode(None))


def measure(
    clips: list[Path],
    speech: Path,
    device: str,
    threads: int,
    renderers: list[str],
    alone: bool = False,
    told: Callable[[Cost], object] = lambda cost: None,
) -> list[Cost]:
    """By every renderer every clip in turn, in this process; alone: the renderers too, and of the first clip
    nothing; told: each cost as soon as it is known."""
    share_heap()  # as the command does
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    sound, costs = Speech.open(speech), []
    for renderer in renderers:
        begin = time.process_time()
        model = LipSync.from_pretrained("mini", renderer, device)
        load_s = time.process_time() - begin
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out.mp4"
            # What is done once a process (the first convolution, the first file) belongs to no clip.
            _cost(model, FileClip.open(clips[0]), sound, out, threads, "warm")
            for path in clips[1:] if alone else clips:
                cost, drawn = _cost(model, FileClip.open(path), sound, out, threads, path.stem)
                cost.seconds["load"], cost.renderer = load_s, renderer
                if alone:
                    cost.together, cost.dtype = drawn.together(), str(model.dtype).removeprefix("torch.")
                    cost.alone = seconds_alone(drawn, model.device)
                costs.append(cost)
                told(cost)
    return costs


def _cost(
    model: LipSync, clip: FileClip, sound: Speech, out: Path, threads: int, name: str
) -> tuple[Cost, RenderedClip]:
    """What a clip cost, and the clip with new lips."""
    cost = Cost(name, clip.height, clip.width, len(clip), model.device.type, threads)
    timeline = plan_timeline(clip, sound.duration_s)
    clock = _Clock(cost, model.device)
    write(clip, out, sound=sound)
    clock.lap("decode + encode")
    begin = time.perf_counter()
    face = model.track(clip).choose("largest")
    clock.lap("track")
    motion = model.speak(sound, face, timeline)
    clock.lap("speak")
    drawn = model.draw(clip, face, motion, timeline)
    clock.lap("references")
    write(drawn, out, sound=sound)
    clock.lap("render + write")
    cost.wall_s = time.perf_counter() - begin
    cost.peak_mb = peak_memory_mb()
    return cost, drawn


class _Clock:
    """Seconds of this process, all threads, and of the clock, from lap to lap."""

    def __init__(self, cost: Cost, device: torch.device) -> None:
        self.cost, self.device = cost, device
        self.last, self.last_wall = time.process_time(), time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage."""
        synchronise(self.device)
        now, wall = time.process_time(), time.perf_counter()
        self.cost.seconds[stage], self.last = now - self.last, now
        self.cost.walls[stage], self.last_wall = wall - self.last_wall, wall
