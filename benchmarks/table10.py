"""Table 10: parameters, seconds, peak memory and floating-point operations of every part, in one run.

The first seconds of a clip speak their own words, once with each renderer that the model has. Every part is
watched where the pipeline calls it. Its operations are counted on the first call of each input size, outside
the time (2 a multiply-add; what is not a PyTorch network, as warping is, counts none). Peak memory is the
whole process's while the part runs; on a GPU it is what PyTorch holds there.

    python benchmarks/table10.py CLIP --seconds 10 -o benchmarks/results/table10.md
"""

from __future__ import annotations

import argparse
import datetime
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mytalk_core.appearance.renderers import NETWORKS
from mytalk_core.face.track import FaceTrack
from mytalk_core.files import write_text
from mytalk_core.media.audio import Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.remux import copy_untagged
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.memory import peak_memory_mb
from mytalk_core.pipeline import LipSync, write

# Table 10 of the paper: parameters in billions, seconds on a machine it does not name.
PUBLISHED = {
    "Wav2Lip": (0.14, 32.392),
    "VideoReTalking": (0.69, 897.671),
    "TalkLip": (0.53, 67.756),
    "MyTalk, the paper's": (1.23, 631.497),
}
MESH_PX = 256
NETWORK_OF = "network of `{}`"
IN_ALL = ", in all"


@dataclass
class Part:
    """What was seen of one part of the chain."""

    name: str
    parameters: int = 0
    calls: int = 0
    seconds: float = 0.0
    processor_s: float = 0.0
    flops: float = 0.0
    peak_mb: float = 0.0
    flops_of: dict[tuple, float] = field(default_factory=dict)


class Meter:
    """Watches calls: time, operations, peak memory."""

    def __init__(self, device: torch.device):
        self.device = device
        self.parts: dict[str, Part] = {}
        self.running: list[Part] = []
        self.counting = np.zeros(2)  # seconds and processor seconds spent on counting, which are no part's

    def watch(
        self,
        name: str,
        owner: object,
        method: str,
        networks: tuple[nn.Module, ...] = (),
        counted: Callable | None = None,
    ) -> None:
        """Replace `owner.method` by itself, watched. counted: what to count instead, called alike."""
        call = getattr(owner, method)
        for network in networks:
            # The counter follows gradients where there are any.
            network.requires_grad_(False)
        part = self.parts.setdefault(name, Part(name, sum(count(network) for network in networks)))

        def watched(*args, **options):
            size = sizes([*args, *options.values()])
            if size not in part.flops_of and networks:
                before = clocks()
                part.flops_of[size] = count_flops(counted or call, *args, **options)
                self.counting += clocks() - before
            with self.section(name):
                result = call(*args, **options)
            part.flops += part.flops_of.get(size, 0)
            return result

        setattr(owner, method, watched)

    def section(self, name: str) -> _Section:
        """A block of the chain as a part, for use in a with statement."""
        return _Section(self, self.parts.setdefault(name, Part(name)))

    def note_peak(self) -> None:
        """Credit the peak since the last note to all parts that run, then start it anew."""
        peak = peak_since_reset(self.device)
        for part in self.running:
            part.peak_mb = max(part.peak_mb, peak)
        reset_peak(self.device)


class _Section:
    def __init__(self, meter: Meter, part: Part):
        self.meter, self.part = meter, part

    def __enter__(self) -> None:
        self.meter.note_peak()
        self.meter.running.append(self.part)
        wait(self.meter.device)
        self.start = clocks() - self.meter.counting

    def __exit__(self, *error) -> None:
        wait(self.meter.device)
        seconds, processor_s = clocks() - self.meter.counting - self.start
        self.part.seconds += seconds
        self.part.processor_s += processor_s
        self.part.calls += 1
        self.meter.note_peak()
        self.meter.running.pop()


def clocks() -> np.ndarray:
    """Seconds, and processor seconds of all threads."""
    return np.array([time.perf_counter(), time.process_time()])


def wait(device: torch.device) -> None:
    """Until the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak(device: torch.device) -> None:
    """Let the peak begin at what is held now; on Linux and CUDA, elsewhere it stays the whole run's."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif (marks := Path("/proc/self/clear_refs")).exists():
        marks.write_text("5")


def peak_since_reset(device: torch.device) -> float:
    """Peak in MB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if not status.exists():
        return peak_memory_mb() or 0.0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def count(network: nn.Module) -> int:
    """Parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_flops(call: Callable, *args, **options) -> float:
    """Floating-point operations of one call; attention is counted in its plain form."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        call(*args, **options)
    return float(counter.get_total_flops())


def sizes(values: list) -> tuple:
    """What decides how much work a call is: the shapes of its arrays, the lengths of its lists."""
    found = []
    for value in values:
        if isinstance(value, torch.Tensor | np.ndarray):
            found.append(tuple(value.shape))
        elif isinstance(value, list | tuple):
            found.append(len(value))
        elif isinstance(value, bool):
            found.append(value)
        elif hasattr(value, "__dataclass_fields__"):
            found.append(sizes(list(vars(value).values())))
    return tuple(found)


def watch_models(meter: Meter, model: LipSync) -> None:
    """Every network up to the motion, where it is called."""
    reader, motion = model.reader, model.motion
    mesh = reader.mesh.network

    def plain_mesh(frames: list, regions: list) -> None:
        # On the CPU the mesh runs on OpenCV, whose operations PyTorch does not see.
        weight = next(mesh.parameters())
        mesh(torch.zeros(len(frames), 3, MESH_PX, MESH_PX, device=weight.device, dtype=weight.dtype))

    encoder = motion.speech_encoder
    meter.watch("face detector", reader.detector, "detect", (reader.detector.network,))
    meter.watch("face mesh", reader.mesh, "read", (mesh,), plain_mesh)
    meter.watch("speech encoder", encoder, "encode_chunk", (encoder.model,))
    meter.watch("identity", motion.identity, "forward", (motion.identity,))
    denoiser = motion.denoiser
    denoiser.requires_grad_(False)
    own = (denoiser.audio_encoder, denoiser.downsample)
    meter.watch("motion: speech", denoiser, "encode_speech", own)
    meter.watch("motion: denoiser, all steps", denoiser, "forward", (denoiser.backbone,))


def run(video: Path, folder: Path, meter: Meter, models: list[LipSync]) -> tuple[Clip, FaceTrack]:
    """The whole chain, the picture once with each model's renderer; all else they have in common."""
    first = models[0]
    watch_models(meter, first)
    with meter.section("face" + IN_ALL):
        clip, speech = FileClip.open(video), Speech.open(video)
        track = first.track(clip).choose()
    timeline = plan_timeline(clip, speech.duration_s)
    with meter.section("motion" + IN_ALL):
        motion = first.speak(speech, track, timeline)
    for model in models:
        name, network = model.renderer.name, model.renderer.network
        if network is not None:
            meter.watch(NETWORK_OF.format(name), network, "forward", (network,))
        with meter.section(f"picture by `{name}`" + IN_ALL):
            drawn = model.draw(clip, track, motion, timeline)
            meter.watch(f"renderer `{name}`", drawn.renderer, "render")
            write(drawn, folder / f"{name}.mp4", sound=speech)
    return clip, track


def table(parts: dict[str, Part], renderers: list[str]) -> list[str]:
    """Ours, part by part and in all; then what the paper prints."""
    lines = ["| part | parameters | calls | seconds | processor s | GFLOP | peak memory, MB |"]
    lines.append("|---|---|---|---|---|---|---|")
    wholes = [whole(parts, name) for name in renderers]
    for part in [*sorted(parts.values(), key=lambda part: part.name.endswith(IN_ALL)), *wholes]:
        cells = [
            part.name,
            f"{part.parameters:,}" if part.parameters else "",
            str(part.calls),
            f"{part.seconds:.1f}",
            f"{part.processor_s:.1f}",
            f"{part.flops / 1e9:,.1f}" if part.flops else "",
            f"{part.peak_mb:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Published in Table 10 of the paper (its machine and its clip's length are not named):", ""]
    lines += ["| method | parameters, billions | seconds |", "|---|---|---|"]
    lines += [f"| {name} | {size:.2f} | {seconds:.3f} |" for name, (size, seconds) in PUBLISHED.items()]
    lines += [f"| {part.name} | {part.parameters / 1e9:.4f} | as above |" for part in wholes]
    return lines


def whole(parts: dict[str, Part], renderer: str) -> Part:
    """The chain with one renderer: its stages follow one another, its networks are all loaded."""
    stages = [parts[name + IN_ALL] for name in ("face", "motion", f"picture by `{renderer}`")]
    others = {NETWORK_OF.format(name) for name in NETWORKS if name != renderer}
    own = [part for part in parts.values() if part.name not in others]
    return Part(
        f"this model with `{renderer}`",
        parameters=sum(part.parameters for part in own),
        calls=1,
        seconds=sum(stage.seconds for stage in stages),
        processor_s=sum(stage.processor_s for stage in stages),
        flops=sum(part.flops for part in own),
        peak_mb=max(stage.peak_mb for stage in stages),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path, help="a talking video; its own sound is what it speaks")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, help="PyTorch's, by default its own choice")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    models = [LipSync.from_pretrained(args.model, "warp", args.device)]
    for name in NETWORKS:
        # A model may bring neither.
        with suppress(FileNotFoundError):
            models.append(models[0].with_renderer(name))
    device = models[0].device
    meter = Meter(device)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / f"clip{args.clip.suffix}"
        copy_untagged(args.clip, video, args.seconds)
        clip, track = run(video, Path(folder), meter, models)
    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{os.cpu_count()}-core CPU"
    hashes = {"motion": models[0].hashes["motion"]}
    for model in models:
        hashes |= model.renderer.hashes
    lines = [
        "# Table 10: what a clip costs",
        "",
        f"{datetime.date.today()}, {hardware}, {torch.get_num_threads()} threads, "
        f"PyTorch {torch.__version__}; {clip.duration_s:.1f} s of {clip.width}x{clip.height} at "
        f"{float(clip.fps):g} frames/s, "
        f"{int(track.present.sum())} of {len(clip)} frames with the face; model {Path(args.model).name} ("
        + ", ".join(f"{name} {digest[:12]}" for name, digest in hashes.items())
        + "). `python benchmarks/table10.py`",
        "",
        "The machine may have been shared: seconds are upper bounds, processor seconds (of all threads) less "
        "so. A row in all holds the rows it is made of, and decoding, pasting and encoding.",
        "",
        *table(meter.parts, [model.renderer.name for model in models]),
    ]
    write_text(args.out, "\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
