"""Whether hands that come before a face stay, and whether a face with nothing before it is drawn.

Before two seconds of every clip comes a hand, of the face's own colour more or less, drawn from a mesh that
is posed, turned and lit at random: from below or from a side to lips, chin or cheek, where it stays before it
goes. The clip is drawn as in use, with the hand and without it, and the masks of what is new are compared:
how much of the hand is painted over, how much of the face beside it is drawn, and in how many pictures that
no hand is in less is new than without. Writes a Markdown table and, with --sheet, a picture: of each clip a
few frames, and below them, in red, what is new.

    python benchmarks/covers.py MANIFEST.jsonl --hand generic-hand/right.glb -o covers.md --sheet X.png
"""

from __future__ import annotations

import argparse
import datetime
import os
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from manifest import rows_of
from mytalk_training.covers.hand_mesh import DrawnHand, HandMesh

from mytalk_core.appearance.crop import cut_crop
from mytalk_core.appearance.renderers import LoadedRenderer
from mytalk_core.errors import NoFaceError
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import load_face_reader
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.pipeline import stages

FRAMES = 50  # of a clip, one after the other
COMES, STAYS, GOES, GONE = 14, 20, 32, 38  # frames in which a hand sets out, arrives, sets out again, is gone
LONG = 0.7, 1.1  # of a hand with its fingers, as shares of the face's height
AWAY = 1.2  # how far off it is when it sets out, of that height
BESIDE = 0.06  # how far from a hand the face is free, of that height
LESS = 0.95  # of what is new without a hand: below that, something was found
SHOWN = 17, 24, 33, 45


@dataclass(frozen=True)
class Score:
    """Shares: of a hand before what is made anew that is painted over, of the face beside it that is drawn,
    and of the pictures without a hand in which less is."""

    painted_over: float
    drawn: float
    wrongly: float


def lay_hand(
    frames: np.ndarray, face: FaceTrack, hand: DrawnHand, layout: LandmarkLayout, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 (T,H,W,3) with a hand before a face, and how much of each pixel it is, (T,H,W), 0 to 1."""
    landmarks = face.landmarks[:][..., :2]
    height = height_of(face, layout)
    cheek = landmarks[0, layout.lips_outer].mean(0) - (0.18 * height, 0.12 * height)
    column, row = cheek.clip(4, None).astype(int)
    skin = frames[0, row - 3 : row + 4, column - 3 : column + 4].mean((0, 1)) * np.exp(rng.normal(0, 0.16))
    own = np.argwhere((hand.alpha > 0) & ~hand.arm)[:, ::-1]
    arm = np.argwhere(hand.alpha > 0)[:, ::-1].mean(0) - own.mean(0) + (0, 1e-3)
    outwards = np.array([rng.uniform(-1, 1), rng.uniform(0.3, 1)])
    outwards /= np.linalg.norm(outwards)
    angle = np.arctan2(*outwards[::-1]) - np.arctan2(*arm[::-1])
    size = rng.uniform(*LONG) * height / np.ptp(own, axis=0).max()
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    aim = rng.choice(np.concatenate([layout.lips_outer, layout.jaw]))
    place = own[rng.integers(len(own))]
    colours = np.clip(0.95 * np.sqrt(hand.shade[..., None]) * skin, 0, 255)
    painted, alphas = frames.copy(), np.zeros(frames.shape[:3], np.float32)
    for number in range(COMES, GONE):
        off = np.interp(number, (COMES, STAYS, GOES, GONE), (AWAY, 0, 0, AWAY)) * height * outwards
        matrix = np.column_stack([turn, landmarks[number, aim] + off - turn @ place])
        shape = frames.shape[2], frames.shape[1]
        # An arm goes on beyond what was drawn of it.
        laid, alpha = (
            cv2.warpAffine(one, matrix, shape, borderMode=cv2.BORDER_REPLICATE)
            for one in (colours, hand.alpha)
        )
        alphas[number] = cv2.GaussianBlur(alpha.astype(np.float32) / 255, (0, 0), max(0.5, 0.6 * size))
        share = alphas[number][..., None]
        painted[number] = np.rint(frames[number] * (1 - share) + laid * share)
    return painted, alphas


def height_of(face: FaceTrack, layout: LandmarkLayout) -> float:
    """A face's height on the median, px."""
    return float(np.median(np.ptp(face.landmarks[:][:, layout.oval, 1], axis=1)))


def drawn_anew(frames: np.ndarray, rate: float) -> tuple[FaceTrack, np.ndarray]:
    """The face in frames (T,H,W,3), and how much of every pixel is new, (T,H,W), 0 to 1. Raises
    NoFaceError."""
    clip = ImageClip.from_frames(frames, rate)
    face = stages.track(load_face_reader(), clip).choose()
    drawn = stages.draw(LoadedRenderer(), clip, face, None, plan_timeline(clip, len(frames) / rate))
    return face, np.stack([edit.mask() for edit in drawn.edits()]).astype(np.float32) / 255


def measure(
    frames: np.ndarray, rate: float, hand: DrawnHand, layout: LandmarkLayout, rng: np.random.Generator
) -> tuple[Score, np.ndarray]:
    """Score of one hand before a face in frames (T,H,W,3), and a picture of it. Raises NoFaceError."""
    face, plain = drawn_anew(frames, rate)
    painted, alphas = lay_hand(frames, face, hand, layout, rng)
    _, new = drawn_anew(painted, rate)
    side = 2 * round(BESIDE * height_of(face, layout)) + 1
    beside = np.stack([cv2.dilate(alpha, np.ones((side, side))) == 0 for alpha in alphas])
    with_hand = (alphas * plain).sum((1, 2)) > 0.02 * plain.sum((1, 2))
    before, free = (alphas * plain)[with_hand].sum(), (plain * beside)[with_hand].sum()
    without = ~with_hand & (alphas.max((1, 2)) == 0) & (plain.sum((1, 2)) > 0)
    less = new.sum((1, 2))[without] < LESS * plain.sum((1, 2))[without]
    score = Score(
        float((alphas * new)[with_hand].sum() / max(before, 1)),
        float((new * beside)[with_hand].sum() / max(free, 1)),
        float(less.mean()),
    )
    columns = []
    for number in SHOWN:
        red = painted[number] * (1 - 0.5 * new[number][..., None]) + 127 * new[number][..., None] * (1, 0, 0)
        pair = (painted[number], red.astype(np.uint8))
        columns.append(np.vstack([cut_crop(one, face.similarity[number], UNITS)[80:] for one in pair]))
    return score, np.hstack(columns)


def table(scores: dict[str, list[Score]]) -> str:
    """Markdown: the means, then each clip."""
    lines = [
        "| clip | of the hand painted over | of the face beside it drawn | pictures found covered without |"
    ]
    lines.append("|---|---|---|---|")
    every = [score for rows in scores.values() for score in rows]
    for name, rows in {"**all**": every, **scores}.items():
        shares = np.mean([list(vars(score).values()) for score in rows], axis=0)
        lines.append(f"| {name} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    return (
        f"# Hands before a face\n\n{datetime.date.today()}, {os.cpu_count()}-core CPU, {len(scores)} clips, "
        f"{len(every)} hands. By benchmarks/covers.py.\n\n" + "\n".join(lines) + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--hand", type=Path, required=True, help="mesh of a hand, .glb")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--hands", type=int, default=2, help="one after the other before each clip")
    parser.add_argument("--sheet", type=Path, help="picture of some frames and what is new in them")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    layout, mesh = LandmarkLayout.load("mesh478"), HandMesh.open(arguments.hand)
    scores: dict[str, list[Score]] = {}
    sheet = []
    for number, row in enumerate(rows_of(arguments.manifest, arguments.split)):
        clip = FileClip.open(arguments.manifest.parent / row["file"])
        frames = np.stack([picture.rgb for picture in islice(clip.pictures(), FRAMES)])
        rng, found = np.random.default_rng(number), []
        for _ in range(arguments.hands):
            hand = mesh.drawn(rng)
            try:
                score, picture = measure(frames, float(clip.fps), hand, layout, rng)
            except NoFaceError as error:
                print(row["id"], error, flush=True)
                break
            found.append(score)
            sheet.append(picture)
        if found:
            scores[row["id"]] = found
            print(row["id"], *found, flush=True)
    text = table(scores)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)
    if arguments.sheet:
        cv2.imwrite(str(arguments.sheet), np.vstack(sheet)[..., ::-1])


if __name__ == "__main__":
    main()
