"""Lay pictures of faces beside the persons' usual faces, for `mytalk_training.covers.train`.

    python -m mytalk_training.covers.prepare CLIPS -o FACES

CLIPS is any folder of videos that dataset.prepare reads too. Each gets one file in FACES, with pictures from
all over it; those that are there already are left alone, so an interrupted run goes on where it stopped.
Clips in which hands come before the face teach the opposite: name them with --leave-out, or with --covered
the moments.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mytalk_core.appearance.covers.cover_detector import CoverDetector
from mytalk_core.appearance.covers.face_view import mouth_and_chin
from mytalk_core.appearance.covers.network import Comparison, halved
from mytalk_core.appearance.references.pool import choose_pool, even_sample
from mytalk_core.appearance.references.references import read_references
from mytalk_core.appearance.square.crop import crop_box, cut_crop
from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.errors import MediaError, NoFaceError
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import FaceReader, load_face_reader
from mytalk_core.media.file_clip import FileClip
from mytalk_core.pipeline import stages
from mytalk_core.program import in_one_line

from ..dataset.adapters import find_sources
from .data import ComparedFaces

CLOSE = 8  # frames about one in which something stands before the face that are left out, too


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    add = parser.add_argument
    add("clips", type=Path, help="folder of videos")
    add("-o", "--out", type=Path, required=True, help="folder of the result; what is there already stays")
    add("--splits", nargs="+", default=["train"], help="splits to take, where sources name one")
    add(
        "--leave-out",
        nargs="+",
        default=[],
        metavar="NAME",
        help="clips, by their files' names, or FACES', without end",
    )
    add("--covered", type=Path, help="JSON lines of `name` and `frame` in which something is before the face")
    add("--pictures", type=int, default=24, help="of each clip")
    return parser.parse_args(argv)


def read_faces(clip: FileClip, reader: FaceReader, count: int, without: np.ndarray) -> ComparedFaces:
    """So many pictures from all over a clip, none of a frame `without` or near one.

    Raises NoFaceError where too few show a face, or too few the whole of it to know what is usual.
    """
    track = stages.track(reader, clip).choose()
    layout = LandmarkLayout.load(track.layout)
    pool = choose_pool(track.present, track.canonical, layout)
    references = read_references(clip, track, pool, UNITS, layout)
    cover_detector = CoverDetector(references, layout, track.similarity[references.frame_index])
    close = (np.abs(np.arange(len(track))[:, None] - without) <= CLOSE).any(1)
    usable = np.flatnonzero(track.present & ~close)
    if not len(usable):
        raise NoFaceError("every picture is near one in which something stands before the face")
    rows = even_sample(usable, count)
    found: list[tuple[Comparison, np.ndarray, np.ndarray]] = []
    for row, picture in zip(rows, clip.pictures(rows), strict=True):
        similarity, landmarks = track.similarity[row], track.canonical[row].astype(np.float32)
        box = crop_box(similarity, UNITS, clip.height, clip.width)
        unit = cut_crop(picture.rgb_in(box), similarity, UNITS)
        compared = cover_detector.comparison(unit, landmarks)
        if compared is None:
            continue
        cover = cover_detector.cover(unit, landmarks, similarity, shot=int(track.shots[row]))
        touched = np.zeros((UNITS, UNITS), np.uint8) if cover.touched is None else cover.touched
        near = 255 * mouth_and_chin(landmarks, layout).astype(np.uint8)
        found.append((compared, halved(near), halved(touched)))
    if not found:
        raise NoFaceError("no picture shows the face as it usually is")
    return ComparedFaces.of(found, cover_detector.skin)


def covered_moments(path: Path | None) -> dict[str, np.ndarray]:
    """Frames by clip of a file of JSON lines."""
    moments: dict[str, list[int]] = {}
    for line in [] if path is None else path.read_text().splitlines():
        row = json.loads(line)
        moments.setdefault(row["name"], []).append(row["frame"])
    return {name: np.array(frames) for name, frames in moments.items()}


def main(argv: list[str] | None = None) -> None:
    args = parse(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    _, sources = find_sources(args.clips)
    covered, reader, none = covered_moments(args.covered), load_face_reader(), np.zeros(0, int)
    for source in tqdm([one for one in sources if one.split is None or one.split in args.splits]):
        # Of many people the files are called 0001.mp4.
        name, path = source.path.stem, args.out / f"{source.key}.safetensors"
        if {name, source.key} & {*args.leave_out} or path.exists():
            continue
        without = np.concatenate([covered.get(one, none) for one in {name, source.key}])
        try:
            clip = FileClip.open(args.clips / source.path)
            faces = read_faces(clip, reader, args.pictures, without)
        except (MediaError, NoFaceError) as error:
            tqdm.write(f"{source.key} left out: {error}")
            continue
        faces.pack(path, source.identity or source.key)


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.covers.prepare"))
