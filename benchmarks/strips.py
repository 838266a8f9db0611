"""Mouths of neighbouring frames, enlarged: the source above, and below it a row of each renderer's.

Every FACE says SPEECH. Shown are the neighbouring frames over which the mouth moves farthest; what is to be
looked at is whether teeth hold still, keep their size and are sharp.

    python benchmarks/strips.py SPEECH FACE FACE ... -o strips.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from mytalk_core.appearance.references.references import mouth_opening
from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.media.arranged import part_of
from mytalk_core.media.audio import Speech
from mytalk_core.media.source import open_clip
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.pipeline import LipSync

FRAMES, SECONDS = 12, 3.0
# Mouths this large, of windows so many units wide and high about the lips.
CELL_PX, ACROSS = (132, 88), (72, 48)
QUALITY = 85


def busiest(openings: np.ndarray, frames: int) -> int:
    """Where the `frames` neighbouring ones of openings (T,) begin that change the most."""
    ranges = [np.ptp(openings[start : start + frames]) for start in range(len(openings) - frames + 1)]
    return int(np.argmax(ranges))


def mouth(rgb: np.ndarray, similarity: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The window about a mouth, its centre (2,) in canonical units: uint8, CELL_PX."""
    scale = CELL_PX[0] / ACROSS[0]
    crop = cut_crop(rgb, similarity, round(UNITS * scale))
    return cv2.getRectSubPix(crop, CELL_PX, tuple(map(float, centre * scale)))


def strip(models: list[LipSync], path: Path, speech: Speech, frames: int) -> np.ndarray:
    """Rows of mouths: the source's, then each model's."""
    clip, seconds = open_clip(path), min(SECONDS, speech.duration_s)
    if len(clip) > 1:
        clip = part_of(clip, 0, min(seconds, clip.duration_s))
        seconds = clip.duration_s
    track = models[0].track(clip).choose()
    timeline = plan_timeline(clip, seconds)
    motion = models[0].speak(speech, track, timeline)
    videos = [model.draw(clip, track, motion, timeline) for model in models]
    layout, targets = LandmarkLayout.load(track.layout), videos[0].targets[:]
    start = busiest(mouth_opening(targets, layout), frames)
    index = np.arange(start, start + frames)
    shown = videos[0].track
    rows = []
    for pictures in (clip.pictures(timeline.source_index[index]), *(v.pictures(index) for v in videos)):
        cells = [
            mouth(picture.rgb, shown.similarity[i], targets[i][layout.lips_outer].mean(0))
            for i, picture in zip(index, pictures, strict=True)
        ]
        rows.append(np.hstack(cells))
    return np.vstack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("speech", type=Path)
    parser.add_argument("face", type=Path, nargs="+", help="videos or pictures")
    parser.add_argument("--renderer", nargs="+", default=["warp", "network"])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--frames", type=int, default=FRAMES)
    parser.add_argument("-o", "--out", type=Path, required=True, help="JPEG")
    args = parser.parse_args()
    first = LipSync.from_pretrained(args.model, args.renderer[0])
    models = [first, *(first.with_renderer(name) for name in args.renderer[1:])]
    speech = Speech.open(args.speech)
    strips = [strip(models, path, speech, args.frames) for path in args.face]
    sheet = np.vstack([np.pad(rows, ((0, 6), (0, 0), (0, 0))) for rows in strips])
    quality = [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
    cv2.imwrite(str(args.out), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR), quality)
    print(f"{args.out}: {len(strips)} faces, rows: source, {', '.join(args.renderer)}")


if __name__ == "__main__":
    main()
