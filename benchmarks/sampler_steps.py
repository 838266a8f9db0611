"""How many sampling steps motion needs: few steps against 200 from the same noise.

For every clip of a split its own speech drives the motion model. Landmarks are compared frontal, in % of the
inter-ocular distance, means over the generated points and frames; the 200 steps are DPM-Solver++'s. Writes a
Markdown table.

    python benchmarks/sampler_steps.py CLIPS/manifest.jsonl -o benchmarks/results/sampler_steps.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from manifest import rows_of
from motion import read_track
from tables import measured_here, table_head, table_row

from mytalk_core.face.track import FaceTrack
from mytalk_core.media.audio import MODEL_RATE_HZ, Speech
from mytalk_core.motion.diffusion import PROCESSES
from mytalk_core.motion.generate import MotionModel, embed_identity
from mytalk_core.motion.person import RATE_HZ, find_rest, interocular, remove_pose
from mytalk_core.motion.sampler import EncodedSpeech, sample_motion
from mytalk_core.speech.features import SpeechFeatures

STEPS = (5, 8, 10, 20, 50)
SAMPLERS = {"dpmpp_2m": "DPM-Solver++(2M)", "ddim": "DDIM"}
REFERENCE_STEPS = 200
LIMIT_PERCENT = 1.0

# Temperature, sampler, steps.
Setting = tuple[float, str, int]


def measure(
    model: MotionModel, track: FaceTrack, speech: np.ndarray, temperatures: list[float], seconds: float
) -> dict[Setting, float]:
    """Distance to the reference of every setting for one clip, % of the inter-ocular distance."""
    frames = int(min(track.times_s[-1], len(speech) / MODEL_RATE_HZ, seconds) * RATE_HZ)
    person = find_rest(track)
    upper = model.space.encode_upper(remove_pose(track, person, 0, frames).displacement)
    features = SpeechFeatures(model.speech_encoder, speech, 2 * frames)
    encoded = EncodedSpeech(model.denoiser, features)
    # Encoded once: every setting reads the same.
    spoken = encoded(0, frames)
    identity = embed_identity(model, person)
    process = PROCESSES[model.denoiser.config.process]()
    unit = 100 * person.mouth_width / float(interocular(person.rest[:, :2]))

    def shape(temperature: float, sampler: str, steps: int) -> torch.Tensor:
        channels = sample_motion(
            model.denoiser,
            process,
            spoken,
            upper,
            identity,
            steps=steps,
            sampler=sampler,
            temperature=temperature,
        )
        return model.space.lower_displacement(channels)[..., :2] * unit

    found = {}
    for temperature in temperatures:
        reference = shape(temperature, "dpmpp_2m", REFERENCE_STEPS)
        for sampler in SAMPLERS:
            for steps in STEPS:
                distance = (shape(temperature, sampler, steps) - reference).norm(dim=-1).mean()
                found[(temperature, sampler, steps)] = distance.item()
    return found


def table(rows: dict[str, dict[Setting, float]], header: str) -> str:
    """Markdown: a row for each sampler and temperature, mean over clips and, in brackets, the worst clip."""
    lines = [header, "", *table_head(["sampler", "temperature", *(f"{steps} steps" for steps in STEPS)])]
    settings = list(next(iter(rows.values())))
    for temperature, sampler in dict.fromkeys((t, s) for t, s, _ in settings):
        cells = []
        for steps in STEPS:
            values = [found[(temperature, sampler, steps)] for found in rows.values()]
            cells.append(f"{np.mean(values):.3f} ({np.max(values):.3f})")
        lines.append(table_row([SAMPLERS[sampler], str(temperature), *cells]))
    full = [np.mean([f[key] for f in rows.values()]) for key in settings if key[1:] == ("dpmpp_2m", 10)]
    verdict = "under" if max(full) < LIMIT_PERCENT else "NOT under"
    lines += ["", f"DPM-Solver++ with 10 steps: {verdict} {LIMIT_PERCENT:.0f} % at every temperature."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1.0, 0.3])
    parser.add_argument("--seconds", type=float, default=10.0, help="how much of each clip")
    parser.add_argument("--clips", type=int, help="only the first so many")
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = MotionModel.from_pretrained(args.model)
    rows = rows_of(args.manifest, args.split)[: args.clips]
    found = {}
    for row in rows:
        video = args.manifest.parent / row["file"]
        speech = Speech.open(video).mono_16k
        found[row["id"]] = measure(
            model, read_track(video, args.tracks), speech, args.temperatures, args.seconds
        )
        print(
            row["id"], {f"{s} {n} @{t}": round(v, 3) for (t, s, n), v in found[row["id"]].items()}, flush=True
        )
    digest = model.hashes["motion"][:12]
    header = (
        "# Sampling steps\n\n"
        f"{measured_here()}, model {Path(args.model).name} "
        f"(motion {digest}), {len(found)} clips of split {args.split}, {args.seconds:g} s each. Landmarks "
        f"against {REFERENCE_STEPS} steps from the same noise: mean distance over points and frames in % of "
        "the inter-ocular distance; in brackets the worst clip."
    )
    text = table(found, header)
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
