"""How well generated motion follows speech it has never heard, and whether the mouth rests in silence.

For every clip of a split: its own speech drives the motion model, with several seeds, and the generated
mouth opening (inner lips over the inter-ocular distance) is held against the video's by Pearson's r at 25 Hz.
Clips whose sound and picture are apart are taken as they are ("as filmed") and with the manifest's lag out.
Velocity error: mean distance between the velocities of the generated points and the video's own, in % of the
inter-ocular distance a second, lag out; a mouth that never moves has the velocity error "still".
Kept: the share of clips whose opening varies 0.85 to 1.15 times as much as the real one. Jitter: third
differences of the opening, generated over real. Silence: digital silence as speech; the share of frames later
than 120 ms whose lips are closed, no more than 0.5 % of the inter-ocular distance apart. Seeds: r between the
openings of the first two seeds. LVE, MTM, closed on p, b, m (phones by PocketSphinx): as in
`mytalk_core/evaluation/metrics/lips.py`; SLCC: over the clips. Clips in whose sound hardly anybody speaks, by
the speech gate, have nothing that an opening could follow: they are named, and r is said without them, too.
Writes a Markdown table of the first model by
clip, and one of all models beside the real videos.

    python benchmarks/motion.py CLIPS/manifest.jsonl --split val -o benchmarks/results/motion.md

The second ruler, of people that no model has learnt from: one clip of each of the 30 in fold.json (a list of
identities), its first ten seconds:

    python benchmarks/motion.py CLIPS2/manifest.jsonl --split train --only fold.json --one-clip --seconds 10

--denoiser NAME=FOLDER (again for more) holds other training runs against it: FOLDER has motion/ and space/.
--expression takes several scales of the movement, the first for the table by clip: the smaller the movement,
the smaller its velocity error, so models are compared at like spreads.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from manifest import rows_of
from mytalk_training.dataset.samples import shift
from tables import measured_here

from mytalk_core.evaluation.metrics.lips import (
    CLOSED_OPENING,
    KEPT_SPREAD,
    closure_rate,
    intensities,
    intensity_correlation,
    opening_correlation,
    opening_jitter,
    opening_spread,
    temporal_misalignment,
    velocity_distance,
    vertex_error,
)
from mytalk_core.evaluation.networks.phones import find_recogniser
from mytalk_core.face import alignment
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import load_face_reader
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.arranged import part_of
from mytalk_core.media.audio import MODEL_RATE_HZ, Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.timeline import Timeline, plan_timeline
from mytalk_core.motion.denoiser import MotionDenoiser
from mytalk_core.motion.generate import MotionModel, MotionOptions
from mytalk_core.motion.manner import MANNERS
from mytalk_core.motion.person import (
    PRESENT_WITHIN_S,
    RATE_HZ,
    find_rest,
    interocular,
    opening_ratio,
    remove_pose,
)
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.pipeline.stages import speak
from mytalk_core.pipeline.stages import track as read_faces
from mytalk_core.speech.activity import speech_frames

SILENCE_FROM_S = 0.12
# Where somebody speaks in less than this share of the time a clip is no speech.
LEAST_SPOKEN = 0.1


@dataclass(frozen=True)
class Figures:
    """r by seed with the lag taken out, and as filmed; spread, jitter: generated over real deviation and
    third difference of the opening; closed: share of silent frames with closed lips; velocity: error in % a
    second; still: that of a mouth that never moves; between: r of two seeds, nan of one; lve, mtm: in
    `metrics/lips.py`; closure, intensity: of generated and of real lips, nan where unknown; spoken: share of
    the time in which somebody speaks, by the gate."""

    lagless: list[float]
    filmed: float
    spread: float
    jitter: float
    closed: float
    velocity: float
    still: float
    between: float
    lve: float
    mtm: float
    closure: tuple[float, float]
    intensity: tuple[np.ndarray, np.ndarray]
    spoken: float


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


@dataclass(frozen=True)
class Shown:
    """What a clip really shows: its face's landmarks (F,N,2) at times_s (F,), where it was seen, and its
    speech with the lag out."""

    track: FaceTrack
    timeline: Timeline
    times_s: np.ndarray
    video: np.ndarray
    seen: np.ndarray
    speech: Speech
    bilabials_s: np.ndarray

    @staticmethod
    def of(clip: Clip, track: FaceTrack, speech: Speech, lag_s: float) -> Shown:
        length_s = min(track.times_s[-1], len(speech.mono_16k) / MODEL_RATE_HZ)
        times_s = np.arange(int(length_s * RATE_HZ)) / RATE_HZ
        seen = track.at(times_s).distance_s < PRESENT_WITHIN_S
        moved = Speech.from_waveform(shift(speech.mono_16k, lag_s)[None], MODEL_RATE_HZ)
        recogniser = find_recogniser()
        phones = np.zeros((0, 2)) if recogniser is None else recogniser.bilabial_times(moved.mono_16k)
        timeline = plan_timeline(clip, clip.duration_s)
        return Shown(track, timeline, times_s, track_canonical(track, times_s), seen, moved, phones)

    def opening(self, landmarks: np.ndarray) -> np.ndarray:
        """Opening (F,) of landmarks (F,N,2), nan where the real face is not seen."""
        return opening_ratio(landmarks) + np.where(self.seen, 0.0, np.nan)

    def speak(self, model: MotionModel, speech: Speech, options: MotionOptions) -> np.ndarray:
        """Landmarks (F,N,2) that say this speech."""
        motion = speak(model, speech, self.track, self.timeline, options)
        return motion.onto(self.video, self.times_s)


def measure(
    model: MotionModel,
    clip: Clip,
    track: FaceTrack,
    speech: Speech,
    lag_s: float,
    options: dict,
    seeds: range,
) -> Figures:
    """Figures of one clip."""
    shown = Shown.of(clip, track, speech, lag_s)
    points, lips = model.space.lower_points, LandmarkLayout.load(track.layout).lips
    made = [shown.speak(model, shown.speech, MotionOptions(seed=seed, **options)) for seed in seeds]
    real, curves = shown.opening(shown.video), [shown.opening(one) for one in made]
    # A mouth that does not move follows nothing.
    r = [opening_correlation(real, curve) or 0.0 for curve in curves]
    filmed = r[0]
    if lag_s:
        filmed_curve = shown.opening(shown.speak(model, speech, MotionOptions(seed=seeds[0], **options)))
        filmed = opening_correlation(real, filmed_curve) or 0.0
    seen = shown.seen
    return Figures(
        lagless=r,
        filmed=filmed,
        spread=float(np.mean([known(opening_spread(real, curve)) for curve in curves])),
        jitter=float(np.mean([known(opening_jitter(curve)) for curve in curves]))
        / known(opening_jitter(real)),
        closed=closed_share(model, shown, options),
        velocity=float(np.mean([velocity_error(shown.video, one, points, seen) for one in made])),
        still=velocity_error(shown.video, resting(track, len(seen)), points, seen),
        between=known(opening_correlation(*curves[:2])) if len(curves) > 1 else np.nan,
        lve=float(np.mean([vertex_error(shown.video[seen], one[seen], lips).mean() for one in made])),
        mtm=float(np.mean([known(temporal_misalignment(real, curve)) for curve in curves])),
        closure=(
            float(np.mean([known(closure_rate(curve, shown.bilabials_s)) for curve in curves])),
            known(closure_rate(real, shown.bilabials_s)),
        ),
        intensity=tuple(np.mean(intensities(curve, shown.speech.mono_16k), 0) for curve in (curves[0], real)),
        spoken=float(speech_frames(shown.speech.mono_16k, len(seen)).mean()),
    )


def known(value: float | None) -> float:
    """nan for a figure that there is none of."""
    return np.nan if value is None else value


def closed_share(model: MotionModel, shown: Shown, options: dict) -> float:
    """Share of frames after 120 ms of digital silence whose lips are closed."""
    samples = np.zeros((1, int(len(shown.times_s) / RATE_HZ * MODEL_RATE_HZ)), np.float32)
    silence = Speech.from_waveform(samples, MODEL_RATE_HZ)
    opening = opening_ratio(shown.speak(model, silence, MotionOptions(**{**options, "steps": 1})))
    return float((opening <= CLOSED_OPENING)[shown.times_s >= SILENCE_FROM_S].mean())


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


def read_row(
    manifest: Path, row: dict, seconds: float | None, tracks: Path | None
) -> tuple[Clip, FaceTrack, Speech, float]:
    """The first seconds of a manifest's clip, all where None, its face, its whole sound, and by how many
    seconds its lips are late; tracks: see `read_track`."""
    video = manifest.parent / row["file"]
    clip, track = FileClip.open(video), read_track(video, tracks)
    if seconds is not None and seconds < clip.duration_s:
        clip = part_of(clip, 0, seconds)
        track = track.take(np.arange(len(clip)), clip.times_s)
    return clip, track, Speech.open(video), (row.get("sync_lag_ms") or 0) / 1000


def clip_table(rows: dict[str, Figures]) -> list[str]:
    """Markdown lines: a row a clip."""
    lines = [
        "| clip | r, lag out | r as filmed | spread | jitter | velocity error, %/s | closed in silence "
        "| closed on p, b, m / really |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, f in rows.items():
        cells = f"{np.mean(f.lagless):.3f} | {f.filmed:.3f} | {f.spread:.2f} | {f.jitter:.2f}"
        closure = " / ".join("" if np.isnan(rate) else f"{rate:.0f}%" for rate in f.closure)
        lines.append(f"| {name} | {cells} | {f.velocity:.1f} | {f.closed:.1%} | {closure} |")
    return lines


def model_table(models: dict[str, dict[str, Figures]]) -> list[str]:
    """Markdown lines: a row a model, means over the clips; the real videos, and a mouth that never moves."""
    lines = [
        "| model | r, lag out | by seed | r as filmed | spread | kept | jitter | velocity error, %/s "
        "| closed in silence | seeds | LVE, % | MTM, ms | closed on p, b, m | SLCC |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in models.items():
        figures = list(rows.values())
        seeds = np.nanmean([f.lagless for f in figures], axis=0)
        mean = {
            part: np.nanmean([getattr(f, part) for f in figures])
            for part in ("filmed", "spread", "jitter", "velocity", "closed", "lve", "mtm")
        }
        kept = np.mean([KEPT_SPREAD[0] <= f.spread <= KEPT_SPREAD[1] for f in figures])
        cells = [
            f"**{name}**",
            f"**{seeds.mean():.3f}**",
            ", ".join(f"{r:.3f}" for r in seeds),
            f"{mean['filmed']:.3f}",
            f"{mean['spread']:.2f}",
            f"{kept:.0%}",
            f"{mean['jitter']:.2f}",
            f"**{mean['velocity']:.2f}**",
            f"{mean['closed']:.1%}",
            f"{np.mean([f.between for f in figures]):.3f}" if len(seeds) > 1 else "",
            f"{mean['lve']:.1f}",
            f"{mean['mtm']:.0f}",
            spoken_cells(figures, 0),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    first = list(next(iter(models.values())).values())
    still = np.mean([f.still for f in first])
    return [
        *lines,
        f"| the real videos | | | | 1 | | 1 | 0 | | | 0 | 0 | {spoken_cells(first, 1)} |",
        f"| a mouth that never moves | | | | 0 | | 0 | {still:.2f} | | | | | | |",
    ]


def speechless_lines(rows: dict[str, Figures]) -> list[str]:
    """Markdown lines: clips without speech, and r without them; none where all have some."""
    speechless = [name for name, f in rows.items() if f.spoken < LEAST_SPOKEN]
    if not speechless:
        return []
    r = np.mean([np.mean(f.lagless) for name, f in rows.items() if name not in speechless])
    named = ", ".join(f"{name} ({rows[name].spoken:.0%} of the time)" for name in speechless)
    return ["", f"Hardly anybody speaks in {named}; r of the other clips: **{r:.3f}**."]


def spoken_cells(figures: list[Figures], which: int) -> str:
    """Closure rate and SLCC of the generated (0) or the real (1) lips of all clips."""
    rates = [f.closure[which] for f in figures if not np.isnan(f.closure[which])]
    closure = f"{np.mean(rates):.0f}%" if rates else ""
    slcc = intensity_correlation(np.array([f.intensity[which] for f in figures]))
    return f"{closure} | {'' if slcc is None else f'{slcc:.2f}'}"


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
    parser.add_argument("--only", type=Path, help="JSON list of the identities to take")
    parser.add_argument("--one-clip", action="store_true", help="the first clip of each identity only")
    parser.add_argument("--seconds", type=float, help="the first seconds of each clip only")
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


def choose_rows(args: argparse.Namespace) -> list[dict]:
    """The manifest's rows that the arguments ask for."""
    rows = rows_of(args.manifest, args.split)
    if args.only is not None:
        people = set(json.loads(args.only.read_text()))
        rows = [row for row in rows if row["identity"] in people]
    if args.one_clip:
        rows = list({row["identity"]: row for row in reversed(rows)}.values())[::-1]
    return rows


def main() -> None:
    args = parse()
    options = {name: getattr(args, name) for name in ("temperature", "guidance", "steps", "manner")}
    models = load_models(args)
    figures: dict[str, dict[str, Figures]] = {
        name: {} for model in models for name in labels(model, args.expression)
    }
    for row in choose_rows(args):
        clip, track, speech, lag_s = read_row(args.manifest, row, args.seconds, args.tracks)
        for model in models:
            for name, scale in zip(labels(model, args.expression), args.expression, strict=True):
                found = measure(
                    models[model],
                    clip,
                    track,
                    speech,
                    lag_s,
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
        f"{measured_here()}, model {Path(args.model).name} (motion "
        f"{digest}), split {args.split}, {args.seeds} seeds, {options}, expression "
        f"{', '.join(f'{scale:g}' for scale in args.expression)}. `python benchmarks/motion.py`",
        "",
        f"Means over {len(figures[first])} clips:",
        "",
        *model_table(figures),
        *speechless_lines(figures[first]),
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
