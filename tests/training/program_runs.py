"""Training programs as processes of their own, on a small made-up dataset, for tests of whole runs."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_hand import write_hand
from mytalk_training.covers.data import ComparedFaces
from mytalk_training.dataset.samples import jpeg
from mytalk_training.dataset.shards import INDEX_NAME, ShardWriter, crop_member
from mytalk_training.refiner.data import PEOPLE as PEOPLE_FILE
from mytalk_training.refiner.data import pack
from mytalk_training.refiner.lending import MouthView
from safetensors.numpy import save

from mytalk_core.appearance.covers.face_view import mouth_and_chin
from mytalk_core.appearance.covers.network import halved
from mytalk_core.appearance.networks.refiner_inputs import UnitView
from mytalk_core.appearance.square.areas import filled
from mytalk_core.appearance.square.mask import INNER
from mytalk_core.appearance.square.window import Window
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion.identity import IdentityConfig, IdentityExtractor

FRAMES = 30
# The ninth of them is the first that hold_out keeps from training.
PEOPLE = 9
APPEARANCE = (
    "--size 32 --width 8 --multipliers 1 2 --blocks 1 --groups 4 --fusion-width 8 --discriminator-width 4 "
    "--mixed-precision no --start-discriminator 3 --mouth-weight 1 --temporal-weight 1 --validate 2"
)
JUDGED = "--inner-weight 2 --adversarial-weight 0.01 --adversarial-from 3"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def write_inputs(folder: Path) -> None:
    """dataset/, one clip a person with crops of one colour, speech/ and identity/, random networks, mouths/,
    faces/ and hand.glb."""
    from transformers import WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    generator, layout, rows = np.random.default_rng(0), LandmarkLayout.load("mesh478"), []
    dataset = folder / "dataset"
    dataset.mkdir()
    writer = ShardWriter(dataset)
    for number in range(PEOPLE):
        movement = generator.normal(0, 0.05, (FRAMES, 478, 3))
        tensors = {
            "displacement": movement.astype(np.float16),
            "present": np.ones(FRAMES, np.uint8),
            "rest": layout.template + generator.normal(0, 3, layout.template.shape).astype(np.float32),
            "speech": generator.normal(0, 3000, FRAMES * 640).astype(np.int16),
        }
        members = write_clip(writer, f"clip{number}", tensors, colour=40 + 20 * number)
        row = {"key": f"clip{number}", "identity": f"person {number}", "layout": "mesh478"}
        rows.append(row | {"shard": writer.name, "members": members})
    writer.close()
    (dataset / INDEX_NAME).write_text("".join(json.dumps(row) + "\n" for row in rows))
    torch.manual_seed(0)
    sizes = {"encoder_layers": 4, "encoder_attention_heads": 2, "encoder_ffn_dim": 8, "num_mel_bins": 80}
    WhisperEncoder(WhisperConfig(d_model=8, **sizes)).save_pretrained(folder / "speech")
    config = IdentityConfig(956, "mesh478", width=8, hidden_layers=1, embedding=8)
    IdentityExtractor(config).save_pretrained(folder / "identity")
    write_mouths(folder / "mouths")
    write_faces(folder / "faces")
    write_hand(folder / "hand.glb")


def write_clip(
    writer: ShardWriter, key: str, tensors: dict[str, np.ndarray], colour: int
) -> dict[str, tuple[int, int]]:
    """A clip's movement, and track and crops to it: where each member lies."""
    shapes = tensors["rest"] + 20 * tensors["displacement"].astype(np.float32)
    track = {"landmarks": shapes[..., :2].astype(np.float16), "times_s": np.arange(FRAMES) / 25}
    picture = jpeg(np.full((64, 64, 3), (colour, 128, 255 - colour), np.uint8), 90)
    content = {"motion.safetensors": save(tensors), "track.safetensors": save(track)}
    content |= {crop_member(frame): picture for frame in range(FRAMES)}
    return {name: writer.add(f"{key}.{name}", data) for name, data in content.items()}


def write_mouths(folder: Path) -> None:
    """Packed frames and references of noise: one file a person, two of whom are kept from training."""
    generator, window = np.random.default_rng(0), Window(96, 48, 224, 208)
    folder.mkdir()
    people = {f"clip{number}": f"person {number}" for number in range(6)}

    def noise(*shape: int) -> np.ndarray:
        return generator.integers(0, 256, (*shape, *window.shape, 3), dtype=np.uint8)

    for key in people:
        mask = np.pad(np.ones((64, 80), np.float32), ((32, 32), (40, 40)))
        view = UnitView(
            window,
            noise(),
            mask,
            noise(),
            noise(2),
            np.zeros((2, *window.shape), np.float32),
            np.full(2, 0.5, np.float32),
            np.pad(np.full((16, 40), INNER, np.uint8), ((56, 56), (60, 60))),
        )
        mouths = [MouthView(view, "full", 4.0), MouthView(view, "closed", 4.0)]
        pack(mouths, folder / f"{key}.safetensors")
    (folder / PEOPLE_FILE).write_text(json.dumps(people))


def write_faces(folder: Path) -> None:
    """Packed pictures of smooth faces beside the usual one: one file a person."""
    generator, layout = np.random.default_rng(0), LandmarkLayout.load("mesh478")
    folder.mkdir()
    rings = layout.oval, layout.lips_outer, layout.lips_inner
    outlines = halved(255 * np.dstack([filled(layout.template[ring, :2]) for ring in rings]))
    near = halved(255 * mouth_and_chin(layout.template[:, :2], layout).astype(np.uint8))
    for number in range(PEOPLE):
        face = np.full((2, *outlines.shape), generator.integers(60, 200, 3), np.uint8)
        usual = np.concatenate([face, np.full((*face.shape[:3], 1), 4, np.uint8)], -1)
        each = (np.stack([one] * 2) for one in (outlines, near, np.zeros_like(near)))
        skin = face[:, 0, 0].astype(np.float32)
        faces = ComparedFaces(face, usual, np.ones((2, 3), np.float32), *each, skin)
        faces.pack(folder / f"clip{number}.safetensors", f"person {number}")


PROGRAMS = (
    "motion.train",
    "motion.train_identity",
    "expert.train",
    "refiner.train",
    "generator.train",
    "covers.train",
)
DATA = {"refiner.train": "mouths", "covers.train": "faces"}


def flags_of(program: str, inputs: Path) -> list[str]:
    """A tiny run of a program."""
    data = str(inputs / DATA.get(program, "dataset"))
    common = [data, "--batch", "4", "--accumulate", "2", "--log-every", "1"]
    spoken = ["--speech-encoder", str(inputs / "speech"), "--plain", "--frames", "20"]
    motion = "--width 8 --layers 1 --hide-speech 1 --own-guess 0.5 --time-power 0.4"
    own = {
        "motion.train": [*spoken, "--identity", str(inputs / "identity"), *motion.split()],
        "motion.train_identity": ["--hidden", "8", "--layers", "1", "--embedding", "4"],
        "expert.train": spoken,
        "refiner.train": f"--width 8 --widths 8 8 --mixed-precision no {JUDGED}".split(),
        "generator.train": APPEARANCE.split(),
        "covers.train": ["--hand", str(inputs / "hand.glb"), "--drawn", "4"],
    }
    return [*common, "--steps", "7", "--save-every", "2", "--warmup", "2", *own[program]]


class Launcher:
    """Starts programs in processes forked from a server that has imported them: seconds less for each."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        programs = [f"mytalk_training.{name}" for name in PROGRAMS]
        self._context.set_forkserver_preload(["transformers.models.whisper.modeling_whisper", *programs])

    def run(
        self, program: str, flags: list[str], processes: int = 1, kill_at: int | None = None
    ) -> list[int]:
        """Run a training program to its end, by SIGKILL in step `kill_at` if given: the exit codes."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        group = []
        for rank in range(processes):
            environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes}
            environment |= {"LOCAL_WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            environment = environment if processes > 1 else {}
            group.append(self._context.Process(target=_enter, args=(program, flags, environment, kill_at)))
        for process in group:
            process.start()
        for process in group:
            process.join(600)
            process.kill()
            process.join()
        return [process.exitcode for process in group]


@contextmanager
def launcher() -> Iterator[Launcher]:
    """A launcher whose server, started with the first run, finds the modules and computes on one thread."""
    wanted = ONE_THREAD | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    before = {key: os.environ.get(key) for key in wanted}
    os.environ.update(wanted)
    try:
        yield Launcher()
    finally:
        for key, value in before.items():
            os.environ.pop(key) if value is None else os.environ.update({key: value})


def _enter(program: str, flags: list[str], environment: dict[str, Any], kill_at: int | None) -> None:
    os.environ.update({key: str(value) for key, value in environment.items()})
    torch.set_num_threads(1)
    module = importlib.import_module(f"mytalk_training.{program}")
    step = module.step

    def deadly(state, *rest):
        if state.step == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(state, *rest)

    module.step = deadly
    sys.argv = [program, *flags]
    module.main()


def read_losses(out: Path) -> list[dict[str, float]]:
    """The losses of every logged step of a run, without its speed."""
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    speed = {"samples_per_s", "waiting"}
    return [{k: v for k, v in row.items() if k not in speed} for row in rows if row["kind"] == "train"]


def newest_checkpoint(out: Path) -> dict[str, Any]:
    """The content of a run's last checkpoint."""
    return torch.load(sorted((out / "checkpoints").glob("*.pt"))[-1], weights_only=True)
