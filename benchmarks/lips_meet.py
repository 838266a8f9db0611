"""Whether lips meet in finished pictures, in silence and on p, b and m, as a reader that is not ours has it.

The first seconds of every clip are written with digital silence and with their own speech, lag out. The files
are read back by MediaPipe's older face mesh with attention, which has other weights than the face mesh here.
Opening: how far the inner lips are apart along the face's height, over the inter-ocular distance, below zero
where they overlap. Filmed: the median over the most closed fiftieth of the person's own frames, which our
mesh chooses; shut: the share of them that are closed by the bar, no further open than 0.5 %. Silence, from
120 ms on: the mean, the share of frames that are closed by the bar, and of those no more than 0.5 % further
open than the filmed ones. p, b, m, as recognised by PocketSphinx: `closure_rate` of the filmed lips, of the
landmarks that were asked for (our mesh's points) and of the drawn ones; r: between the filmed and the drawn
openings. --files, pictures among them, are written with silence only.

MediaPipe is no dependency of MyTalk: `pip install mediapipe==0.10.14`, into a folder of its own on PYTHONPATH
where its protobuf is in the way.

    python benchmarks/lips_meet.py CLIPS/manifest.jsonl --split val --files CASES/open_mouth_still.mp4 \\
        -o benchmarks/results/lips_meet.md
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import astuple, dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from manifest import rows_of
from motion import SILENCE_FROM_S, Shown, known, read_row
from tables import measured_here

from mytalk_core.appearance.square.crop import cut_crop
from mytalk_core.evaluation.metrics.lips import CLOSED_OPENING, closure_rate, opening_correlation
from mytalk_core.face.alignment import UNITS
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.audio import MODEL_RATE_HZ, Speech
from mytalk_core.media.clip import Clip
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.source import open_clip
from mytalk_core.media.timeline import Timeline, plan_timeline
from mytalk_core.motion.motion import Motion
from mytalk_core.motion.person import EYE_CORNERS, OPENING_PAIRS, interocular, opening_ratio
from mytalk_core.motion.rest import CLOSED_QUANTILE, CLOSES
from mytalk_core.pipeline import LipSync
from mytalk_core.pipeline.write import write

# What the extractor is shown: the canonical square with as much again around it, for its detector.
SHOWN_PX, AROUND = 512, 2.0
# Of a person's most closed frames so many are read, and there are no fewer.
FEWEST, MOST_READ = 3, 10
SILENCE_S = 1.0
WANTED = 0.98


class Extractor:
    """MediaPipe's face mesh with attention. Raises SystemExit, in a line, where it is not installed."""

    def __init__(self) -> None:
        if find_spec("mediapipe") is None:
            raise SystemExit(
                "mediapipe was required, which reads the lips, and is not installed: "
                "pip install mediapipe==0.10.14"
            )
        import mediapipe

        self.version = mediapipe.__version__
        self._mesh = mediapipe.solutions.face_mesh.FaceMesh(
            static_image_mode=True, max_num_faces=1, refine_landmarks=True
        )

    def opening(self, rgb: np.ndarray, similarity: np.ndarray) -> float:
        """How far the lips of a face are apart, inter-ocular distances; nan where no face is found.

        rgb: uint8 (H,W,3); similarity: (2,3), frame px -> canonical units of that face.
        """
        wider = np.c_[similarity[:, :2], similarity[:, 2] + UNITS * (AROUND - 1) / 2] / AROUND
        found = self._mesh.process(cut_crop(rgb, wider, SHOWN_PX)).multi_face_landmarks
        if not found:
            return np.nan
        return lips_apart(np.array([(point.x, point.y) for point in found[0].landmark]))

    def openings(self, clip: Clip, similarity: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
        """`opening` of a clip's frames (F,), or some rows of them; similarity: (T,2,3) of all."""
        read = [self.opening(picture.rgb, similarity[picture.index]) for picture in clip.pictures(rows)]
        return np.array(read)


def lips_apart(landmarks: np.ndarray) -> float:
    """How far the inner lips of landmarks (N,2) are apart along the face's height, inter-ocular distances;
    below zero where they overlap."""
    right, left = (landmarks[list(eye)].mean(0) for eye in EYE_CORNERS)
    across = (left - right) / np.linalg.norm(left - right)
    upper, lower = landmarks[OPENING_PAIRS].mean(0)
    return float((lower - upper) @ (-across[1], across[0]) / interocular(landmarks))


@dataclass(frozen=True)
class Silence:
    """Openings in silence: their mean, the shares that are closed by the bar, and as the filmed ones are."""

    opening: float
    closed: float
    as_filmed: float


@dataclass(frozen=True)
class Speaking:
    """Percent of p, b and m on which the lips meet: filmed, asked for, drawn; r of the openings."""

    filmed: float
    asked: float
    drawn: float
    r: float


@dataclass(frozen=True)
class Figures:
    """Of one clip. filmed: opening of the person's own most closed frames, nan where nobody knows; shut: the
    share of these that are closed by the bar."""

    filmed: float
    shut: float
    silence: Silence
    speaking: Speaking | None = None

    @property
    def closes(self) -> bool:
        """Whether the person closes the mouth at least once."""
        return self.filmed <= CLOSES


@dataclass(frozen=True)
class Bench:
    """What draws and what reads; finished files lie in a folder for as long as they are read."""

    model: LipSync
    extractor: Extractor
    folder: Path

    def finished(
        self, clip: Clip, track: FaceTrack, motion: Motion, timeline: Timeline, speech: Speech
    ) -> np.ndarray:
        """Openings (F,) in the file that is made of a clip and a motion."""
        drawn = self.model.draw(clip, track, motion, timeline, speech=speech)
        path = self.folder / "drawn.mp4"
        write(drawn, path)
        return self.extractor.openings(FileClip.open(path), drawn.track.similarity)

    def silence(self, clip: Clip, track: FaceTrack, filmed: float) -> Silence:
        """Of a clip that is written with silence; filmed: opening of its own closed lips, or nan."""
        samples = np.zeros((1, int(SILENCE_S * MODEL_RATE_HZ)), np.float32)
        speech = Speech.from_waveform(samples, MODEL_RATE_HZ)
        timeline = plan_timeline(clip, SILENCE_S, "cut_off")
        motion = self.model.speak(speech, track, timeline)
        openings = self.finished(clip, track, motion, timeline, speech)
        openings = openings[timeline.times_s >= SILENCE_FROM_S]
        as_filmed = (openings <= max(filmed, 0) + CLOSED_OPENING).mean()
        closed = (openings <= CLOSED_OPENING).mean()
        return Silence(np.nanmean(openings), closed, np.nan if np.isnan(filmed) else as_filmed)

    def filmed(self, clip: Clip, track: FaceTrack) -> np.ndarray:
        """Openings (K,) of the frames in which the person's mouth is most closed."""
        seen = np.flatnonzero(track.present)
        count = int(np.clip(len(seen) * CLOSED_QUANTILE, FEWEST, MOST_READ))
        order = np.argsort(opening_ratio(np.asarray(track.landmarks[seen])))
        return self.extractor.openings(clip, track.similarity, np.sort(seen[order[:count]]))

    def speaking(self, shown: Shown, clip: Clip) -> Speaking:
        """Of a clip that is written with its own speech, lag out."""
        motion = self.model.speak(shown.speech, shown.track, shown.timeline)
        asked = shown.opening(motion.onto(shown.video, shown.times_s))
        filmed = self.extractor.openings(clip, shown.track.similarity)
        drawn = self.finished(clip, shown.track, motion, shown.timeline, shown.speech)
        filmed, drawn = (
            np.interp(shown.times_s, shown.track.times_s[: len(one)], one) + np.where(shown.seen, 0.0, np.nan)
            for one in (filmed, drawn)
        )
        rates = (known(closure_rate(one, shown.bilabials_s)) for one in (filmed, asked, drawn))
        return Speaking(*rates, r=known(opening_correlation(filmed, drawn)))

    def of_row(self, manifest: Path, row: dict, seconds: float, tracks: Path | None) -> Figures:
        """Of the first seconds of a manifest's clip."""
        clip, track, speech, lag_s = read_row(manifest, row, seconds, tracks)
        filmed = self.filmed(clip, track)
        own = float(np.nanmedian(filmed))
        shown = Shown.of(clip, track, speech, lag_s)
        shut = float((filmed <= CLOSED_OPENING).mean())
        return Figures(own, shut, self.silence(clip, track, own), self.speaking(shown, clip))

    def of_file(self, path: Path) -> Figures:
        """Of a file whose person nobody knows."""
        clip = open_clip(path)
        track = self.model.track(clip).choose("largest")
        return Figures(np.nan, np.nan, self.silence(clip, track, np.nan))


def cells(figures: Figures) -> str:
    """The cells of a clip's row, or those of means."""
    silence, speaking = figures.silence, figures.speaking
    parts = [f"{figures.filmed:.3f}", f"{figures.shut:.0%}", f"{silence.opening:.3f}"]
    parts += [f"{silence.closed:.0%}", f"{silence.as_filmed:.0%}"]
    if speaking is None:
        parts += [""] * 4
    else:
        parts += [f"{rate:.0f}%" for rate in astuple(speaking)[:3]] + [f"{speaking.r:.2f}"]
    return " | ".join("" if "nan" in part else part for part in parts)


def mean(figures: list[Figures]) -> Figures:
    """Means over clips."""
    silence = Silence(*np.nanmean([astuple(one.silence) for one in figures], axis=0))
    speaking = Speaking(*np.nanmean([astuple(one.speaking) for one in figures], axis=0))
    shown = np.nanmean([(one.filmed, one.shut) for one in figures], axis=0)
    return Figures(*shown, silence, speaking)


def table(rows: dict[str, Figures], files: dict[str, Figures]) -> list[str]:
    """Markdown lines: means, then a row a clip, those of people who never close their mouths behind."""
    closing = {name: one for name, one in rows.items() if one.closes}
    wide = {name: one for name, one in rows.items() if not one.closes}
    reached = [
        sum(share >= WANTED for share in shares)
        for shares in zip(*((f.silence.closed, f.silence.as_filmed) for f in closing.values()), strict=True)
    ]
    return [
        "| clip | filmed, most closed | shut | silence: opening | closed | as filmed "
        "| p, b, m: filmed | asked for | drawn | r |",
        "|---|---|---|---|---|---|---|---|---|---|",
        f"| **mean of {len(closing)} that close** | {cells(mean(list(closing.values())))} |",
        *(f"| {name} | {cells(one)} |" for name, one in closing.items()),
        *(f"| {name}, never closed | {cells(one)} |" for name, one in wide.items()),
        *(f"| {name} | {cells(one)} |" for name, one in files.items()),
        "",
        f"Clips of people who close their mouths in which {WANTED:.0%} of the frames or more are closed in "
        f"silence: {reached[0]} of {len(closing)}; as closed as the filmed lips: {reached[1]}.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--only", nargs="*", help="ids of clips; all without")
    parser.add_argument("--files", nargs="*", type=Path, default=[], help="videos and pictures beside those")
    parser.add_argument("--seconds", type=float, default=4.0, help="the first of each clip")
    parser.add_argument("--model", default="mini")
    parser.add_argument("--renderer", default="warp")
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    extractor, rows, files = Extractor(), {}, {}
    model = LipSync.from_pretrained(args.model, args.renderer)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(model, extractor, Path(folder))
        for row in rows_of(args.manifest, args.split):
            if not args.only or row["id"] in args.only:
                rows[row["id"]] = bench.of_row(args.manifest, row, args.seconds, args.tracks)
                print(row["id"], rows[row["id"]], flush=True)
        for path in args.files:
            files[path.name] = bench.of_file(path)
            print(path.name, files[path.name], flush=True)
    lines = [
        "# Lips that meet",
        "",
        f"{measured_here()}, model {Path(args.model).name} (motion "
        f"{model.hashes['motion'][:12]}), renderer {args.renderer}, split {args.split}, {args.seconds:g} "
        f"s of each clip at most, read by mediapipe {extractor.version}. `python benchmarks/lips_meet.py`",
        "",
        *table(rows, files),
    ]
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
