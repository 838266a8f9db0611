"""Peak memory of a long video beside a short one, frames a second of the whole process, each stage's share.

Makes a short and a long input from one clip by repeating its packets (nothing is encoded again) and the
speech beside it, runs `mytalk sync` on each in a process of its own, and reads the process's peak resident
memory from the operating system.

    python benchmarks/whole_process.py CLIP_1080P SPEECH -o benchmarks/results/whole_process.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

from mytalk_core.media.audio import Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip

SECONDS = (10, 600)


@dataclass(frozen=True)
class Run:
    """One run: its length, wall time, peak memory and what it reported."""

    seconds: int
    wall_s: float
    peak_mb: float
    report: dict


def repeat_video(clip: Path, seconds: int, out: Path) -> None:
    """Write `clip`'s video packets again and again until `seconds` are full."""
    with av.open(str(out), "w") as target:
        stream, offset = None, 0
        while stream is None or offset * stream.time_base < seconds:
            with av.open(str(clip)) as source:
                video = source.streams.video[0]
                if stream is None:
                    stream = target.add_stream_from_template(video, opaque=True)
                    stream.time_base = video.time_base
                end = offset
                for packet in source.demux(video):
                    if packet.dts is None:
                        continue
                    packet.dts += offset
                    packet.pts += offset
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.stream = stream
                    target.mux(packet)
                    if end * video.time_base > seconds:
                        break
                offset = end


def repeat_speech(speech: Path, seconds: int, out: Path) -> None:
    """Write the speech again and again until `seconds` are full, as 16-bit WAV at its own rate."""
    sound = Speech.open(speech)
    rate = sound.sample_rate
    once = (sound.waveform.mean(0) * 32767).clip(-32768, 32767).astype(np.int16)
    samples = np.tile(once, -(-seconds * rate // len(once)))[: seconds * rate]
    with av.open(str(out), "w") as target:
        stream = target.add_stream("pcm_s16le", rate=rate, layout="mono")
        for start in range(0, len(samples), 1 << 16):
            block = np.ascontiguousarray(samples[None, start : start + (1 << 16)])
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = rate, start
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


def run(folder: Path, clip: Path, speech: Path, seconds: int, model: str) -> Run:
    """One whole process of `mytalk sync`."""
    video, sound = folder / f"{seconds}.mp4", folder / f"{seconds}.wav"
    report, output = folder / f"{seconds}.json", folder / f"{seconds}_out.mp4"
    repeat_video(clip, seconds, video)
    repeat_speech(speech, seconds, sound)
    command = [sys.executable, "-m", "mytalk_core", "sync", str(video), str(sound), "-o", str(output)]
    start = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--model", model, "--report", str(report)], stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    wall_s = time.perf_counter() - start
    same = len(FileClip.open(video)) == len(FileClip.open(output))
    figures = json.loads(report.read_text()) | {"same_frames": same}
    return Run(seconds, wall_s, usage.ru_maxrss / 1024, figures)


def table(runs: list[Run], clip: Clip) -> list[str]:
    """Markdown lines."""
    lines = [
        "# Whole process",
        "",
        f"{datetime.date.today()}, {os.cpu_count()}-core CPU, {clip.width}x{clip.height} at "
        f"{float(clip.fps):g} frames/s, face in every frame, H.264 out. `python benchmarks/whole_process.py`",
        "",
        "| input | frames | peak memory, MB | wall, s | frames/s | stages, share of the time |",
        "|---|---|---|---|---|---|",
    ]
    for r in runs:
        total = sum(r.report["seconds"].values())
        shares = ", ".join(f"{k} {v / total:.0%}" for k, v in r.report["seconds"].items())
        lines.append(
            f"| {r.seconds} s | {r.report['frames']} | {r.peak_mb:.0f} | {r.wall_s:.0f} | "
            f"{r.report['frames'] / r.wall_s:.1f} | {shares} |"
        )
    if len(runs) > 1:
        grown = runs[-1].peak_mb - runs[0].peak_mb
        lines += ["", f"{runs[-1].seconds} s need {grown:.0f} MB more than {runs[0].seconds} s."]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--seconds", type=int, nargs="+", default=SECONDS)
    parser.add_argument("--model", default="mini")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in args.seconds:
            runs.append(run(Path(folder), args.clip, args.speech, seconds, args.model))
            args.out.write_text("\n".join(table(runs, FileClip.open(args.clip))) + "\n")
    print(args.out.read_text())


if __name__ == "__main__":
    main()
