"""What the renderers put between the lips when no reference shows an open mouth.

Of every clip the references are only those frames whose opening is under 2 units (1/256 of the crop's side),
as with a source that never speaks; the targets are frames that are open wide, spread over the upper half of
the openings. Open mouths are lent as in use, spread over all wide frames of the clip; DARK is `warp` without
them. Everything else is as in reconstruction.py: true landmarks, the mouth erased before rendering, no
references from within 0.6 s. Measured is what lies between the lips: PSNR, LPIPS (AlexNet) as the mean of
its spatial map there, and as the mean over the mouth's box at 128 px, with true pixels around the inner lips.
Writes a Markdown table and, with --sheet, a picture: for each person the true mouths, and below them those of
each renderer.

    python benchmarks/closed_mouths.py MANIFEST.jsonl --model mini FOLDER -o closed_mouths.md --sheet X.png
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from erased import ErasedMouth
from manifest import rows_of
from motion import read_track
from tables import measured_here, table_head, table_row

from mytalk_core.appearance.networks.perceptual import PerceptualDistance
from mytalk_core.appearance.references.open_mouths import with_open_mouths
from mytalk_core.appearance.references.pool import choose_pool, even_sample, pool_count
from mytalk_core.appearance.references.references import APART_S, mouth_opening, read_references
from mytalk_core.appearance.renderers import load_renderer
from mytalk_core.appearance.square.crop import crop_size, cut_crop
from mytalk_core.appearance.square.mask import MouthMask
from mytalk_core.appearance.warp_renderer import WarpRenderer
from mytalk_core.evaluation.metrics.pictures import psnr
from mytalk_core.evaluation.networks.lpips import perceptual_score
from mytalk_core.evaluation.networks.metric_networks import NEEDS, find_networks
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.file_clip import FileClip

CLOSED, OPEN = 2.0, 5.0  # units
FEWEST = 3  # closed and open frames of a clip that is measured
TARGETS, SHOWN, SHOWN_PX = 8, 3, (320, 200)
DARK = "warp, nothing lent"  # that renderer's name in the table

Make = Callable[..., WarpRenderer]


@dataclass(frozen=True)
class Score:
    """Inside the inner lips: PSNR in dB, LPIPS of them and of the mouth's box (nan without its weights)."""

    psnr: float
    inside: float
    box: float


def measure_clip(
    clip: FileClip,
    track: FaceTrack,
    layout: LandmarkLayout,
    made: dict[str, Make],
    lpips: PerceptualDistance | None,
    keep: Callable[[list[np.ndarray]], None],
    targets: int = TARGETS,
) -> dict[str, Score]:
    """Score of each renderer on one clip, empty where it has too few closed or open frames.

    keep: sees the mouth of some targets, the true one and then each renderer's, uint8 (200, 320, 3).
    """
    openings = np.where(track.present, mouth_opening(track.canonical[:], layout), np.nan)
    closed, wide = openings < CLOSED, np.flatnonzero(openings >= OPEN)
    if closed.sum() < FEWEST or len(wide) < FEWEST:
        return {}
    size = crop_size(track.similarity, track.present)
    pool = choose_pool(closed, track.canonical, layout, pool_count(size), track.canonical[wide])
    references = read_references(clip, track, pool, size, layout)
    wide = wide[np.argsort(openings[wide])][len(wide) // 2 :]
    chosen = even_sample(wide, targets)
    scores = {name: [] for name in made}
    for number, picture in enumerate(clip.pictures(chosen)):
        frame = picture.index
        far = np.abs(track.times_s[references.frame_index] - track.times_s[frame]) > APART_S
        if not far.any():
            continue
        landmarks = track.canonical[frame]
        crop = cut_crop(picture.rgb, track.similarity[frame], size)
        mouth = ErasedMouth.of(crop, landmarks, layout)
        truth, mask = mouth.truth, mouth.mask
        inner = inner_lips(landmarks, layout, mask, size)
        box = mouth_box(landmarks[layout.lips_outer], mask, size)
        own = references.take(far)
        lent = with_open_mouths(own, track.canonical[wide], layout)
        shown = [_enlarged(truth[box])]
        for name, make in made.items():
            lenders = own if name == DARK else lent
            renderer = make(lenders, landmarks[None], layout, track.shots[[frame]])
            lips = mouth.lips(renderer)
            shown.append(_enlarged(mouth.amid(lips)[box]))
            scores[name].append(
                between_lips(truth, np.where(inner[..., None], lips, truth), inner, box, lpips)
            )
        if number % max(1, len(chosen) // SHOWN) == 0:
            keep(shown)
    return {name: Score(*np.mean(rows, axis=0)) for name, rows in scores.items() if rows}


def inner_lips(landmarks: np.ndarray, layout: LandmarkLayout, mask: MouthMask, size: int) -> np.ndarray:
    """What lies between the lips of landmarks (N,2), bool on the pixels of mask.core in a crop of `size`."""
    top, left, bottom, right = mask.core.pixels(size)
    points = landmarks[layout.lips_inner] * (size / UNITS) - (left, top) - 0.5
    drawn = np.zeros((bottom - top, right - left), np.uint8)
    return cv2.fillPoly(drawn, [np.rint(points * 16).astype(np.int32)], 1, shift=4) > 0


def table(results: dict[str, dict[str, Score]], targets: int) -> str:
    """Markdown: each renderer's means, then the clips' LPIPS between the lips."""
    names = list(next(iter(results.values())))
    lines = table_head(["renderer", "PSNR", "LPIPS between the lips", "LPIPS of the box"])
    for name in names:
        rows = [scores[name] for scores in results.values()]
        psnr_db, inside, box = (np.mean([getattr(one, key) for one in rows]) for key in Score.__annotations__)
        lines.append(f"| {name} | {psnr_db:.2f} | {inside:.4f} | {box:.4f} |")
    lines += ["", *table_head(["clip", *names])]
    for clip, scores in results.items():
        cells = [f"{scores[name].inside:.4f}" for name in names]
        lines.append(table_row([clip, *cells]))
    return (
        "# Open mouths of sources that never open theirs\n\n"
        f"{measured_here()}, {len(results)} clips, up to {targets} targets "
        f"a clip. References: frames with an opening under {CLOSED:g} units; targets: over {OPEN:g}. By "
        "benchmarks/closed_mouths.py.\n\n" + "\n".join(lines) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", nargs="+", default=["mini"], help="whose networks are measured")
    parser.add_argument("--people", type=int, default=10, help="clips measured, the first that can be")
    parser.add_argument("--targets", type=int, default=TARGETS, help="frames measured in each clip")
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    parser.add_argument("--weights", type=Path, help="folder with lpips_alexnet, if the package is absent")
    parser.add_argument("--sheet", type=Path, help="picture of the mouths")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lpips = find_networks(arguments.weights, skip=frozenset(NEEDS) - {"lpips_mouth"}).lpips
    layout = LandmarkLayout.load("mesh478")
    made: dict[str, Make] = {DARK: WarpRenderer, "warp": WarpRenderer}
    made |= {f"network of {model}": load_renderer("network", model).make for model in arguments.model}
    results, sheet = {}, []
    for row in rows_of(arguments.manifest, arguments.split):
        if len(results) == arguments.people:
            break
        video = arguments.manifest.parent / row["file"]
        mouths: list[list[np.ndarray]] = []
        clip, track = FileClip.open(video), read_track(video, arguments.tracks)
        scores = measure_clip(clip, track, layout, made, lpips, mouths.append, arguments.targets)
        if scores:
            results[row["id"]] = scores
            sheet.append(np.hstack([np.vstack(column) for column in mouths[:SHOWN]]))
            print(row["id"], *(f"{name} {score.inside:.4f}" for name, score in scores.items()), flush=True)
    text = table(results, arguments.targets)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)
    if arguments.sheet:
        width = max(part.shape[1] for part in sheet)
        parts = [np.pad(part, ((0, 12), (0, width - part.shape[1]), (0, 0))) for part in sheet]
        cv2.imwrite(str(arguments.sheet), np.vstack(parts)[..., ::-1])


def mouth_box(lips: np.ndarray, mask: MouthMask, size: int) -> tuple[slice, slice]:
    """The pixels of mask.core about the lips (P,2), with a margin of 6 units."""
    top, left, bottom, right = mask.core.pixels(size)
    points = lips * (size / UNITS) - (left, top)
    margin = 6 * size / UNITS
    low = np.maximum(points.min(0) - margin, 0).astype(int)
    high = np.minimum(points.max(0) + margin, (right - left, bottom - top)).astype(int)
    return np.s_[low[1] : high[1], low[0] : high[0]]


def _enlarged(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, SHOWN_PX, interpolation=cv2.INTER_CUBIC)


def between_lips(
    truth: np.ndarray,
    guess: np.ndarray,
    inner: np.ndarray,
    box: tuple[slice, slice],
    lpips: PerceptualDistance | None,
) -> tuple[float, float, float]:
    """See `Score`, of a guess with true pixels beside the inner lips (h,w) bool; box: the mouth's."""
    level = psnr(truth, guess, inner)
    if lpips is None:
        return level, np.nan, np.nan
    pair = [cv2.resize(picture[box], (128, 128), interpolation=cv2.INTER_AREA) for picture in (truth, guess)]
    inside = cv2.resize(inner[box].astype(np.uint8), (128, 128), interpolation=cv2.INTER_NEAREST) > 0
    score = perceptual_score(lpips, *pair, inside)
    return level, score.inside, score.whole


if __name__ == "__main__":
    main()
