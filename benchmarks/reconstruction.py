"""How well the renderers rebuild a mouth they may not look at, from true landmarks.

For every clip some frames are targets. Their mouth, chin and jaw are erased before the renderer sees them,
and the references come from the rest of the clip with 0.6 s on both sides of the target left out. PSNR and
SSIM are taken where the mask is above zero, in the canonical crop at the source's resolution; LPIPS
(AlexNet) on the mask's bounding box at 128 px with true pixels outside the mask; ID is the cosine of SFace's
embeddings of the true and the rebuilt face. On targets whose mouth is open, PSNR and LPIPS between the inner
lips as well, as in closed_mouths.py, and how steep the picture is there beside the true one: teeth and tongue
that are mixed of several frames are blurred. Writes a Markdown table.

    python benchmarks/reconstruction.py MANIFEST.jsonl -o benchmarks/results/reconstruction.md

Each line of the manifest names a clip: {"id": ..., "file": path beside the manifest, "split": "val"}.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import torch
from closed_mouths import between_lips, inner_lips, mouth_box
from erased import ErasedMouth
from manifest import rows_of
from motion import read_track
from skimage.metrics import structural_similarity
from tables import measured_here, table_head, table_row

from mytalk_core.appearance.networks.perceptual import PerceptualDistance
from mytalk_core.appearance.references.plan import ReferenceChoice
from mytalk_core.appearance.references.pool import WANTED, choose_pool, pool_count
from mytalk_core.appearance.references.references import APART_S, mouth_opening, read_references
from mytalk_core.appearance.renderers import LoadedRenderer, load_renderer
from mytalk_core.appearance.square.crop import crop_size, cut_crop
from mytalk_core.appearance.warp_renderer import WarpRenderer, WarpSettings
from mytalk_core.evaluation.metrics.pictures import psnr
from mytalk_core.evaluation.networks.lpips import perceptual_score
from mytalk_core.evaluation.networks.metric_networks import NEEDS, find_networks
from mytalk_core.evaluation.networks.recognition import FaceRecogniser
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.file_clip import FileClip

TARGETS = 16
OPEN = 3.0  # units from which on there is something to see between the lips
LITTLE_OPEN = 2.0, 4.5  # units of mouths that are drawn from wider ones
NEIGHBOURS = 6  # frames before and after a target that take part in the steady choice, as in a real run

# Every frame for itself, equal weights.
FREE = ReferenceChoice(references=1, change=0, softness=1e6, fade=(1.0,))
MEAN = WarpSettings(detail=1, misfit=1e6, texture_model=False)
BLENDS = {
    "nearest": (FREE, MEAN),
    "mean of 2": (replace(FREE, references=2), MEAN),
    "mean of 3": (replace(FREE, references=3), MEAN),
    "warp": (ReferenceChoice(), WarpSettings()),
    "mean of 8": (ReferenceChoice(references=8), MEAN),
}
# What the renderer `warp` offers: the network is held against the best of these.
OFFERED = ("nearest", "mean of 2", "mean of 3", "warp")
SHOWN = {
    "psnr": ("PSNR", "{:.2f}"),
    "ssim": ("SSIM", "{:.3f}"),
    "lpips": ("LPIPS", "{:.4f}"),
    "id": ("ID", "{:.3f}"),
    "psnr_inner": ("PSNR between the lips", "{:.2f}"),
    "lpips_inner": ("LPIPS between the lips", "{:.4f}"),
    "steep_inner": ("slopes between the lips, of the true ones", "{:.2f}"),
}


@dataclass(frozen=True)
class Judges:
    """Networks that score pictures; None where their weights are absent."""

    lpips: PerceptualDistance | None
    sface: FaceRecogniser | None

    @classmethod
    def find(cls, weights: Path | None = None) -> Judges:
        """From a folder, or the packages that carry them; each that is absent is a line on the screen."""
        found = find_networks(weights, skip=frozenset(NEEDS) - {"lpips_mouth", "id_sface"})
        for line in found.absent:
            print(line)
        return cls(found.lpips, found.sface)


@dataclass(frozen=True)
class Score:
    """Means over frames: PSNR in dB, SSIM, LPIPS and ID (nan if their weights are absent); the last three
    over those with an open mouth, between the inner lips (nan if there is none)."""

    psnr: float
    ssim: float
    lpips: float
    id: float
    psnr_inner: float
    lpips_inner: float
    steep_inner: float


def ssim(truth: np.ndarray, guess: np.ndarray, inside: np.ndarray) -> float:
    """Structural similarity averaged over the pixels inside."""
    _, values = structural_similarity(truth, guess, channel_axis=2, data_range=255, full=True)
    return float(values[inside].mean())


def renderers(learned: list[LoadedRenderer]) -> dict[str, Callable[..., WarpRenderer]]:
    """What is measured, by name: takes (references, targets, layout, shots)."""
    made = {
        name: partial(WarpRenderer, choice=choice, settings=settings)
        for name, (choice, settings) in BLENDS.items()
    }
    return made | {one.name: one.make for one in learned}


def measure_clip(
    clip, track, layout, made, judges, targets=TARGETS, keep=None, among=None, wider=None
) -> dict[str, Score]:
    """Score of each renderer on one clip; `keep(frame, truth, {name: picture})` sees every target.

    among: bool (T,), the frames that targets are taken from; all where None. wider: how many times as open as
    a target its references are, from and to; as they come where None.
    """
    if wider is not None:
        openings = mouth_opening(track.canonical[:], layout)
        among = (openings > LITTLE_OPEN[0]) & (openings < LITTLE_OPEN[1])
    size = crop_size(track.similarity, track.present)
    present = np.flatnonzero(track.present if among is None else track.present & among)
    if len(present) == 0:
        return {}
    chosen = np.unique(present[np.linspace(0, len(present) - 1, targets + 2).round().astype(int)[1:-1]])
    scores = {name: [] for name in made}
    wanted, pools = track.canonical[track.seen_rows(WANTED)], {}
    for frame in chosen:
        far = track.present & (np.abs(track.times_s - track.times_s[frame]) > APART_S)
        if wider is not None:
            far &= (openings > wider[0] * openings[frame]) & (openings < wider[1] * openings[frame])
        if far.any():
            pools[frame] = choose_pool(far, track.canonical, layout, pool_count(size), wanted)
    if not pools:
        return {}
    references = read_references(clip, track, np.unique(np.concatenate([*pools.values()])), size, layout)
    for picture in clip.pictures(np.array([*pools])):
        frame = picture.index
        lenders = references.take(np.isin(references.frame_index, pools[frame]))
        landmarks = track.canonical[frame]
        crop = cut_crop(picture.rgb, track.similarity[frame], size)
        # Renderers that average the crop to one sample a unit see the outermost unit from outside.
        mouth = ErasedMouth.of(crop, landmarks, layout, rim_px=-(-size // UNITS))
        truth, mask, inside = mouth.truth, mouth.mask, mouth.inside
        around = np.arange(max(frame - NEIGHBOURS, 0), min(frame + NEIGHBOURS + 1, len(track.present)))
        around = around[track.present[around] & (track.shots[around] == track.shots[frame])]
        position = int(np.flatnonzero(around == frame)[0])
        person = _embedding(judges, crop, landmarks)
        pictures = {}
        for name, make in made.items():
            renderer = make(lenders, track.canonical[around], layout, track.shots[around])
            guess = pictures[name] = mouth.amid(mouth.lips(renderer, position))
            same = np.dot(person, _embedding(judges, mouth.whole(guess), landmarks))
            inner = _inner_score(truth, guess, landmarks, layout, mask, size, judges.lpips)
            scores[name].append((*_score(truth, guess, inside, judges.lpips), same, *inner))
        if keep is not None:
            keep(frame, truth, pictures)
    return {name: Score(*np.nanmean(rows, axis=0)) for name, rows in scores.items() if rows}


def table(results: dict[str, dict[str, Score]], frames: int, part: str) -> str:
    """Markdown: every renderer's means, then the clips' PSNR and LPIPS."""
    names = list(next(iter(results.values())))
    mean = {
        name: Score(*np.nanmean([[getattr(s[name], key) for key in SHOWN] for s in results.values()], axis=0))
        for name in names
    }
    lines = table_head(["renderer", *(title for title, _ in SHOWN.values())])
    for name in names:
        cells = [form.format(getattr(mean[name], key)) for key, (_, form) in SHOWN.items()]
        lines.append(table_row([name, *cells]))
    if "network" in mean:
        best = max(mean[name].psnr for name in OFFERED)
        least = min(mean[name].lpips for name in OFFERED)
        lines += [
            "",
            f"Network against the best of {', '.join(OFFERED)}: {mean['network'].psnr - best:+.2f} dB PSNR, "
            f"{mean['network'].lpips / least - 1:+.1%} LPIPS; ID {mean['network'].id:.3f} beside "
            f"{max(mean[name].id for name in OFFERED):.3f}.",
        ]
    for key in ("psnr", "lpips"):
        title, form = SHOWN[key]
        lines += ["", f"## {title} by clip", "", *table_head(["clip", *names])]
        for clip, scores in sorted(results.items()):
            cells = [form.format(getattr(scores[name], key)) for name in names]
            lines.append(table_row([clip, *cells]))
    return (
        "# Renderers from true landmarks\n\n"
        f"{measured_here()}, {len(results)} clips, {frames} targets a clip. "
        f"{part}PSNR in dB. Inside the mask (mouth, chin, jaw) only; the target's masked pixels are erased "
        f"before rendering, references within {APART_S} s of the target are left out. LPIPS: AlexNet; ID: "
        "cosine of SFace between the true face and the rebuilt one; between the lips: targets with an "
        f"opening of {OPEN:g} units and more.\n\n" + "\n".join(lines) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--renderer", nargs="+", default=["network"], help="the model's")
    parser.add_argument("--targets", type=int, default=TARGETS, help="frames measured in each clip")
    parser.add_argument(
        "--wider",
        nargs=2,
        type=float,
        metavar=("FROM", "TO"),
        help="mouths that are a little open, from references that are so many times as open",
    )
    parser.add_argument("--clips", nargs="+", metavar="ID", help="these only")
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    parser.add_argument("--weights", type=Path, help="folder with lpips_alexnet and sface.onnx, if absent")
    parser.add_argument(
        "--keep", type=Path, help="folder for pictures: truth over each renderer's, by target"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    judges, layout = Judges.find(arguments.weights), LandmarkLayout.load("mesh478")
    learned = [load_renderer(name, arguments.model) for name in arguments.renderer]
    made, hashes = renderers(learned), [item for one in learned for item in one.hashes.items()]
    part = "".join(f"{name} {hash[:12]} of {arguments.model}. " for name, hash in hashes)
    results = {}
    for row in rows_of(arguments.manifest, arguments.split):
        if arguments.clips and row["id"] not in arguments.clips:
            continue
        video = arguments.manifest.parent / row["file"]
        clip, track = FileClip.open(video), read_track(video, arguments.tracks)
        keep = partial(_draw, arguments.keep / row["id"]) if arguments.keep else None
        scores = measure_clip(
            clip, track, layout, made, judges, arguments.targets, keep, wider=arguments.wider
        )
        if scores:
            results[row["id"]] = scores
        print(row["id"], *(f"{name} {s.psnr:.2f}" for name, s in scores.items()), flush=True)
    if arguments.wider is not None:
        part += "Mouths {:g} to {:g} units open, from references {:g} to {:g} times as open. ".format(
            *LITTLE_OPEN, *arguments.wider
        )
    text = table(results, arguments.targets, part)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)


def _draw(folder: Path, frame: int, truth: np.ndarray, pictures: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    row = np.hstack([truth, *pictures.values()])
    cv2.imwrite(str(folder / f"{frame:05d}.png"), row[..., ::-1])


def _embedding(judges: Judges, crop: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """SFace's of a canonical crop, nan where it is absent."""
    if judges.sface is None:
        return np.array([np.nan])
    return judges.sface.embed(crop, landmarks * (len(crop) / UNITS))


def _score(truth, guess, inside, lpips) -> tuple[float, float, float]:
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pair = [cv2.resize(picture[box], (128, 128), interpolation=cv2.INTER_AREA) for picture in (truth, guess)]
    whole = np.ones((128, 128), bool)
    distance = np.nan if lpips is None else perceptual_score(lpips, *pair, whole).whole
    return psnr(truth, guess, inside), ssim(truth, guess, inside), distance


def _inner_score(truth, guess, landmarks, layout, mask, size, lpips) -> tuple[float, float, float]:
    """PSNR, LPIPS and slopes between the lips, nan for a mouth that is not open."""
    inner = inner_lips(landmarks, layout, mask, size)
    if mouth_opening(landmarks, layout) < OPEN or not inner.any():
        return np.nan, np.nan, np.nan
    box = mouth_box(landmarks[layout.lips_outer], mask, size)
    scores = between_lips(truth, np.where(inner[..., None], guess, truth), inner, box, lpips)[:2]
    # Not at the lips' edge, which is the mask's.
    deep = cv2.erode(inner.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return *scores, _steepness(guess, deep) / max(_steepness(truth, deep), 1e-3)


def _steepness(picture: np.ndarray, where: np.ndarray) -> float:
    """Mean slope of a picture (h,w,3) in a part (h,w), levels a pixel; nan where that is empty."""
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *along, scale=1 / 8)[where] for along in ((1, 0), (0, 1)))
    return float(np.hypot(across, down).mean()) if len(across) else np.nan


if __name__ == "__main__":
    main()
