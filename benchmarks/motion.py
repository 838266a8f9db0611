"""How well generated motion follows speech it has never heard, and whether the mouth rests in silence.

For every clip of a split: its own speech drives the motion model, with several seeds, and the generated
mouth opening (inner lips over the inter-ocular distance) is held against the video's by Pearson's r at 25 Hz.
Clips whose sound and picture are apart are taken as they are ("as filmed") and with the manifest's lag out.
Silence: digital silence as speech; the share of frames later than 200 ms whose opening is within 15 % of the
person's rest. Writes a Markdown table.

    python benchmarks/motion.py CLIPS/manifest.jsonl --split val -o benchmarks/results/motion.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mytalk_training.prepare import shift

from mytalk_core.face import alignment
from mytalk_core.face.track import FaceTrack
from mytalk_core.face.tracker import load_face_reader, track_faces
from mytalk_core.media.audio import MODEL_RATE_HZ, Speech
from mytalk_core.media.video import Clip
from mytalk_core.motion.generate import MotionModel, MotionOptions, generate_motion
from mytalk_core.motion.motion import Motion
from mytalk_core.motion.person import OPENING_PAIRS, find_rest, interocular, mouth_opening, remove_pose
from mytalk_core.pretrained import model_hashes

SEEDS = (0, 1, 2)
SILENCE_FROM_S, SILENCE_WITHIN = 0.2, 0.15


@dataclass(frozen=True)
class Figures:
    """r by seed with the lag taken out and as filmed; spread: generated over real deviation of the opening;
    at_rest: share of silent frames within 15 % of the rest opening."""

    lagless: list[float]
    filmed: list[float]
    spread: float
    at_rest: float


def opening(track: FaceTrack, motion: Motion, times_s: np.ndarray) -> np.ndarray:
    """Mouth opening (F,) of generated motion on a track."""
    return mouth_opening(motion.onto(track_canonical(track, times_s), times_s))


def track_canonical(track: FaceTrack, times_s: np.ndarray) -> np.ndarray:
    """The track's own canonical landmarks (F,N,2) at any times."""
    sample = track.at(times_s)
    return alignment.apply(sample.similarity, sample.landmarks[..., :2])


def measure(model: MotionModel, row: dict, track: FaceTrack, speech: np.ndarray, options: dict) -> Figures:
    """Figures of one clip."""
    times_s = np.arange(int(min(track.times_s[-1], len(speech) / MODEL_RATE_HZ) * 25)) / 25
    seen = track.at(times_s).distance_s < 0.06
    real = mouth_opening(track_canonical(track, times_s))
    lag_s = (row.get("sync_lag_ms") or 0) / 1000
    correlations: dict[float, list[float]] = {}
    spreads = []
    for shift_s in {0.0, lag_s}:
        moved = shift(speech, shift_s)
        for seed in SEEDS:
            motion = generate_motion(model, moved, track, len(times_s), MotionOptions(seed=seed, **options))
            generated = opening(track, motion, times_s)
            correlations.setdefault(shift_s, []).append(np.corrcoef(real[seen], generated[seen])[0, 1])
            if shift_s == lag_s:
                spreads.append(generated[seen].std() / real[seen].std())
    at_rest = rest_share(model, track, times_s, options)
    return Figures(correlations[lag_s], correlations[0.0], float(np.mean(spreads)), at_rest)


def rest_share(model: MotionModel, track: FaceTrack, times_s: np.ndarray, options: dict) -> float:
    """Share of frames after 200 ms of digital silence whose opening is within 15 % of the rest opening."""
    silence = np.zeros(int(len(times_s) / 25 * MODEL_RATE_HZ), np.float32)
    motion = generate_motion(model, silence, track, len(times_s), MotionOptions(**options))
    person = find_rest(track)
    free = remove_pose(track, person, 0, len(times_s))
    # The rest shape under each frame's pose: turning the head is not opening the mouth.
    rest = free.to_canonical(np.zeros((len(times_s), *person.rest.shape), np.float32), person)
    canonical = motion.onto(track_canonical(track, times_s), times_s)
    scale = interocular(canonical)
    lips = [
        np.linalg.norm(p[:, OPENING_PAIRS[:, 0]] - p[:, OPENING_PAIRS[:, 1]], axis=-1).mean(1)
        for p in (canonical, rest)
    ]
    late = times_s > SILENCE_FROM_S
    return float((np.abs(lips[0] / lips[1] - 1) <= SILENCE_WITHIN)[late & (scale > 0)].mean())


def read_track(video: Path, cache: Path | None) -> FaceTrack:
    """The largest face of a video; read from, and kept in, a folder of tracks where one is given."""
    path = cache / f"{video.stem}.safetensors" if cache else None
    if path is not None and path.exists():
        return FaceTrack.load(path)
    clip = Clip.open(video)
    track = track_faces(clip.frames(), clip.times_s, load_face_reader()).choose("largest")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        track.save(path)
    return track


def table(rows: dict[str, Figures], header: list[str]) -> str:
    """The Markdown table."""
    lines = [
        *header,
        "",
        "| clip | r, lag taken out (mean of seeds) | r as filmed | spread | at rest in silence |",
        "|---|---|---|---|---|",
    ]
    cells = {name: (np.mean(f.lagless), np.mean(f.filmed), f.spread, f.at_rest) for name, f in rows.items()}
    cells[f"**mean of {len(rows)}**"] = tuple(np.mean(list(cells.values()), axis=0))
    lines += [f"| {name} | {a:.3f} | {b:.3f} | {c:.2f} | {d:.1%} |" for name, (a, b, c, d) in cells.items()]
    seeds = np.mean([f.lagless for f in rows.values()], axis=0)
    lines += ["", "Mean r by seed: " + ", ".join(f"{s}: {r:.3f}" for s, r in zip(SEEDS, seeds, strict=True))]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--temperature", type=float, default=MotionOptions.temperature)
    parser.add_argument("--guidance", type=float, default=MotionOptions.guidance)
    parser.add_argument("--steps", type=int, default=MotionOptions.steps)
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    options = {"temperature": args.temperature, "guidance": args.guidance, "steps": args.steps}
    model = MotionModel.from_pretrained(args.model)
    figures = {}
    for line in args.manifest.read_text().splitlines():
        row = json.loads(line)
        if row["split"] != args.split:
            continue
        video = args.manifest.parent / row["file"]
        track = read_track(video, args.tracks)
        figures[row["id"]] = measure(model, row, track, Speech.open(video).mono_16k, options)
        print(row["id"], figures[row["id"]], flush=True)
    digest = model_hashes(args.model, ("motion",))["motion"][:12]
    header = [
        "# Motion from speech",
        "",
        f"{datetime.date.today()}, {os.cpu_count()}-core CPU, model {Path(args.model).name} "
        f"(motion {digest}), split {args.split}, seeds {SEEDS}, {options}. `python benchmarks/motion.py`",
    ]
    args.out.write_text(table(figures, header))
    print(table(figures, header))


if __name__ == "__main__":
    main()
