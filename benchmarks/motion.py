"""How well generated motion follows speech it has never heard, and whether the mouth rests in silence.

For every clip of a split: its own speech drives the motion model, with several seeds, and the generated
mouth opening (inner lips over the inter-ocular distance) is held against the video's by Pearson's r at 25 Hz.
Clips whose sound and picture are apart are taken as they are ("as filmed") and with the manifest's lag out.
Velocity error: mean distance between the velocities of the generated points and the video's own, in % of the
inter-ocular distance a second, lag out; a mouth that never moves has the velocity error "still".
Kept: the share of clips whose opening varies 0.85 to 1.15 times as much as the real one. Jitter: third
differences of the opening, generated over real. Silence: digital silence as speech; the share of frames later
than 120 ms whose lips are closed, no more than 0.5 % of the inter-ocular distance apart. Writes a Markdown
table of the first model by clip, and one of all models.

    python benchmarks/motion.py CLIPS/manifest.jsonl --split val -o benchmarks/results/motion.md

--denoiser NAME=FOLDER (again for more) holds other training runs against it: FOLDER has motion/ and space/.
--expression takes several scales of the movement, the first for the table by clip: the smaller the movement,
the smaller its velocity error, so models are compared at like spreads.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from mytalk_training.dataset.samples import shift

from mytalk_core.evaluation.metrics.lips import (
    CLOSED_OPENING,
    KEPT_SPREAD,
    opening_jitter,
    velocity_distance,
)
from mytalk_core.face import alignment
from mytalk_core.face.track import FaceTrack
from mytalk_core.face.tracker import load_face_reader
from mytalk_core.media.audio import MODEL_RATE_HZ, Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.timeline import Timeline, plan_timeline
from mytalk_core.motion.denoiser import MotionDenoiser
from mytalk_core.motion.generate import MotionModel, MotionOptions
from mytalk_core.motion.manner import MANNERS
from mytalk_core.motion.person import find_rest, interocular, opening_ratio, remove_pose
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.pipeline.stages import speak
from mytalk_core.pipeline.stages import track as read_faces

SILENCE_FROM_S = 0.12


@dataclass(frozen=True)
class Figures:
    """r by seed with the lag taken out and as filmed; spread, jitter: generated over real deviation and third
    difference of the opening; closed: share of silent frames with closed lips; velocity: error in % a second;
    still: that of a mouth that never moves."""

    lagless: list[float]
    filmed: list[float]
    spread: float
    jitter: float
    closed: float
    velocity: float
    still: float


def velocity_error(video: np.ndarray, made: np.ndarray, points: np.ndarray, seen: np.ndarray) -> float:
    """Mean of `velocity_distance` where the face was seen in both frames: landmarks (F,N,2), seen (F,)."""
    distance = velocity_distance(video[:, points], made[:, points], interocular(video)[1:])
    return float(distance[seen[1:] & seen[:-1]].mean())


def track_canonical(track: FaceTrack, times_s: np.ndarray) -> np.ndarray:
    """The track's own canonical landmarks (F,N,2) at any times."""
    sample = track.at(times_s)
    return alignment.apply(sample.similarity, sample.landmarks[..., :2])


def resting(track: FaceTrack, frames: int) -> np.ndarray:
    """Canonical landmarks (F,N,2) of the rest shape under each frame's pose: a mouth that never moves."""
    person = find_rest(track)
    free = remove_pose(track, person, 0, frames)
    return free.to_canonical(np.zeros((frames, *person.rest.shape), np.float32), person)


def measure(
    model: MotionModel, row: dict, clip: Clip, track: FaceTrack, speech: Speech, options: dict, seeds: range
) -> Figures:
    """Figures of one clip."""
    times_s = np.arange(int(min(track.times_s[-1], len(speech.mono_16k) / MODEL_RATE_HZ) * 25)) / 25
    timeline = plan_timeline(clip, clip.duration_s)
    seen = track.at(times_s).distance_s < 0.06
    video = track_canonical(track, times_s)
    real = opening_ratio(video)
    points = model.space.lower_points
    lag_s = (row.get("sync_lag_ms") or 0) / 1000
    correlations: dict[float, list[float]] = {}
    spreads, jitters, velocities = [], [], []
    gaps = np.where(seen, 0.0, np.nan)
    real_jitter = opening_jitter(real + gaps) or np.nan
    for shift_s in {0.0, lag_s}:
        moved = Speech.from_waveform(shift(speech.mono_16k, shift_s)[None], MODEL_RATE_HZ)
        for seed in seeds:
            motion = speak(model, moved, track, timeline, MotionOptions(seed=seed, **options))
            made = motion.onto(video, times_s)
            generated = opening_ratio(made)
            correlations.setdefault(shift_s, []).append(np.corrcoef(real[seen], generated[seen])[0, 1])
            if shift_s == lag_s:
                spreads.append(generated[seen].std() / real[seen].std())
                jitters.append((opening_jitter(generated + gaps) or np.nan) / real_jitter)
                velocities.append(velocity_error(video, made, points, seen))
    rest = resting(track, len(times_s))
    closed = closed_share(model, track, timeline, times_s, options)
    still = velocity_error(video, rest, points, seen)
    velocity = float(np.mean(velocities))
    spread, jitter = float(np.mean(spreads)), float(np.mean(jitters))
    return Figures(correlations[lag_s], correlations[0.0], spread, jitter, closed, velocity, still)


def closed_share(
    model: MotionModel, track: FaceTrack, timeline: Timeline, times_s: np.ndarray, options: dict
) -> float:
    """Share of frames after 120 ms of digital silence whose lips are closed."""
    samples = np.zeros((1, int(len(times_s) / 25 * MODEL_RATE_HZ)), np.float32)
    silence = Speech.from_waveform(samples, MODEL_RATE_HZ)
    motion = speak(model, silence, track, timeline, MotionOptions(**options))
    opening = opening_ratio(motion.onto(track_canonical(track, times_s), times_s))
    return float((opening <= CLOSED_OPENING)[times_s >= SILENCE_FROM_S].mean())


def read_track(video: Path, cache: Path | None) -> FaceTrack:
    """The largest face of a video; read from, and kept in, a folder of tracks where one is given."""
    path = cache / f"{video.stem}.safetensors" if cache else None
    if path is not None and path.exists():
        return FaceTrack.load(path)
    clip = FileClip.open(video)
    track = read_faces(load_face_reader(), clip).choose("largest")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        track.save(path)
    return track


def clip_table(rows: dict[str, Figures]) -> list[str]:
    """Markdown lines: a row a clip."""
    lines = [
        "| clip | r, lag out | r as filmed | spread | jitter | velocity error, %/s | closed in silence |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, f in rows.items():
        cells = f"{np.mean(f.lagless):.3f} | {np.mean(f.filmed):.3f} | {f.spread:.2f} | {f.jitter:.2f}"
        lines.append(f"| {name} | {cells} | {f.velocity:.1f} | {f.closed:.1%} |")
    return lines


def model_table(models: dict[str, dict[str, Figures]]) -> list[str]:
    """Markdown lines: a row a model, means over the clips, and the mouth that never moves."""
    lines = [
        "| model | r, lag out | by seed | r as filmed | spread | kept | jitter | velocity error, %/s "
        "| closed in silence |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in models.items():
        figures = list(rows.values())
        seeds = np.mean([f.lagless for f in figures], axis=0)
        filmed, spread, jitter, velocity, closed = np.mean(
            [(np.mean(f.filmed), f.spread, f.jitter, f.velocity, f.closed) for f in figures], axis=0
        )
        kept = np.mean([KEPT_SPREAD[0] <= f.spread <= KEPT_SPREAD[1] for f in figures])
        by_seed = ", ".join(f"{r:.3f}" for r in seeds)
        lines.append(
            f"| **{name}** | **{seeds.mean():.3f}** | {by_seed} | {filmed:.3f} | {spread:.2f} "
            f"| {kept:.0%} | {jitter:.2f} | **{velocity:.2f}** | {closed:.1%} |"
        )
    still = np.mean([f.still for f in next(iter(models.values())).values()])
    return [*lines, f"| a mouth that never moves | | | | | | | {still:.2f} | |"]


def at_real_spread(scaled: list[dict[str, Figures]]) -> float | None:
    """Velocity error of a model, rows at several scales, where its spread is 1: on straight lines between the
    scales. None where that is not between them."""
    means = [np.mean([(f.spread, f.velocity) for f in rows.values()], axis=0) for rows in scaled]
    spread, velocity = np.array(sorted(map(tuple, means))).T
    return float(np.interp(1.0, spread, velocity)) if spread[0] <= 1.0 <= spread[-1] else None


def spread_lines(
    figures: dict[str, dict[str, Figures]], models: Iterable[str], scales: list[float]
) -> list[str]:
    """Markdown lines: velocity errors at the real spread."""
    errors = {name: at_real_spread([figures[key] for key in labels(name, scales)]) for name in models}
    known = [f"{name} {error:.2f} %/s" for name, error in errors.items() if error is not None]
    return ["", f"Velocity error where the opening varies as much as the real one: {', '.join(known)}."]


def load_models(args: argparse.Namespace) -> dict[str, MotionModel]:
    """The model, and the same with each of the denoisers that are held against it."""
    first = MotionModel.from_pretrained(args.model)
    models = {Path(args.model).name: first}
    for name, _, folder in (text.partition("=") for text in args.denoiser):
        denoiser = MotionDenoiser.from_pretrained(folder, "motion")
        space = LandmarkSpace.from_pretrained(folder, "space")
        models[name] = replace(first, denoiser=denoiser, space=space)
    return models


def labels(name: str, scales: list[float]) -> list[str]:
    """What a model is called in the tables; the scale of its movement is said where there are several."""
    return [name if len(scales) == 1 else f"{name}, expression {scale:g}" for scale in scales]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--denoiser", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--temperature", type=float, default=MotionOptions.temperature)
    parser.add_argument("--guidance", type=float, default=MotionOptions.guidance)
    parser.add_argument("--steps", type=int, default=MotionOptions.steps)
    parser.add_argument("--expression", type=float, nargs="+", default=[MotionOptions.expression])
    parser.add_argument("--manner", default=MotionOptions.manner, choices=MANNERS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    args = parse()
    options = {name: getattr(args, name) for name in ("temperature", "guidance", "steps", "manner")}
    models = load_models(args)
    figures: dict[str, dict[str, Figures]] = {
        name: {} for model in models for name in labels(model, args.expression)
    }
    for line in args.manifest.read_text().splitlines():
        row = json.loads(line)
        if row["split"] != args.split:
            continue
        video = args.manifest.parent / row["file"]
        clip, track, speech = FileClip.open(video), read_track(video, args.tracks), Speech.open(video)
        for model in models:
            for name, scale in zip(labels(model, args.expression), args.expression, strict=True):
                found = measure(
                    models[model],
                    row,
                    clip,
                    track,
                    speech,
                    {**options, "expression": scale},
                    range(args.seeds),
                )
                figures[name][row["id"]] = found
                print(row["id"], name, found, flush=True)
    digest = next(iter(models.values())).hashes["motion"][:12]
    first = next(iter(figures))
    lines = [
        "# Motion from speech",
        "",
        f"{datetime.date.today()}, {os.cpu_count()}-core CPU, model {Path(args.model).name} (motion "
        f"{digest}), split {args.split}, {args.seeds} seeds, {options}, expression "
        f"{', '.join(f'{scale:g}' for scale in args.expression)}. `python benchmarks/motion.py`",
        "",
        f"Means over {len(figures[first])} clips:",
        "",
        *model_table(figures),
        *(spread_lines(figures, models, args.expression) if len(args.expression) > 1 else []),
        "",
        f"{first} by clip:",
        "",
        *clip_table(figures[first]),
    ]
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
