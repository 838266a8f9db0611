"""What adapting the refiner to a person brings, on frames of their video that were left out, and its cost.

Of each clip's beginning a second of every eight is set apart: what `mytalk adapt` does sees nothing of it,
not even where it chooses when to stop, and what is nearer than 0.3 s to it is not learned from. Frames of
these seconds are then rebuilt as in reconstruction.py, by the renderer `network` with the model's refiner and
with the adapted one: true landmarks, the mouth erased, nothing lent from within 0.6 s. Writes a Markdown
table.

    python benchmarks/adapt.py MANIFEST.jsonl -o benchmarks/results/adapt.md --rows rows.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from manifest import rows_of
from mytalk_training.refiner.adapt import AdaptationConfig, adapt, in_training
from mytalk_training.refiner.person import pieces, read_person
from reconstruction import TARGETS, Judges, measure_clip
from tables import measured_here

from mytalk_core.appearance.networks.refiner import MouthRefiner
from mytalk_core.appearance.renderers import LoadedRenderer
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.arranged import part_of
from mytalk_core.media.file_clip import FileClip
from mytalk_core.pipeline.stages import track

PART = 0.25  # where in its period a second is set apart; what `adapt` stops by lies elsewhere


@dataclass(frozen=True)
class Row:
    """A clip: seconds of it, frames learned from, the step that was kept, scores before and after on the
    frames set apart, and the cost from opening the clip to the adapted network."""

    clip: str
    seconds: float
    learned: int
    step: int
    psnr: tuple[float, float]
    lpips: tuple[float, float]
    cpu_s: float
    wall_s: float


def measure(name: str, video: Path, seconds: float, refiner: MouthRefiner, accelerator, judges) -> Row:
    """Adapt to a clip and rebuild what was set apart of it, before and after."""
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    clip = part_of(FileClip.open(video), 0.0, seconds)
    face = track(load_face_reader(), clip).choose("largest")
    apart = pieces(face.times_s, PART)
    person = read_person(clip, face, apart)
    adapted = adapt(person, refiner, AdaptationConfig(), accelerator)
    cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
    made = {
        word: LoadedRenderer("network", network.cpu()).make
        for word, network in (("before", refiner), ("after", adapted.refiner))
    }
    layout = LandmarkLayout.load(face.layout)
    scores = measure_clip(clip, face, layout, made, judges, TARGETS, among=apart)
    before, after = scores["before"], scores["after"]
    return Row(
        name,
        round(clip.duration_s, 1),
        len(person.learned),
        adapted.steps,
        (before.psnr, after.psnr),
        (before.lpips, after.lpips),
        round(cpu_s),
        round(wall_s),
    )


def table(rows: list[Row], model: str, sha256: str) -> str:
    """Markdown: a row a clip, and their means."""
    lines = [
        "| clip | seconds | frames learned from | step kept | PSNR before | after | LPIPS before | after "
        "| CPU minutes | wall minutes |",
        "|" + "---|" * 10,
    ]
    for row in rows:
        lines.append(
            f"| {row.clip} | {row.seconds:g} | {row.learned} | {row.step} | {_pair(row.psnr, '.2f')} "
            f"| {_pair(row.lpips, '.4f')} | {row.cpu_s / 60:.1f} | {row.wall_s / 60:.1f} |"
        )
    psnr, lpips = (np.mean([getattr(row, key) for row in rows], axis=0) for key in ("psnr", "lpips"))
    head = (
        f"{measured_here()}, {torch.get_num_threads()} thread(s), "
        f"{len(rows)} clips, up to {TARGETS} frames each of the seconds set apart. Refiner {sha256[:12]} of "
        f"{model}; {AdaptationConfig()}. PSNR in dB and LPIPS (AlexNet) inside the mask (mouth, chin, jaw), "
        "true landmarks, nothing lent from within 0.6 s; step 0: nothing was better, and the model's own "
        "stays. Minutes: tracking, reading, learning; wall minutes on a machine that did other things too. "
        "By benchmarks/adapt.py."
    )
    mean = (
        f"Mean: {psnr[1] - psnr[0]:+.2f} dB PSNR ({psnr[0]:.2f} to {psnr[1]:.2f}), "
        f"{lpips[1] / lpips[0] - 1:+.1%} LPIPS ({lpips[0]:.4f} to {lpips[1]:.4f})."
    )
    return "\n".join(["# Adapting to a person", "", head, "", *lines, "", mean, ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each clip, from its beginning")
    parser.add_argument("--count", type=int, default=8, help="clips measured: the longest ones that can be")
    parser.add_argument("--clips", nargs="+", metavar="ID", help="these instead")
    parser.add_argument("--weights", type=Path, help="folder with lpips_alexnet, if the package is absent")
    parser.add_argument("--rows", type=Path, help="JSON lines: keeps rows, so that a new run goes on")
    arguments = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    judges, accelerator = Judges.find(arguments.weights), in_training()
    refiner = MouthRefiner.from_pretrained(arguments.model, "refiner")
    listed = sorted(rows_of(arguments.manifest, arguments.split), key=lambda row: -row["seconds"])
    if arguments.clips:
        listed = [row for row in listed if row["id"] in arguments.clips]
    rows = _kept(arguments.rows)
    for row in listed:
        if len(rows) >= (len(arguments.clips) if arguments.clips else arguments.count):
            break
        if row["id"] in rows:
            continue
        video = arguments.manifest.parent / row["file"]
        try:
            rows[row["id"]] = measure(row["id"], video, arguments.seconds, refiner, accelerator, judges)
        except ValueError as error:
            print(f"{row['id']}: left out: {error}", flush=True)
            continue
        print(json.dumps(asdict(rows[row["id"]])), flush=True)
        if arguments.rows:
            with arguments.rows.open("a") as file:
                file.write(json.dumps(asdict(rows[row["id"]])) + "\n")
    text = table(list(rows.values()), arguments.model, refiner.sha256)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)


def _kept(path: Path | None) -> dict[str, Row]:
    if path is None or not path.is_file():
        return {}
    found = [Row(**json.loads(line)) for line in path.read_text().splitlines()]
    return {row.clip: row for row in found}


def _pair(values, form: str) -> str:
    return " | ".join(f"{value:{form}}" for value in values)


if __name__ == "__main__":
    main()
