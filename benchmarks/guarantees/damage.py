"""Mutated files of every kind that is read: each is refused in one line, or read whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from pictures import Spec, person, write_pictures, write_speech
from trials import Result, Worker, contents, files_in, strewn

from mytalk_core.errors import MediaError
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.motion.motion import Motion
from mytalk_core.pipeline import stages
from mytalk_core.pipeline.journal import folder_of

WEIGHTS = Path(__file__).parents[2] / "mytalk_core" / "weights" / "mini"
# Of all files so many are of a kind.
SHARES = {"media": 0.4, "model": 0.2, "motion": 0.1, "track": 0.1, "manifest": 0.1, "kept run": 0.1}
SIDE, FRAMES = 128, 8


@dataclass(frozen=True)
class Originals:
    """Whole files of each kind, in one folder."""

    videos: tuple[Path, ...]
    sounds: tuple[Path, ...]
    motion: Path
    track: Path

    @staticmethod
    def make(folder: Path) -> Originals:
        """Write them."""
        frames = person(count=FRAMES, side=SIDE)
        ways = {
            "a.mp4": Spec(options={"movflags": "faststart"}),
            "a.mov": Spec("prores_ks", "yuv422p10le"),
            "a.mkv": Spec("ffv1"),
            "a.webm": Spec("libvpx-vp9", options={"deadline": "realtime"}),
            "a.avi": Spec("mpeg4"),
            "a.ts": Spec("mpeg2video", rate=Fraction(25)),
        }
        videos = tuple(write_pictures(folder / name, frames, spec) for name, spec in ways.items())
        sounds = tuple(
            write_speech(folder / f"s{suffix}", 0.3) for suffix in (".wav", ".flac", ".m4a", ".ogg")
        )
        clip = ImageClip.from_frames(frames, 25)
        track = stages.track(load_face_reader("cpu"), clip).choose()
        track.save(folder / "a.track.safetensors")
        points = np.arange(50)
        motion = Motion(track.canonical[:][:, points].astype(np.float32), track.layout, points)
        motion.save(folder / "a.motion.safetensors")
        return Originals(videos, sounds, folder / "a.motion.safetensors", folder / "a.track.safetensors")


def mutate(data: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """The data with one thing amiss, and what."""
    size = len(data)
    at, length = int(random.integers(size)), int(random.integers(1, max(2, size // 4)))
    way = ("cut", "flip", "zero", "drop", "double", "shuffle", "head")[int(random.integers(7))]
    changed = np.frombuffer(data, np.uint8).copy()
    if way == "cut":
        return data[:at], f"cut at {at}"
    if way == "drop":
        return data[:at] + data[at + length :], f"{length} bytes dropped at {at}"
    if way == "double":
        return data[: at + length] + data[at:], f"{length} bytes doubled at {at}"
    if way == "zero":
        changed[at : at + length] = 0
        return changed.tobytes(), f"{length} zeros at {at}"
    if way == "shuffle":
        random.shuffle(changed[at : at + length])
        return changed.tobytes(), f"{length} bytes shuffled at {at}"
    where = random.integers(min(size, 200 if way == "head" else size), size=1 + int(random.integers(20)))
    changed[where] = random.integers(0, 256, len(where))
    return changed.tobytes(), f"{len(where)} bytes changed{' in the head' if way == 'head' else ''}"


def run_damage(count: int, seed: int, folder: Path, worker: Worker) -> Iterator[Result]:
    """About `count` files, each mutated and given to what reads it."""
    folder.mkdir()
    originals = Originals.make(folder)
    random = np.random.default_rng(seed)
    for kind, share in SHARES.items():
        for number in range(max(1, round(share * count))):
            place = folder / f"{kind.replace(' ', '-')}{number}"
            place.mkdir()
            yield TRIALS[kind](originals, place, random, worker)
            shutil.rmtree(place)


def damaged_media(originals: Originals, place: Path, random: np.random.Generator, worker: Worker) -> Result:
    """A video, or a speech, in `mytalk sync`."""
    as_video = random.random() < 0.7
    choices = originals.videos if as_video else originals.sounds
    original = choices[int(random.integers(len(choices)))]
    path = place / original.name
    data, how = mutate(original.read_bytes(), random)
    path.write_bytes(data)
    video, speech = (path, originals.sounds[0]) if as_video else (originals.videos[0], path)
    output, report, before = place / "out.mkv", place / "report.json", contents(place)
    arguments = ["sync", str(video), str(speech), "-o", str(output), "--report", str(report), "--steps", "1"]
    outcome, lines = worker.ask("command", arguments)
    litter = strewn(before, place, {output.name, report.name}, worker.home)
    observed, good = outcome, outcome in ("made", "refused") and not litter
    if outcome == "made":
        wanted, written = len(FileClip.open(video)), sum(1 for _ in FileClip.open(output).pictures())
        told = json.loads(report.read_text())["frames"]
        # What has one frame left is a picture, which speaks for the speech's length.
        whole = written == told and (wanted == written or wanted == 1)
        observed, good = f"made, {written} frames of {wanted}", good and whole
    elif output.exists():
        observed, good = f"{observed}, yet something was written", False
    return result("media", f"{original.name}, {how}", observed, lines, litter, good)


def damaged_model(originals: Originals, place: Path, random: np.random.Generator, worker: Worker) -> Result:
    """A model's config or weights in `mytalk weights verify`."""
    model = place / "model"
    files = [path for path in WEIGHTS.rglob("*") if path.suffix in (".json", ".safetensors")]
    # As many configs as weights.
    suffix = (".json", ".safetensors")[int(random.integers(2))]
    chosen = [path for path in files if path.suffix == suffix]
    target = chosen[int(random.integers(len(chosen)))]
    for path in files:
        copy = model / path.relative_to(WEIGHTS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.symlink_to(path)
    data, how = mutate_model(target.read_bytes(), random)
    copy = model / target.relative_to(WEIGHTS)
    copy.unlink()
    copy.write_bytes(data)
    before = {str(copy.relative_to(place)): contents(copy.parent)[copy.name]}
    outcome, lines = worker.ask("command", ["weights", "verify", str(model)])
    changed = contents(copy.parent)[copy.name] != before[str(copy.relative_to(place))]
    left = [path.name for path in place.iterdir() if path != model] + files_in(worker.home)
    litter = ", ".join((["changed"] if changed else []) + left)
    name = f"{target.relative_to(WEIGHTS)}, {how}"
    return result("model", name, outcome, lines, litter, outcome in ("made", "refused"))


def mutate_model(data: bytes, random: np.random.Generator) -> tuple[bytes, str]:
    """As `mutate`, or a number of a config made huge, negative or another type."""
    if not data.startswith(b"{") or random.random() < 0.3:
        # What is wrong with weights stands in their head; their numbers may be any.
        head = min(len(data), 4000)
        changed, how = mutate(data[:head], random)
        return changed + data[head:], how
    config = json.loads(data)
    keys = [key for key, value in config.items() if isinstance(value, int | float | str | list)]
    key = keys[int(random.integers(len(keys)))]
    odd = (10**6, 10**12, -1, 0, 0.5, None, "x" * 50, [], {"a": 1}, True, 1e308)
    config[key] = odd[int(random.integers(len(odd)))]
    return json.dumps(config).encode(), f"{key} {str(config[key])[:20]}"


def damaged_file(kind: str):
    """A motion or a track, read."""

    def run(originals: Originals, place: Path, random: np.random.Generator, worker: Worker) -> Result:
        original = {"motion": originals.motion, "track": originals.track}[kind]
        data, how = mutate(original.read_bytes(), random)
        path = place / original.name
        path.write_bytes(data)
        before = contents(place)
        outcome, lines = worker.ask(kind, [str(path)])
        litter = strewn(before, place, set(), worker.home)
        return result(kind, how, outcome, lines, litter, outcome in ("made", "refused"))

    return run


def damaged_manifest(
    originals: Originals, place: Path, random: np.random.Generator, worker: Worker
) -> Result:
    """A manifest of clips."""
    rows = [{"id": f"clip{n}", "file": f"clip{n}.mp4", "split": "val", "speaker": "a"} for n in range(3)]
    for row in rows:
        shutil.copy(originals.videos[0], place / row["file"])
    if random.random() < 0.5:
        odd = (
            "../../evil",
            "/etc/passwd",
            "",
            None,
            7,
            [],
            {"a": 1},
            "a" * 300,
            "x\n",
            ".hidden",
            "con/../x",
        )
        key = ("id", "file", "split")[int(random.integers(3))]
        rows[1][key] = odd[int(random.integers(len(odd)))]
        how = f"{key} {str(rows[1][key])[:20]!r}"
        data = "\n".join(json.dumps(row) for row in rows).encode()
    else:
        data, how = mutate("\n".join(json.dumps(row) for row in rows).encode(), random)
    (place / "manifest.jsonl").write_bytes(data)
    before = contents(place)
    outcome, lines = worker.ask("manifest", [str(place)])
    litter = strewn(before, place, set(), worker.home)
    return result("manifest", how, outcome, lines, litter, outcome in ("made", "refused"))


def damaged_run(originals: Originals, place: Path, random: np.random.Generator, worker: Worker) -> Result:
    """What a killed run kept: the run that goes on writes what it would have written, or is refused."""
    video, speech = originals.videos[0], originals.sounds[0]
    output, plain = place / "out.mp4", place / "plain.mp4"
    arguments = ["sync", str(video), str(speech), "--steps", "1"]
    worker.ask("command", [*arguments, "-o", str(plain)])
    kept = originals.videos[0].parent / "kept"
    if not kept.exists():
        keep_run(arguments, kept, worker)
    shutil.copytree(kept, folder_of(output))
    files = sorted(path for path in folder_of(output).iterdir() if path.stat().st_size)
    target = files[int(random.integers(len(files)))]
    data, how = mutate(target.read_bytes(), random)
    target.write_bytes(data)
    outcome, lines = worker.ask("command", [*arguments, "-o", str(output), "--resume"])
    observed, good = outcome, outcome == "refused" and not output.exists()
    if outcome == "made":
        good = output.read_bytes() == plain.read_bytes() and not folder_of(output).exists()
        observed = "made, as unbroken" if good else "made, but not as unbroken"
    litter = ", ".join(files_in(worker.home))
    return result("kept run", f"{target.name}, {how}", observed, lines, litter, good)


def keep_run(arguments: list[str], kept: Path, worker: Worker) -> None:
    """Make `kept`, the folder that a run leaves that was stopped at its end."""
    output = kept.with_name("kept.mp4")
    worker.ask("stopped", [*arguments, "-o", str(output), "--resume"])
    if not folder_of(output).is_dir():
        raise MediaError("a run that was stopped was to leave its folder, but none is there")
    folder_of(output).rename(kept)


def result(kind: str, name: str, observed: str, lines: list[str], litter: str, good: bool) -> Result:
    """A line of the table."""
    detail = "" if good or not lines else f": {lines[-1][:160]}"
    observed = f"{observed}{detail}" + (f"; {litter}" if litter else "")
    return Result(kind, name, "refused in one line, or read whole", observed, good and not litter)


TRIALS = {
    "media": damaged_media,
    "model": damaged_model,
    "motion": damaged_file("motion"),
    "track": damaged_file("track"),
    "manifest": damaged_manifest,
    "kept run": damaged_run,
}
