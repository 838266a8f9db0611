"""Cut the inside of one face's open mouths (`mytalk_core/appearance/open_mouths.py`).

    python -m mytalk_training.refiner.cut_interiors VIDEO -o OUT

They are spread over the openings and shapes of the video's mouth. Of each picture only what is between the
lips is kept, and a rim of `RIM` units about it, which the soft edge of the lips needs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from safetensors.numpy import save_file

from mytalk_core.appearance.references.open_mouths import FEWEST, SQUARE, colours_of, luma_chroma
from mytalk_core.appearance.references.pool import choose_pool
from mytalk_core.appearance.references.references import References, mouth_opening, read_references
from mytalk_core.appearance.square.mask import INNER, lip_map
from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.file_clip import FileClip
from mytalk_core.pipeline import stages
from mytalk_core.program import in_one_line

RIM = 3  # units
TEETH = 0.1  # of what is between the lips, the brightest, are teeth


def cut(references: References, layout: LandmarkLayout) -> dict[str, np.ndarray]:
    """The tensors of the file: pictures uint8 (K,h,w,3), corners int32 (K,2), their top and left in crops,
    landmarks float32 (K,N,2), canonical units, and colours float32 (3,3) of lips, inside and teeth."""
    size, kernel = references.size, np.ones((2 * RIM + 1,) * 2)
    insides = []
    for landmarks in references.landmarks:
        inner = (lip_map(landmarks, layout, SQUARE) == INNER).astype(np.uint8)
        inside = cv2.dilate(inner, kernel)
        insides.append(cv2.resize(inside, (size, size), interpolation=cv2.INTER_NEAREST) > 0)
    boxes = np.array([cv2.boundingRect(inside.astype(np.uint8)) for inside in insides])
    width, height = boxes[:, 2:].max(0)
    corners = np.minimum(boxes[:, 1::-1], (size - height, size - width))
    pictures = np.stack(
        [
            (crop * inside[..., None])[top : top + height, left : left + width]
            for crop, inside, (top, left) in zip(references.crops, insides, corners, strict=True)
        ]
    )
    colours = [colours_of(references, layout).lips, *inside_colours(references, layout)]
    return {
        "pictures": pictures,
        "corners": corners.astype(np.int32),
        "landmarks": references.landmarks,
        "colours": np.stack(colours).astype(np.float32),
    }


def inside_colours(references: References, layout: LandmarkLayout) -> tuple[np.ndarray, np.ndarray]:
    """Luma and chroma (3,) of what is between the lips on the mean, and of teeth, its brightest tenth."""
    small = references.resized(UNITS)
    pairs = zip(small.crops, small.landmarks, strict=True)
    parts = [luma_chroma(crop)[lip_map(points, layout, SQUARE) == INNER] for crop, points in pairs]
    inside = np.concatenate(parts)
    return inside.mean(0), inside[inside[:, 0] >= np.quantile(inside[:, 0], 1 - TEETH)].mean(0)


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    parser.add_argument("video", type=Path, help="of one face, in its largest size")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of interiors.safetensors")
    parser.add_argument("--count", type=int, default=32, help="mouths to keep")
    parser.add_argument("--size", type=int, default=320, help="side of the crops they are cut from, pixels")
    args = parser.parse_args()
    clip = FileClip.open(args.video)
    track = stages.track(load_face_reader(), clip).choose()
    layout = LandmarkLayout.load(track.layout)
    opened = track.present & (mouth_opening(track.canonical[:], layout) >= FEWEST)
    pool = choose_pool(opened, track.canonical, layout, args.count)
    references = read_references(clip, track, pool, args.size, layout)
    args.out.mkdir(parents=True, exist_ok=True)
    save_file(cut(references, layout), args.out / "interiors.safetensors", {"size": str(args.size)})
    openings = ", ".join(f"{value:.0f}" for value in np.sort(mouth_opening(references.landmarks, layout)))
    print(f"{args.out}: {len(references)} mouths, open {openings} units")


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.refiner.cut_interiors"))
