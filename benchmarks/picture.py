"""Does the picture obey the motion: landmarks read back from the output against those it was made for.

Every clip of a split speaks the next clip's speech. The finished file is opened again, the face followed in
it, and its lips (80 points) held against the intended ones in percent of the inter-ocular distance. Frames,
time stamps and the sound's length are compared with the source's on the way. With --keep FOLDER the results
stay, as does a picture a clip: source over result, mouth enlarged.

    python benchmarks/picture.py CLIPS/manifest.jsonl --split val -o benchmarks/results/picture.md
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from manifest import rows_of
from tables import measured_here

from mytalk_core.evaluation.report.page_frames import enlarged, mouth_window
from mytalk_core.face import alignment
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.file_clip import FileClip
from mytalk_core.motion.motion import Motion
from mytalk_core.motion.person import interocular
from mytalk_core.pipeline import LipSync, lip_sync

ENLARGED_PX = 300


@dataclass(frozen=True)
class Figures:
    """Lip distance in percent of the inter-ocular distance: of the result to the intended lips; of the source
    to them (how far the lips had to go); same_times: frames and time stamps equal the source's."""

    obeyed: float
    asked: float
    same_times: bool


def measure(video: Path, speech: Path, output: Path, model: LipSync) -> Figures:
    """Lip-sync one clip into `output` and read it back."""
    motion_file = output.with_suffix(".safetensors")
    lip_sync(video, speech, output, model=model, save_motion=motion_file)
    motion, source, result = Motion.load(motion_file), FileClip.open(video), FileClip.open(output)
    before, after = (model.track(clip).choose() for clip in (source, result))
    lips = LandmarkLayout.load(before.layout).lips
    rows = np.flatnonzero(before.present & after.present)
    intended = motion.onto(before.canonical[rows], before.times_s[rows])
    scale = interocular(intended)[:, None]
    read = alignment.apply(before.similarity[rows], after.landmarks[rows][..., :2])
    obeyed, asked = (
        float((np.linalg.norm(shape[:, lips] - intended[:, lips], axis=-1) / scale).mean() * 100)
        for shape in (read, before.canonical[rows])
    )
    same = len(source) == len(result) and np.abs(source.times_s - result.times_s).max() < 1e-3
    return Figures(obeyed, asked, bool(same))


def side_by_side(model: LipSync, video: Path, output: Path, path: Path, count: int = 8) -> None:
    """A picture: mouths of `count` source frames over those of the result."""
    source, result = FileClip.open(video), FileClip.open(output)
    index = np.linspace(0, len(source) - 1, count).astype(int)
    columns = []
    for before, after in zip(source.pictures(index), result.pictures(index), strict=True):
        window = mouth_window(before.rgb, model.reader.detector)
        columns.append(np.vstack([enlarged(p.rgb, *window, ENLARGED_PX) for p in (before, after)]))
    cv2.imwrite(str(path), cv2.cvtColor(np.hstack(columns), cv2.COLOR_RGB2BGR))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--only", nargs="*", help="ids of clips; all without")
    parser.add_argument("--keep", type=Path, help="folder for the results")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    rows = rows_of(args.manifest, args.split)
    model, figures = LipSync.from_pretrained(args.model), {}
    with tempfile.TemporaryDirectory() as folder:
        keep = args.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
            if args.only and row["id"] not in args.only:
                continue
            video, speech = (args.manifest.parent / r["file"] for r in (row, other))
            output = keep / f"{row['id']}.mp4"
            figures[row["id"]] = measure(video, speech, output, model)
            side_by_side(model, video, output, output.with_suffix(".png"))
            print(row["id"], figures[row["id"]], flush=True)
    means = np.mean([(f.obeyed, f.asked) for f in figures.values()], axis=0)
    lines = [
        "# The picture obeys the motion",
        "",
        f"{measured_here()}, split {args.split}, each clip with the next "
        "one's speech, H.264 at crf 18. `python benchmarks/picture.py`",
        "",
        "Distance of the lips to the intended ones, % of the inter-ocular distance:",
        "",
        "| clip | result | source | frames and time stamps |",
        "|---|---|---|---|",
        *(
            f"| {name} | {f.obeyed:.2f} | {f.asked:.2f} | {'the same' if f.same_times else 'DIFFER'} |"
            for name, f in figures.items()
        ),
        f"| **mean of {len(figures)}** | **{means[0]:.2f}** | {means[1]:.2f} | |",
    ]
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
