"""Whether two states of the code make the same videos: a hash of every decoded plane and time.

Runs `mytalk sync` on each pair of video and speech, video and mask, and writes what they hash to. Given the
file of an earlier run it says what is no longer the same.

    python benchmarks/frame_hashes.py VIDEO SPEECH -o before.json
    python benchmarks/frame_hashes.py VIDEO SPEECH -o after.json --against before.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np

OPTIONS = ("--seed", "1")


def decoded(path: Path) -> dict[str, object]:
    """Frames of a video's first picture stream and sha256 of their times, pixel formats and samples."""
    total, frames = hashlib.sha256(), 0
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames += 1
            total.update(f"{frame.time} {frame.format.name}".encode())
            bits = [component.bits for component in frame.format.components]
            for plane in frame.planes:
                # Rows end in padding of any content; planes of packed formats are wider than the picture.
                rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
                bytes_a_row = plane.width * (2 if max(bits) > 8 else 1)
                packed = sum(bits) // 8 if len(frame.planes) == 1 and len(bits) > 1 else 1
                total.update(rows[:, : bytes_a_row * packed].tobytes())
    return {"frames": frames, "sha256": total.hexdigest()}


def synced(video: Path, speech: Path, options: list[str]) -> dict[str, object]:
    """What `mytalk sync` makes of a pair, video and mask, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        # Lossless, so that the hash is of what was drawn and not of what an encoder made of it.
        out, mask = Path(folder) / "out.mkv", Path(folder) / "mask.mkv"
        command = [sys.executable, "-m", "mytalk_core", "sync", video, speech, "-o", out, "--codec", "ffv1"]
        command += ["--save-mask", mask, *OPTIONS, *options]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return {"video": decoded(out), "mask": decoded(mask)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+", metavar="VIDEO SPEECH", help="pairs of files")
    parser.add_argument("--against", type=Path, help="what an earlier run wrote")
    parser.add_argument("--options", nargs="*", default=[], help="further options of `mytalk sync`, last")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    if len(args.files) % 2:
        parser.error(f"pairs of a video and a speech are needed; got {len(args.files)} files")
    before = json.loads(args.against.read_text()) if args.against else {}
    after: dict[str, dict[str, object]] = {}
    differ = False
    for video, speech in zip(args.files[::2], args.files[1::2], strict=True):
        name = f"{video.name} + {speech.name}"
        after[name] = synced(video, speech, args.options)
        args.out.write_text(json.dumps(after, indent=2) + "\n")
        verdict = "" if name not in before else "equal" if before[name] == after[name] else "DIFFERENT"
        differ |= verdict == "DIFFERENT"
        print(name, json.dumps(after[name]), verdict)
    if differ:
        sys.exit(1)


if __name__ == "__main__":
    main()
