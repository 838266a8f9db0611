"""Whether an emotional reference is to be seen on a face that says one speech, by who lends the emotion.

Every reference is measured over its own clip: the height of the mouth's corners over the middle of the lips,
the mouth's width and its mean opening, all in inter-ocular distances, head turned to the front. The same is
measured of FACE, which says SPEECH with none, half and all of each reference's expression. Over all of them:
slope and Pearson's r of the results on their references, the share of pairs of references whose results are
in the same order, and for how many every step of the strength goes the same way. References of --show are
drawn as well, and measured in the finished picture; --sheet gets mouths of it: a row for no reference and for
each, the same moments.

    python benchmarks/emotion.py FACE SPEECH --reference smiling=A.mp4 --reference angry=B.mp4 \\
        --show smiling angry --sheet docs/emotion.jpg -o benchmarks/results/emotion.md
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tables import measured_here

from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.face import alignment
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.arranged import part_of
from mytalk_core.media.audio import Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.timeline import plan_timeline
from mytalk_core.motion.emotion import Identity
from mytalk_core.motion.generate import MotionOptions
from mytalk_core.motion.motion import Motion
from mytalk_core.motion.person import MOUTH_CORNERS, find_rest, interocular, opening_ratio
from mytalk_core.pipeline import LipSync

STRENGTHS = (0.0, 0.5, 1.0)
MEASURES = ("corner height", "width", "opening")
MIDDLE = [13, 14]
# Of the reference more tells no more.
REFERENCE_S = 10.0
# Of the canonical square, so large, the mouth and what is around it.
FACE_PX, MOUTH = 400, (slice(176, 336), slice(112, 288))
COLUMNS, SHEET_QUALITY = 6, 80


def measures(shape: np.ndarray) -> np.ndarray:
    """`MEASURES` (3,) of landmarks (F,N,2 or 3), means over the frames in inter-ocular distances."""
    corners = list(MOUTH_CORNERS)
    height = (shape[:, MIDDLE, 1].mean(1) - shape[:, corners, 1].mean(1)) / interocular(shape)
    width = np.linalg.norm(np.diff(shape[:, corners], axis=1)[:, 0], axis=-1) / interocular(shape)
    return np.array([height.mean(), width.mean(), opening_ratio(shape).mean()])


def shown_by(track: FaceTrack) -> np.ndarray:
    """`measures` of a face that is filmed, turned to the front."""
    landmarks = track.landmarks[track.seen_rows(500)]
    anchors = LandmarkLayout.load(track.layout).anchors
    return measures(alignment.fit_pose(landmarks, find_rest(track).rest, anchors).to_frontal(landmarks))


@dataclass(frozen=True)
class Stage:
    """A face and what it says."""

    model: LipSync
    clip: Clip
    track: FaceTrack
    speech: Speech

    def speak(self, identity: Identity | None, strength: float) -> Motion:
        """The motion with so much of a reference's expression."""
        options = MotionOptions(emotion_strength=strength)
        timeline = plan_timeline(self.clip, self.clip.duration_s)
        return self.model.speak(self.speech, self.track, timeline, options, identity)

    def measured(self, motion: Motion) -> np.ndarray:
        """`measures` of a motion."""
        return measures(motion.onto(self.track.canonical[:], self.track.times_s))

    def drawn(self, motion: Motion) -> tuple[np.ndarray, list[np.ndarray]]:
        """`measures` of the finished picture's face, and mouths (H,W,3) RGB of some frames."""
        timeline = plan_timeline(self.clip, self.clip.duration_s)
        video = self.model.draw(self.clip, self.track, motion, timeline)
        read = self.model.track(video).choose()
        index = np.linspace(0, len(video) - 1, COLUMNS + 2).astype(int)[1:-1]
        cells = [
            cut_crop(picture.rgb, self.track.similarity[i], FACE_PX)[MOUTH]
            for i, picture in zip(index, video.pictures(index), strict=True)
        ]
        return measures(read.canonical[:]), cells


def follows(references: np.ndarray, results: np.ndarray) -> list[str]:
    """Markdown lines: how results (R,S,3) at `STRENGTHS` follow references (R,3)."""
    lines = ["| measure | slope | r | pairs in order | monotone in strength |", "|---|---|---|---|---|"]
    first, second = np.triu_indices(len(references), 1)
    for k, name in enumerate(MEASURES):
        lent, shown = references[:, k], results[:, :, k]
        slope, r = np.polyfit(lent, shown[:, -1], 1)[0], np.corrcoef(lent, shown[:, -1])[0, 1]
        ordered = (lent[first] - lent[second]) * (shown[first, -1] - shown[second, -1]) > 0
        steps = np.diff(shown, axis=1)
        monotone = int((steps > 0).all(1).sum() + (steps < 0).all(1).sum())
        lines.append(f"| {name} | {slope:.2f} | {r:.2f} | {ordered.mean():.0%} | {monotone} of {len(lent)} |")
    return lines


def cells(values: np.ndarray) -> str:
    return " | ".join(f"{value:.3f}" for value in values)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("face", type=Path)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--reference", action="append", required=True, metavar="NAME=FILE")
    parser.add_argument("--show", nargs="*", default=[], help="names of references that are drawn")
    parser.add_argument("--seconds", type=float, default=4.0, help="of the face")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--sheet", type=Path, help="JPEG of the frames drawn")
    parser.add_argument("-o", "--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    args = parse()
    model = LipSync.from_pretrained(args.model)
    clip = FileClip.open(args.face)
    clip = part_of(clip, 0, min(args.seconds, clip.duration_s))
    stage = Stage(model, clip, model.track(clip).choose(), Speech.open(args.speech))
    own = shown_by(stage.track)
    alone = stage.speak(None, 1.0)
    rows = [f"| none | {cells(own)} | {cells(stage.measured(alone))} | | | |"]
    drawn, sheet = [], []
    if args.show:
        found, row = stage.drawn(alone)
        drawn.append(f"| none | {cells(found)} |")
        sheet.append(np.hstack(row))
    references, results = [], []
    for name, _, file in (text.partition("=") for text in args.reference):
        lender = FileClip.open(file)
        lender = part_of(lender, 0, min(REFERENCE_S, lender.duration_s))
        track = model.track(lender).choose()
        identity = model.identify(track)
        motions = [stage.speak(identity, strength) for strength in STRENGTHS]
        references.append(shown_by(track))
        results.append([stage.measured(motion) for motion in motions])
        rows.append(
            f"| {name} | {cells(references[-1])} | {cells(results[-1][2])} | {cells(results[-1][1])} |"
        )
        print(rows[-1], flush=True)
        if name in args.show:
            found, row = stage.drawn(motions[-1])
            drawn.append(f"| {name} | {cells(found)} |")
            sheet.append(np.hstack(row))
    lines = [
        "# Emotion of another person",
        "",
        f"{measured_here()}, model {Path(args.model).name} (motion "
        f"{model.motion.hashes['motion'][:12]}), {args.face.name} says {args.speech.name}, "
        f"{args.seconds:g} s. `python benchmarks/emotion.py`",
        "",
        "Inter-ocular distances:",
        "",
        "| reference | its corner height | width | opening | corner height | width | opening "
        "| at half strength | width | opening |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "How the results follow their references:",
        "",
        *follows(np.array(references), np.array(results)),
    ]
    if drawn:
        lines += ["", "Read back from the finished picture:", ""]
        lines += ["| reference | corner height | width | opening |", "|---|---|---|---|", *drawn]
    if args.sheet is not None and sheet:
        picture = cv2.cvtColor(np.vstack(sheet), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(args.sheet), picture, [cv2.IMWRITE_JPEG_QUALITY, SHEET_QUALITY])
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
