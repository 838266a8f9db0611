"""Turn a folder of talking clips into a motion dataset.

    python -m training.prepare CLIPS -o DATASET

CLIPS/manifest.jsonl has one row a clip: id, file, split, identity, sync ("yes" where sound and lips were
confirmed to agree) and sync_lag_ms (how much later than the sound the lips move). For each clip of the
chosen splits DATASET gets ID.safetensors: its pose-free movement, its speech at 16 kHz shifted by the lag,
and its identity. Clips that are there already are left alone, so an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from tqdm import tqdm

from mytalk_core.errors import MediaError, NoFaceError
from mytalk_core.face.tracker import FaceReader, load_face_reader, track_faces
from mytalk_core.media.audio import MODEL_RATE_HZ, Speech
from mytalk_core.media.video import Clip
from mytalk_core.motion.person import RATE_HZ, find_rest, remove_pose
from mytalk_core.speech.features import SAMPLES_PER_FRAME


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder with manifest.jsonl")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the dataset's folder")
    parser.add_argument("--splits", nargs="+", default=["train"], help="splits of the manifest to take")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in (args.clips / "manifest.jsonl").read_text().splitlines()]
    wanted = [row for row in rows if row["split"] in args.splits and row["sync"] == "yes"]
    reader = load_face_reader(args.device)
    dropped = {}
    for row in tqdm(wanted, desc="clips"):
        path = args.out / f"{row['id']}.safetensors"
        if path.exists():
            continue
        try:
            prepare_clip(args.clips / row["file"], row, path, reader)
        except (MediaError, NoFaceError) as error:
            dropped[row["id"]] = str(error)
    report = {"taken": len(wanted) - len(dropped), "of": len(rows), "dropped": dropped}
    (args.out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))


def prepare_clip(video: Path, row: dict, path: Path, reader: FaceReader) -> None:
    """Write one clip's file: displacement (F,N,3) at 25 Hz, present (F,), rest (N,3), speech (S,) int16."""
    clip = Clip.open(video)
    track = track_faces(clip.frames(), clip.times_s, reader).choose("largest")
    person = find_rest(track)
    speech = shift(Speech.open(video).mono_16k, (row["sync_lag_ms"] or 0) / 1000)
    frames = min(int(clip.duration_s * RATE_HZ), len(speech) // SAMPLES_PER_FRAME)
    motion = remove_pose(track, person, 0, frames)
    tensors = {
        "displacement": motion.displacement.astype(np.float16),
        "present": motion.present.astype(np.uint8),
        "rest": person.rest,
        "speech": np.round(speech[: frames * SAMPLES_PER_FRAME].clip(-1, 1) * 32767).astype(np.int16),
    }
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, {"identity": row["identity"], "layout": track.layout})
    temporary.replace(path)


def shift(speech: np.ndarray, lag_s: float) -> np.ndarray:
    """Speech (S,) delayed by lag_s seconds (cut in front where negative), so that the lips agree with it."""
    samples = round(lag_s * MODEL_RATE_HZ)
    return np.concatenate([np.zeros(samples, speech.dtype), speech]) if samples > 0 else speech[-samples:]


if __name__ == "__main__":
    main()
