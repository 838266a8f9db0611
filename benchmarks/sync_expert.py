"""Whether the lip-sync expert hears that sound and lips belong together.

For every sync-confirmed clip of a split, the manifest's lag taken out first: (1) seconds of lips, one after
the other, each with its own second of sound and with the same sound moved by 0.2 to 1 s either way, in steps
of a frame; told apart: the share of moved sounds that are farther from the lips than the true one. Nothing
beyond the second is seen. (2) The offset found over the whole clip,
which should be 0. Writes a Markdown table.

    python benchmarks/sync_expert.py CLIPS/manifest.jsonl -o benchmarks/results/sync_expert.md
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from motion import read_track
from mytalk_training.dataset.samples import shift
from tables import measured_here
from torch import Tensor

from mytalk_core.checkpoint.pretrained import WEIGHTS_NAME, file_sha256, resolve_folder
from mytalk_core.expert.sync_expert import MAX_SHIFT, SyncExpert, SyncScore
from mytalk_core.face.track import FaceTrack
from mytalk_core.media.audio import MODEL_RATE_HZ, Speech
from mytalk_core.motion.person import RATE_HZ, find_rest, remove_pose
from mytalk_core.motion.space import LandmarkSpace
from mytalk_core.speech.features import SpeechEncoder

WINDOW = 25
SHIFTS = [s for s in range(-25, 26) if abs(s) >= 5]
NEEDED_TOLD, NEEDED_FOUND = 0.85, 0.80


@dataclass(frozen=True)
class Figures:
    """told: by window, the share of moved sounds farther than the true one; score: of the whole clip."""

    told: list[float]
    score: SyncScore

    @property
    def found(self) -> bool:
        """Whether the offset is right within a frame."""
        return abs(self.score.offset_frames) <= 1


def read_pair(
    row: dict, track: FaceTrack, speech: np.ndarray, space: LandmarkSpace, encoder: SpeechEncoder
) -> tuple[Tensor, Tensor]:
    """Lips (F,D) and speech features (2F,L,Ds) of a clip, its own lag taken out."""
    speech = shift(speech, (row.get("sync_lag_ms") or 0) / 1000)
    frames = int(min(track.times_s[-1], len(speech) / MODEL_RATE_HZ) * RATE_HZ)
    free = remove_pose(track, find_rest(track), 0, frames)
    return space.encode_lower(free.displacement), encoder.encode(torch.from_numpy(speech), 2 * frames)


@torch.no_grad()
def measure(expert: SyncExpert, lips: Tensor, features: Tensor) -> Figures:
    """Figures of one clip: lips (F,D), features (2F,L,Ds)."""
    told = []
    for start in range(0, len(lips) - WINDOW + 1, WINDOW):
        starts = [start, *(start - s for s in SHIFTS if 0 <= start - s <= len(lips) - WINDOW)]
        sounds = torch.stack([features[2 * begin : 2 * (begin + WINDOW)] for begin in starts]).float()
        window = expert.embed_motion(lips[None, start : start + WINDOW])
        cosine = (window * expert.embed_speech(sounds)).sum(-1).mean(1)
        if len(starts) > 1:
            told.append((cosine[1:] < cosine[0]).float().mean().item())
    return Figures(told, expert.score(lips, features.float()))


def table(rows: dict[str, Figures], header: list[str]) -> str:
    """The Markdown table."""
    lines = [
        *header,
        "",
        "| clip | seconds | told apart | nearest of all | offset, frames | confidence |",
        "|---|---|---|---|---|---|",
    ]
    for name, figures in rows.items():
        best = np.mean([share == 1 for share in figures.told])
        lines.append(
            f"| {name} | {len(figures.told)} | {np.mean(figures.told):.1%} | {best:.1%} "
            f"| {figures.score.offset_frames:+d} | {figures.score.confidence:.2f} |"
        )
    told = np.concatenate([figures.told for figures in rows.values()])
    found = np.mean([figures.found for figures in rows.values()])
    by_clip = np.mean([np.mean(figures.told) for figures in rows.values()])
    confidence = np.mean([figures.score.confidence for figures in rows.values()])
    enough = [_verdict(told.mean() >= NEEDED_TOLD), _verdict(found >= NEEDED_FOUND)]
    lines += [
        f"| **all {len(rows)}** | {len(told)} | **{told.mean():.1%}** | {(told == 1).mean():.1%} "
        f"| within 1: **{found:.0%}** | {confidence:.2f} |",
        "",
        f"True sound against moved sound: {told.mean():.1%} of pairs over all seconds (mean of clips "
        f"{by_clip:.1%}); wanted {NEEDED_TOLD:.0%}: {enough[0]}. In "
        f"{np.mean(told > 0.5):.1%} of the seconds the true sound is nearer than most moved ones, in "
        f"{(told == 1).mean():.1%} than all (up to {len(SHIFTS)}). Offset within a frame on "
        f"{found:.0%} of the clips (±{MAX_SHIFT} frames searched); wanted {NEEDED_FOUND:.0%}: {enough[1]}.",
    ]
    return "\n".join(lines) + "\n"


def _verdict(reached: bool) -> str:
    return "reached" if reached else "not reached"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="mini", help="whose landmark space and speech encoder it reads")
    parser.add_argument("--expert", type=Path, help="folder of another expert than the model's own")
    parser.add_argument("--tracks", type=Path, help="folder that keeps face tracks between runs")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    folder = args.expert or resolve_folder(args.model, "sync")
    expert = SyncExpert.from_pretrained(folder)
    space = LandmarkSpace.from_pretrained(args.model, "space")
    encoder = SpeechEncoder.from_pretrained(args.model, "speech", layers=expert.config.speech_layers)
    figures = {}
    for line in args.manifest.read_text().splitlines():
        row = json.loads(line)
        if row["split"] != args.split or row["sync"] != "yes":
            continue
        video = args.manifest.parent / row["file"]
        track, speech = read_track(video, args.tracks), Speech.open(video).mono_16k
        figures[row["id"]] = measure(expert, *read_pair(row, track, speech, space, encoder))
        print(row["id"], figures[row["id"]].score, flush=True)
    digest = file_sha256(folder / WEIGHTS_NAME)[:12]
    header = [
        "# The lip-sync expert",
        "",
        f"{measured_here()}, expert {digest}, split {args.split}. `python benchmarks/sync_expert.py`",
    ]
    args.out.write_text(table(figures, header))
    print(table(figures, header))


if __name__ == "__main__":
    main()
