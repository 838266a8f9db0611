"""Whether what comes before a face stays, and whether a face with nothing before it is drawn.

Before two seconds of every clip comes a hand, of the face's own colour more or less, drawn from a mesh that
is posed, turned and lit at random, or something else (`before_faces.py`): from below or from a side to lips,
chin or cheek, where it stays before it goes; or, with --held, it is there in every frame and goes its own
way, as what is held does. The clip is drawn as in use, with it and without it, and the
masks of what is new are compared: how much of it is painted over, how much of the face beside it is drawn,
and in how many pictures that it is not in less is new than without. Writes a Markdown table and, with
--sheet, a picture: of each clip a few frames, and below them, in red, what is new.

    python benchmarks/covers.py MANIFEST.jsonl --hand generic-hand/right.glb -o covers.md --sheet X.png
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from before_faces import KINDS, Thing, drawn
from manifest import rows_of
from mytalk_training.covers.hand_mesh import HandMesh
from mytalk_training.covers.layers import placing
from tables import measured_here, table_head, table_row

from mytalk_core.appearance.renderers import LoadedRenderer
from mytalk_core.appearance.square.crop import cut_crop
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
# Frames in which a thing sets out, arrives, sets out again, is gone.
COMES, STAYS, GOES, GONE = 14, 20, 32, 38
AWAY = 1.2  # how far off it is when it sets out, of the face's height
BESIDE = 0.06  # how far from it the face is free, of that height
LESS = 0.95  # of what is new without it: below that, something was found
SEEN = 0.01  # of what is new, the least that is behind a thing for it to count
SHOWN = 17, 24, 33, 45
SWAYS, SECONDS = 0.05, (0.8, 3.0)  # of the face's height by which what is held moves, and in what time


@dataclass(frozen=True)
class Score:
    """Shares: of a thing before what is made anew that is painted over, of the face beside it that is drawn,
    and of the pictures without it in which less is."""

    painted_over: float
    drawn: float
    wrongly: float


def laid(
    frames: np.ndarray,
    face: FaceTrack,
    thing: Thing,
    layout: LandmarkLayout,
    rng: np.random.Generator,
    held: float | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Frames uint8 (T,H,W,3) with a thing before a face, and how much of each pixel it is, (T,H,W) 0 to 1;
    held: frames a second, where it is held before all of them."""
    landmarks = face.landmarks[:][..., :2]
    height = height_of(face, layout)
    outwards = np.array([rng.uniform(-1, 1), rng.uniform(0.3, 1) * (-1 if thing.from_above else 1)])
    outwards /= np.linalg.norm(outwards)
    angle = np.arctan2(*outwards[::-1]) - np.arctan2(*thing.comes_from[::-1])
    size = thing.long * height / len(thing.alpha)
    aim = rng.choice(np.concatenate([layout.lips_outer, layout.jaw]))
    place = thing.places[rng.integers(len(thing.places))]
    beyond = cv2.BORDER_REPLICATE if thing.goes_on else cv2.BORDER_CONSTANT
    painted, alphas = frames.copy(), np.zeros(frames.shape[:3], np.float32)
    # Read where pixels of the frame are larger than its own, a thin one would be dashes.
    soft = [cv2.GaussianBlur(one, (0, 0), max(0.3, 0.4 / size)) for one in (thing.colours, thing.alpha)]
    aims = landmarks[:, aim]
    if held is None:
        way = {number: aims[number] + off * height * outwards for number, off in coming_and_going().items()}
    else:
        way = dict(enumerate(np.median(aims, axis=0) + SWAYS * height * swaying(len(aims), held, rng)))
    for number, at in way.items():
        matrix = placing(place, at, size, angle)
        shape = frames.shape[2], frames.shape[1]
        colours = cv2.warpAffine(soft[0], matrix, shape, borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.warpAffine(soft[1], matrix, shape, borderMode=beyond)
        alphas[number] = cv2.GaussianBlur(alpha.astype(np.float32) / 255, (0, 0), max(0.5, 0.3 * size))
        share = alphas[number][..., None]
        painted[number] = np.rint(frames[number] * (1 - share) + colours * share)
    return painted, alphas


def coming_and_going() -> dict[int, float]:
    """How far off a thing is, of the face's height, in the frames in which it is there."""
    numbers = range(COMES, GONE)
    return dict(zip(numbers, np.interp(numbers, (COMES, STAYS, GOES, GONE), (AWAY, 0, 0, AWAY)), strict=True))


def swaying(count: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """How far something that is held has moved in frames, (T,2), 1 on the mean of squares."""
    phases, turns = rng.uniform(0, 2 * np.pi, (3, 2)), 2 * np.pi / rng.uniform(*SECONDS, (3, 2))
    seconds = np.arange(count)[:, None, None] / rate
    return np.sin(turns * seconds + phases).sum(1) / np.sqrt(1.5)


def cheek_colour(
    frame: np.ndarray, landmarks: np.ndarray, height: float, layout: LandmarkLayout
) -> np.ndarray:
    """Of a frame's face with landmarks (N,2) px, levels (3,)."""
    cheek = landmarks[layout.lips_outer].mean(0) - (0.18 * height, 0.12 * height)
    column, row = cheek.clip(4, None).astype(int)
    return frame[row - 3 : row + 4, column - 3 : column + 4].mean((0, 1))


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
    frames: np.ndarray,
    rate: float,
    face: FaceTrack,
    plain: np.ndarray,
    thing: Thing,
    layout: LandmarkLayout,
    rng: np.random.Generator,
    held: bool,
) -> tuple[Score, np.ndarray]:
    """Score of one thing before a face in frames (T,H,W,3), and a picture of it; plain: (T,H,W), what is new
    without; held: see `laid`. Raises NoFaceError."""
    painted, alphas = laid(frames, face, thing, layout, rng, rate if held else None)
    _, new = drawn_anew(painted, rate)
    side = 2 * round(BESIDE * height_of(face, layout)) + 1
    beside = np.stack([cv2.dilate(alpha, np.ones((side, side))) == 0 for alpha in alphas])
    covered = (alphas * plain).sum((1, 2)) > SEEN * plain.sum((1, 2))
    before, free = (alphas * plain)[covered].sum(), (plain * beside)[covered].sum()
    without = ~covered & (alphas.max((1, 2)) == 0) & (plain.sum((1, 2)) > 0)
    less = new.sum((1, 2))[without] < LESS * plain.sum((1, 2))[without]
    score = Score(
        float((alphas * new)[covered].sum() / max(before, 1)) if covered.any() else np.nan,
        float((new * beside)[covered].sum() / max(free, 1)) if covered.any() else np.nan,
        float(less.mean()) if without.any() else np.nan,
    )
    columns = []
    for number in SHOWN:
        red = painted[number] * (1 - 0.5 * new[number][..., None]) + 127 * new[number][..., None] * (1, 0, 0)
        pair = (painted[number], red.astype(np.uint8))
        columns.append(np.vstack([cut_crop(one, face.similarity[number], UNITS)[80:] for one in pair]))
    return score, np.hstack(columns)


def table(scores: dict[tuple[str, str], list[Score]]) -> str:
    """Markdown of scores by clip and kind: the means of each kind, and of each clip."""
    kinds, clips = (
        [*dict.fromkeys(names)] for names in zip(*[(kind, clip) for clip, kind in scores], strict=True)
    )
    parts = []
    for what, names, place in (("what", kinds, 1), ("clip", clips, 0)):
        lines = table_head(
            [what, "painted over", "of the face beside it drawn", "pictures found covered without"]
        )
        for name in names:
            rows = [list(vars(one).values()) for key in scores if key[place] == name for one in scores[key]]
            told = (np.array(column)[np.isfinite(column)] for column in zip(*rows, strict=True))
            lines.append(table_row([name, *(f"{one.mean():.0%}" if len(one) else "–" for one in told)]))
        parts.append("\n".join(lines))
    what = f"{measured_here()}, {len(clips)} clips, {sum(map(len, scores.values()))} things"
    head = f"# What comes before a face\n\n{what}. By benchmarks/covers.py.\n\n"
    return head + "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--hand", type=Path, help="mesh of a hand, .glb, where the kinds have one")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--clips", nargs="+", help="these alone, by their ids")
    parser.add_argument(
        "--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND", help=", ".join(KINDS)
    )
    parser.add_argument("--each", type=int, default=1, help="of a kind, one after the other before each clip")
    parser.add_argument("--held", action="store_true", help="in every frame, and on its own way")
    parser.add_argument("--sheet", type=Path, help="picture of some frames and what is new in them")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if "hand" in arguments.kinds and arguments.hand is None:
        parser.error("kind hand needs a mesh, --hand FILE.glb; or name other --kinds")
    layout = LandmarkLayout.load("mesh478")
    mesh = None if arguments.hand is None else HandMesh.open(arguments.hand)
    scores: dict[tuple[str, str], list[Score]] = {}
    sheet = []
    for number, row in enumerate(rows_of(arguments.manifest, arguments.split)):
        if arguments.clips and row["id"] not in arguments.clips:
            continue
        clip = FileClip.open(arguments.manifest.parent / row["file"])
        frames = np.stack([picture.rgb for picture in islice(clip.pictures(), FRAMES)])
        try:
            face, plain = drawn_anew(frames, float(clip.fps))
            skin = cheek_colour(frames[0], face.landmarks[0][:, :2], height_of(face, layout), layout)
            for kind in arguments.kinds:
                rng = np.random.default_rng([number, KINDS.index(kind)])
                for _ in range(arguments.each):
                    thing = drawn(kind, skin, mesh, rng)
                    score, picture = measure(
                        frames, float(clip.fps), face, plain, thing, layout, rng, arguments.held
                    )
                    scores.setdefault((row["id"], kind), []).append(score)
                    sheet.append(picture)
                    print(row["id"], kind, score, flush=True)
        except NoFaceError as error:
            print(row["id"], error, flush=True)
    text = table(scores)
    print(text)
    if arguments.output:
        arguments.output.write_text(text)
    if arguments.sheet:
        cv2.imwrite(str(arguments.sheet), np.vstack(sheet)[..., ::-1])


if __name__ == "__main__":
    main()
