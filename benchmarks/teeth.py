"""Rubber teeth: how much better the lips' movement explains the upper teeth than the head's does.

Every clip of a split speaks the next clip's speech, its first seconds only. The metric `teeth_stretch`
(`mytalk_core/evaluation/metrics/teeth.py`) is taken between frames that are one and two apart, of the real
video and of each renderer's; landmarks are read back from the pictures. Writes a Markdown table; with --keep
FOLDER a picture a clip: twelve consecutive frames, mouth enlarged, the source's above each renderer's.

    python benchmarks/teeth.py CLIPS/manifest.jsonl --split val -o benchmarks/results/teeth.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from manifest import rows_of
from motion import read_track
from tables import measured_here, table_head, table_row

from mytalk_core.appearance.square.raster import Triangulation, triangulate
from mytalk_core.evaluation.metrics.regions import face_crop
from mytalk_core.evaluation.metrics.teeth import FaceCrop, teeth_stretch
from mytalk_core.face import alignment
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.mesh import region_from_landmarks
from mytalk_core.face.reader import FaceReader
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.arranged import part_of
from mytalk_core.media.audio import Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.picture import Picture
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.pipeline import LipSync

FEWEST = 8  # pairs of frames that tell something, for a clip to count
SHOWN = 12
ENLARGED = 4


class Strip:
    """Mouths of twelve consecutive frames from the middle of a clip, enlarged."""

    def __init__(self, frames: int, layout: LandmarkLayout):
        self.layout, self.first = layout, max(0, (frames - SHOWN) // 2)
        self.width = 0  # px, half of what is shown, by the first of the frames with a face
        self.mouths: list[np.ndarray] = []

    def see(self, picture: Picture, face: FaceTrack) -> None:
        """A frame; the place is where the source's mouth is."""
        if self.first <= picture.index < self.first + SHOWN:
            lips = face.landmarks[np.array([picture.index])][0, self.layout.lips_outer, :2]
            self.width = self.width or max(int(0.7 * np.ptp(lips[:, 0])), 2)
            x, y = np.rint(lips.mean(0)).astype(int)
            size = 2 * self.width, int(1.6 * self.width)
            part = cv2.getRectSubPix(picture.rgb, size, (float(x), float(y)))
            self.mouths.append(
                cv2.resize(part, None, fx=ENLARGED, fy=ENLARGED, interpolation=cv2.INTER_CUBIC)
            )


def stretches(
    pictures: Iterable[Picture], face: FaceTrack, reader: FaceReader | None, mesh: Triangulation, strip: Strip
) -> list[float]:
    """`teeth_stretch` of a clip's neighbours. face: the source's; reader: reads the lips of pictures that
    are not the source's again."""
    near: list[tuple[int, FaceCrop]] = []
    values = []
    for picture in pictures:
        row = np.array([picture.index])
        if not face.present[row[0]]:
            continue
        strip.see(picture, face)
        similarity, landmarks = face.similarity[row[0]], face.canonical[row][0]
        if reader is not None:
            region = region_from_landmarks(face.landmarks[row][0])
            found, _ = reader.mesh.read([picture.rgb], [region])
            landmarks = alignment.apply(similarity, mesh.layout.from_source(found)[0, :, :2])
        mouth = FaceCrop(face_crop(picture.rgb, similarity), landmarks)
        for index, other in near:
            if picture.index - index <= 2 and face.shots[index] == face.shots[picture.index]:
                value = teeth_stretch(other, mouth, mesh)
                if value is not None:
                    values.append(value)
        near = [*near[-1:], (picture.index, mouth)]
    return values


def measure(
    models: dict[str, LipSync], clip: Clip, track: FaceTrack, speech: Speech, keep: Path | None
) -> dict[str, list[float]]:
    """The values of one clip, of the real video and by renderer."""
    any_model = next(iter(models.values()))
    timeline = plan_timeline(clip, clip.duration_s)
    motion = any_model.speak(speech, track, timeline)
    mesh = triangulate(LandmarkLayout.load(track.layout))
    strips = {"real": Strip(len(clip), mesh.layout)}
    values = {"real": stretches(clip.pictures(), track, None, mesh, strips["real"])}
    for name, model in models.items():
        drawn = model.draw(clip, track, motion, timeline)
        strips[name] = Strip(len(clip), mesh.layout)
        values[name] = stretches(drawn.pictures(), track, model.reader, mesh, strips[name])
    if keep is not None:
        rows = [np.hstack(strip.mouths) for strip in strips.values() if strip.mouths]
        if rows:
            cv2.imwrite(str(keep), np.vstack(rows)[..., ::-1])
    return values


def table(results: dict[str, dict[str, list[float]]], split: str, seconds: float) -> str:
    """Markdown: by clip and the mean; a dash for a clip with too few frames that tell something."""
    names = list(next(iter(results.values())))
    means = {
        clip: {name: np.mean(v) if len(v) >= FEWEST else np.nan for name, v in values.items()}
        for clip, values in results.items()
    }
    lines = table_head(["clip", *names])
    whole = [own for own in means.values() if np.isfinite(list(own.values())).all()]
    for clip, own in means.items():
        cells = ["–" if np.isnan(value) else f"{value:.2f}" for value in own.values()]
        lines.append(table_row([clip, *cells]))
    cells = [f"**{np.mean([own[name] for own in whole]):.2f}**" for name in names]
    lines.append(table_row([f"**mean of {len(whole)}**", *cells]))
    return (
        "# Teeth that stretch with the lips\n\n"
        f"{measured_here()}, split {split}, the first {seconds:g} s of each "
        "clip with the next one's speech. By benchmarks/teeth.py: how much better the lips' movement "
        "explains that of the upper teeth than the head's does, dB; bone has about 0. A dash: fewer than "
        f"{FEWEST} pairs of frames show teeth between moving lips; the mean is over clips without one.\n\n"
        + "\n".join(lines)
        + "\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--renderer", nargs="+", default=["warp", "network"])
    parser.add_argument("--seconds", type=float, default=3.0, help="of each clip")
    parser.add_argument("--only", nargs="*", help="ids of clips; all without")
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    parser.add_argument("--keep", type=Path, help="folder for the strips")
    parser.add_argument("-o", "--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = rows_of(args.manifest, args.split)
    first = LipSync.from_pretrained(args.model, args.renderer[0])
    models = {args.renderer[0]: first} | {name: first.with_renderer(name) for name in args.renderer[1:]}
    if args.keep:
        args.keep.mkdir(parents=True, exist_ok=True)
    results = {}
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        if args.only and row["id"] not in args.only:
            continue
        video = args.manifest.parent / row["file"]
        clip = part_of(FileClip.open(video), 0, args.seconds)
        speech = Speech.open(args.manifest.parent / other["file"])
        track = read_track(video, args.tracks).take(np.arange(len(clip)), clip.times_s)
        keep = args.keep / f"{row['id']}.png" if args.keep else None
        results[row["id"]] = measure(models, clip, track, speech, keep)
        print(row["id"], *(f"{n} {np.mean(v):.2f} ({len(v)})" for n, v in results[row["id"]].items() if v))
    text = table(results, args.split, args.seconds)
    print(text)
    if args.out:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
