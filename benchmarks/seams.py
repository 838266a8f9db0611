"""How dark the line is along which lips meet: in films, and where a mouth that was open is drawn shut.

Of each person of a manifest some frames whose lips are closed (opening under 0.5 units, 1/256 of the crop's
side): as filmed, and drawn by `warp` with true landmarks, the mouth erased before, from frames that are open
4 units and more alone. Measured at columns from corner to corner, on the darkest row within 2.5 units of
where the landmarks meet: how bright it is beside the lips 3 units above and below, how red (red less the
mean of green and blue, over the brightness), and how many units of the column are darker than half way back
to these. Median of columns, mean of frames.

    python benchmarks/seams.py MANIFEST.jsonl --split val -o benchmarks/results/seams.md
"""

from __future__ import annotations

import argparse
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2
import numpy as np
from erased import ErasedMouth
from manifest import rows_of
from motion import read_track
from tables import measured_here

from mytalk_core.appearance.mouth import lip_lines
from mytalk_core.appearance.references.pool import choose_pool, even_sample, pool_count
from mytalk_core.appearance.references.references import mouth_opening, read_references
from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.appearance.warp_renderer import WarpRenderer
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.file_clip import FileClip

SIZE = 512  # of the crops
CLOSED, OPEN = 0.5, 4.0  # units
FEWEST, TARGETS = 3, 12  # closed and open frames of a person, and closed ones that are measured at most
COLUMNS, NEAR, BESIDE, STEP = 21, 2.5, 3.0, 0.25  # from corner to corner; units


@dataclass(frozen=True)
class Seam:
    """brightness, redness: of the line, 1 is the lips'; width: units."""

    brightness: float
    redness: float
    width: float


def seam_of(crop: np.ndarray, landmarks: np.ndarray, layout: LandmarkLayout) -> Seam:
    """Of closed lips in a crop uint8 (S,S,3) with landmarks (N,2), canonical units."""
    scale = len(crop) / UNITS
    inner = landmarks[layout.lips_inner] * scale - 0.5
    columns = np.linspace(inner[:, 0].min(), inner[:, 0].max(), COLUMNS)
    rows = np.arange(-NEAR - BESIDE - 1, NEAR + BESIDE + 1 + STEP / 2, STEP)
    at_y = np.mean(lip_lines(inner, columns), axis=0) + rows[:, None] * scale
    at = np.dstack([np.broadcast_to(columns, at_y.shape), at_y]).astype(np.float32)
    rgb = cv2.remap(crop, at, None, cv2.INTER_LINEAR).astype(np.float32)
    light = rgb.mean(-1).clip(1)
    red = (rgb[..., 0] - rgb[..., 1:].mean(-1)) / light
    near, beside = np.flatnonzero(np.abs(rows) <= NEAR), round(BESIDE / STEP)
    found = []
    for column, colour in zip(light.T, red.T, strict=True):
        darkest = int(near[column[near].argmin()])
        edges = [darkest - beside, darkest + beside]
        half = (column[edges].mean() + column[darkest]) / 2
        dark = np.flatnonzero(column[edges[0] : edges[1] + 1] < half)
        redness = colour[darkest] / max(colour[edges].mean(), 0.05)
        found.append((column[darkest] / column[edges].mean(), redness, len(dark) * STEP))
    return Seam(*np.median(found, axis=0).tolist())


def measure_clip(clip: FileClip, track: FaceTrack) -> dict[str, Seam]:
    """Filmed and drawn, empty where there are too few closed or open frames."""
    layout = LandmarkLayout.load(track.layout)
    openings = np.where(track.present, mouth_opening(track.canonical[:], layout), np.nan)
    closed, wide = np.flatnonzero(openings < CLOSED), openings >= OPEN
    if len(closed) < FEWEST or wide.sum() < FEWEST:
        return {}
    pool = choose_pool(wide, track.canonical, layout, pool_count(SIZE), track.canonical[closed])
    references = read_references(clip, track, pool, SIZE, layout)
    filmed, drawn = [], []
    for picture in clip.pictures(even_sample(closed, TARGETS)):
        landmarks = track.canonical[picture.index]
        crop = cut_crop(picture.rgb, track.similarity[picture.index], SIZE)
        mouth = ErasedMouth.of(crop, landmarks, layout)
        renderer = WarpRenderer(references, landmarks[None], layout, track.shots[[picture.index]])
        filmed.append(seam_of(crop, landmarks, layout))
        drawn.append(seam_of(mouth.whole(mouth.amid(mouth.lips(renderer))), landmarks, layout))
    return {"filmed": mean(filmed), "drawn": mean(drawn)}


def mean(seams: list[Seam]) -> Seam:
    """Of several."""
    return Seam(*np.mean([astuple(seam) for seam in seams], axis=0))


def table(results: dict[str, dict[str, Seam]]) -> list[str]:
    """Markdown lines: means, then a row a clip."""
    lines = [
        "| clip | filmed: brightness | redness | width, units | drawn: brightness | redness | width, units |",
        "|---|---|---|---|---|---|---|",
    ]
    means = {name: mean([seams[name] for seams in results.values()]) for name in ("filmed", "drawn")}
    for name, seams in {f"**mean of {len(results)}**": means, **results}.items():
        cells = [
            f"{a:.2f} | {b:.2f} | {c:.1f}" for a, b, c in (astuple(seams["filmed"]), astuple(seams["drawn"]))
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    results = {}
    for row in rows_of(args.manifest, args.split):
        video = args.manifest.parent / row["file"]
        seams = measure_clip(FileClip.open(video), read_track(video, args.tracks))
        if seams:
            results[row["id"]] = seams
            print(row["id"], seams, flush=True)
    lines = [
        "# The seam of closed lips",
        "",
        f"{measured_here()}, split {args.split}, {len(results)} people that "
        "show both closed and open mouths. `python benchmarks/seams.py`",
        "",
        *table(results),
    ]
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
