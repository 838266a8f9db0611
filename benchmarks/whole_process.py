"""Memory of a long video beside a short one, its drift, frames a second of the whole process, stages' shares.

Makes a short and a long input from one clip by repeating its packets (nothing is encoded again) and the
speech beside it, runs `mytalk sync` on each in a process of its own, and reads the process's resident memory
from the operating system: the peak, and its course every second (on Linux). Drift is read from the files: the
frames' times of the result against the source's, and the offset of its sound against the speech.

    python benchmarks/whole_process.py CLIP_1080P SPEECH -o benchmarks/results/whole_process.md
"""

from __future__ import annotations

import argparse
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
from tables import measured_here, table_head, table_row

from mytalk_core.media.audio import MODEL_RATE_HZ, Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip

SECONDS = (10, 600)
# So much sound is compared at the start, in the middle and at the end.
LISTENED_S = 10.0
# Points of a run at which the table has its memory.
PARTS = 10


@dataclass(frozen=True)
class Run:
    """One run: its length, wall and CPU time, memory's peak and course, drift, and what it reported.

    drift_ms: the largest difference of a frame's time. sound_ms: offset of the sound at start, middle, end.
    """

    seconds: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    course_mb: list[float]
    drift_ms: float
    sound_ms: list[float]
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
    course, ended = [], 0
    while not ended:
        time.sleep(1)
        course += _resident_mb(process.pid)
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
    if status:
        raise RuntimeError(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    wall_s, cpu_s = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    peak_mb, figures = usage.ru_maxrss / 1024, json.loads(report.read_text())
    return Run(
        seconds, wall_s, cpu_s, peak_mb, course, drift_ms(video, output), sound_ms(sound, output), figures
    )


def _resident_mb(pid: int) -> list[float]:
    """What the process holds now; nothing where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return []
    return [int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")]


def drift_ms(video: Path, output: Path) -> float:
    """The largest difference between a frame's time in the two files, whose frames must be as many."""
    wanted, found = FileClip.open(video).times_s, FileClip.open(output).times_s
    if len(wanted) != len(found):
        raise RuntimeError(f"{len(wanted)} frames went in, {len(found)} came out")
    return 1000 * float(np.abs(found - wanted).max())


def sound_ms(speech: Path, output: Path) -> list[float]:
    """Offset of the output's sound against the speech at the start, in the middle and at the end, by the
    largest cross-correlation of `LISTENED_S` seconds; sound that comes late is positive."""
    first, second = Speech.open(speech).mono_16k, Speech.open(output).mono_16k
    window, offsets = round(LISTENED_S * MODEL_RATE_HZ), []
    last = max(0, min(len(first), len(second)) - window)
    for begin in np.linspace(0, last, 3).astype(int):
        spectrum = np.fft.rfft(first[begin : begin + window], 2 * window)
        other = np.fft.rfft(second[begin : begin + window], 2 * window)
        likeness = np.fft.irfft(other * spectrum.conj())
        peak = int(likeness.argmax())
        offsets.append(1000 * (peak - 2 * window * (peak >= window)) / MODEL_RATE_HZ)
    return offsets


def table(runs: list[Run], clip: Clip) -> list[str]:
    """Markdown lines."""
    lines = [
        "# Whole process",
        "",
        f"{measured_here()}, {clip.width}x{clip.height} at "
        f"{float(clip.fps):g} frames/s, face in every frame, H.264 out. `python benchmarks/whole_process.py`",
        "",
        "| input | frames | peak memory, MB | wall, s | frames/s | CPU, s a frame | frames' drift, ms | "
        "sound's offset at start, middle, end, ms | stages, share of the time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in runs:
        total = sum(r.report["seconds"].values())
        shares = ", ".join(f"{k} {v / total:.0%}" for k, v in r.report["seconds"].items())
        lines.append(
            f"| {r.seconds} s | {r.report['frames']} | {r.peak_mb:.0f} | {r.wall_s:.0f} | "
            f"{r.report['frames'] / r.wall_s:.1f} | {r.cpu_s / r.report['frames']:.3f} | {r.drift_ms:.2f} | "
            f"{', '.join(f'{offset:.2f}' for offset in r.sound_ms)} | {shares} |"
        )
    if len(runs) > 1:
        grown = runs[-1].peak_mb - runs[0].peak_mb
        lines += ["", f"{runs[-1].seconds} s need {grown:.0f} MB more than {runs[0].seconds} s."]
    points = [f"{part / PARTS:.0%}" for part in range(1, PARTS + 1)]
    lines += ["", "Resident memory, MB, at so much of the run:", "", *table_head(["input", *points])]
    for r in runs:
        places = np.linspace(0, len(r.course_mb) - 1, PARTS + 1).round().astype(int)[1:]
        lines.append(table_row([f"{r.seconds} s", *(f"{r.course_mb[place]:.0f}" for place in places)]))
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
