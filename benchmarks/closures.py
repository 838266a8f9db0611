"""Whether lips that are brought together on p, b and m do good, or harm, in languages other than English.

The network that hears these sounds learnt from phones that were recognised as English ones. For every clip of
some languages, lag out: how often filmed lips touch about moments of which it is sure, and in the rest of the
speech; how often generated ones do, about the former; Pearson's r of the opening and velocity error, as in
benchmarks/motion.py, without closures and with them. Means over the clips of a language, and a row for all
that are not English.

    python benchmarks/closures.py CLIPS2/manifest.jsonl --split train -o benchmarks/results/closures.md
"""

from __future__ import annotations

import argparse
from dataclasses import astuple, dataclass
from pathlib import Path
from unittest import mock

import numpy as np
from manifest import rows_of
from motion import Shown, read_row, velocity_error
from tables import measured_here

from mytalk_core.evaluation.metrics.lips import TOUCHING_OPENING, opening_correlation
from mytalk_core.motion import closures
from mytalk_core.motion.generate import MotionModel, MotionOptions
from mytalk_core.speech.activity import speech_frames
from mytalk_core.speech.features import SpeechFeatures

# Of the most that lips are brought together by.
SURE = 0.5
# Filmed lips may meet so many frames away.
AROUND_FRAMES = 1


@dataclass(frozen=True)
class Figures:
    """Of one clip. real, elsewhere, without, with_: how often, of 1, lips touch: real ones about sure moments
    and in the rest of the speech, generated ones about sure moments, without closures and with; then r and
    velocity errors in %/s, without and with. nan where there is no such moment."""

    real: float
    elsewhere: float
    without: float
    with_: float
    r_without: float
    r_with: float
    velocity_without: float
    velocity_with: float


def about(values: np.ndarray, reach: int) -> np.ndarray:
    """The least of values (F,) within `reach` frames, (F,)."""
    padded = np.pad(values, reach, constant_values=np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(-1)


def share(flags: np.ndarray) -> float:
    return float(flags.mean()) if len(flags) else np.nan


def measure(model: MotionModel, shown: Shown) -> Figures:
    """Figures of one clip."""
    frames, points = len(shown.times_s), model.space.lower_points
    mono = shown.speech.mono_16k
    together = closures.closure_share(SpeechFeatures(model.speech_encoder, mono, 2 * frames))
    sure = (together > SURE * closures.MOST) & shown.seen
    rest = speech_frames(mono, frames) & (together == 0) & shown.seen
    with_ = shown.speak(model, shown.speech, MotionOptions())
    with mock.patch.object(closures, "MOST", 0.0):
        without = shown.speak(model, shown.speech, MotionOptions())
    real = shown.opening(shown.video)
    touching = about(np.nan_to_num(real, nan=np.inf), AROUND_FRAMES) < TOUCHING_OPENING
    made = {name: shown.opening(one) for name, one in (("without", without), ("with", with_))}
    touched = {name: about(np.nan_to_num(one, nan=np.inf), AROUND_FRAMES) for name, one in made.items()}
    return Figures(
        share(touching[sure]),
        share(touching[rest]),
        share(touched["without"][sure] < TOUCHING_OPENING),
        share(touched["with"][sure] < TOUCHING_OPENING),
        opening_correlation(real, made["without"]) or 0.0,
        opening_correlation(real, made["with"]) or 0.0,
        velocity_error(shown.video, without, points, shown.seen),
        velocity_error(shown.video, with_, points, shown.seen),
    )


def row_of(name: str, figures: list[Figures]) -> str:
    """A row of the table: means over clips."""
    means = np.nanmean([astuple(f) for f in figures], axis=0)
    rates = " | ".join(f"{rate:.0%}" for rate in means[:4])
    r = " | ".join(f"{value:.3f}" for value in means[4:6])
    velocity = " | ".join(f"{value:.2f}" for value in means[6:])
    return f"| {name} | {len(figures)} | {rates} | {r} | {velocity} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="train")
    parser.add_argument("--seconds", type=float, default=10.0, help="the first of each clip")
    parser.add_argument("--english", type=int, default=15, help="clips in English, for comparison")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    model = MotionModel.from_pretrained(args.model)
    rows = [row for row in rows_of(args.manifest, args.split) if row["language"] not in ("?", "en")]
    english = [row for row in rows_of(args.manifest, args.split) if row["language"] == "en"]
    languages: dict[str, list[Figures]] = {}
    for row in rows + english[: args.english]:
        shown = Shown.of(*read_row(args.manifest, row, args.seconds, args.tracks))
        languages.setdefault(row["language"], []).append(measure(model, shown))
        print(row["id"], row["language"], languages[row["language"]][-1], flush=True)
    others = [one for name, found in languages.items() if name != "en" for one in found]
    lines = [
        "# Closures in other languages",
        "",
        f"{measured_here()}, model {Path(args.model).name} (motion "
        f"{model.hashes['motion'][:12]}), split {args.split}, {args.seconds:g} s of each clip at most. "
        "`python benchmarks/closures.py`",
        "",
        "Lips that touch about moments on which they are brought together, and r and velocity error (%/s):",
        "",
        "| language | clips | filmed | filmed, rest of the speech | generated without | with "
        "| r without | with | velocity error without | with |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(row_of(name, found) for name, found in languages.items()),
        row_of("all but English", others),
    ]
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
