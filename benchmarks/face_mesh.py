"""The face mesh against MediaPipe: the same points, and the time a frame takes on one CPU thread.

Accuracy: on each picture of a reference folder, detector then mesh as on a still image, against the landmarks
MediaPipe's own FaceLandmarker v2 gave (mediapipe_face_landmarker_v2.npz, 478 x 3 px a picture).
Speed: both follow the same frames of a video, each in a process of its own held to one CPU, in turn, several
times; processor time is what is compared, since it does not count what else the machine does. MediaPipe needs
another numpy and protobuf than most projects, so it lives in an environment of its own.

    python benchmarks/face_mesh.py REFERENCE_FOLDER VIDEO --mediapipe-python VENV/bin/python -o TABLE.md
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from tables import measured_here

FRAMES = 120
ROUNDS = 5

MEDIAPIPE = """
import sys, time, numpy, mediapipe
frames = numpy.load(sys.argv[1])
mesh = mediapipe.solutions.face_mesh.FaceMesh(max_num_faces=1, refine_landmarks=True)
for frame in frames[:10]:
    mesh.process(frame)
start = time.process_time()
found = sum(bool(mesh.process(frame).multi_face_landmarks) for frame in frames)
print((time.process_time() - start) / len(frames) * 1000, found)
"""


def accuracy(folder: Path) -> dict[str, float]:
    """Mean distance to MediaPipe's points, in percent of the inter-ocular distance, by picture."""
    from mytalk_core.face.mesh import region_from_box
    from mytalk_core.face.reader import load_face_reader

    reader = load_face_reader()
    expected = np.load(folder / "mediapipe_face_landmarker_v2.npz")
    errors = {}
    for name in expected.files:
        picture = cv2.cvtColor(cv2.imread(str(folder / f"{name}.png")), cv2.COLOR_BGR2RGB)
        face = reader.detector.detect(picture)[0]
        region = region_from_box(face.box, face.key_points[0], face.key_points[1])
        landmarks, _ = reader.mesh.read([picture], [region])
        distance = np.linalg.norm(landmarks[0, :, :2] - expected[name][:, :2], axis=-1).mean()
        eyes = np.linalg.norm(expected[name][468, :2] - expected[name][473, :2])
        errors[name] = float(distance / eyes * 100)
    return errors


def follow_frames(path: str) -> None:
    """The worker on our side: processor milliseconds a frame of the tracker, and frames with a face."""
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    from mytalk_core.face.reader import load_face_reader
    from mytalk_core.media.image_clip import ImageClip
    from mytalk_core.pipeline.stages import track

    frames = np.load(path)
    reader = load_face_reader()

    def run(part: np.ndarray) -> int:
        return int(track(reader, ImageClip.from_frames(part, 25)).choose().present.sum())

    run(frames[:16])
    start = time.process_time()
    found = run(frames)
    print((time.process_time() - start) / len(frames) * 1000, found)


def one_cpu() -> None:
    """Hold the child to one processor, so that neither side can use a second."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def milliseconds(command: list[str]) -> float:
    """Run a worker on one CPU; processor milliseconds a frame."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    run = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, preexec_fn=one_cpu
    )
    return float(run.stdout.split()[-2])


def speed(video: Path, python: str) -> tuple[list[float], list[float]]:
    """Milliseconds a frame of ours and of MediaPipe, round by round."""
    from mytalk_core.media.file_clip import FileClip

    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "frames.npy")
        np.save(path, np.concatenate(list(FileClip.open(video).frames(0, FRAMES))))
        for _ in range(ROUNDS):
            ours.append(milliseconds([sys.executable, __file__, "--worker", path]))
            theirs.append(milliseconds([python, "-c", MEDIAPIPE, path]))
    return ours, theirs


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        follow_frames(sys.argv[2])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--mediapipe-python", help="an interpreter that has mediapipe==0.10.21")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    errors = accuracy(args.reference)
    lines = [
        "# Face mesh beside MediaPipe",
        "",
        f"{measured_here()}, one thread, OpenCV {cv2.__version__}. `python benchmarks/face_mesh.py`",
        "",
        "Mean distance of the 478 points to MediaPipe's, in percent of the inter-ocular distance:",
        "",
        "| picture | distance, % |",
        "|---|---|",
        *(f"| {name} | {error:.3f} |" for name, error in errors.items()),
        f"| **mean of {len(errors)}** | **{statistics.mean(errors.values()):.3f}** |",
    ]
    if args.mediapipe_python:
        ours, theirs = speed(args.video, args.mediapipe_python)
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        lines += [
            "",
            f"Processor milliseconds a frame, one face through {FRAMES} frames, {ROUNDS} rounds in turn:",
            "",
            "| | minimum | median | maximum |",
            "|---|---|---|---|",
            *(
                f"| {name} | {min(values):.2f} | {statistics.median(values):.2f} | {max(values):.2f} |"
                for name, values in (("MyTalk", ours), ("mediapipe 0.10.21, refine_landmarks", theirs))
            ),
            "",
            f"Ratio MyTalk / MediaPipe, median of the rounds: {ratio:.2f}",
        ]
    args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
