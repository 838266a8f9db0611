"""Files that are there whole or not at all, outputs checked before the work, damaged files in one line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mytalk_core import files
from mytalk_core.cli.main import main
from mytalk_core.errors import MediaError
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.packed import PackedLandmarks
from mytalk_core.face.track import FaceTrack, build_track
from mytalk_core.files import check_outputs, held, replacing, take_lock, write_text
from mytalk_core.media.remux import copy_untagged
from mytalk_core.motion.motion import Motion

ROOT = Path(__file__).parents[1]
LONGEST = 255
# A write that waits, until it is killed, with its temporary file there.
WAITING = """
import sys, time
from pathlib import Path
from mytalk_core.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""

HOLDING = WAITING.replace("replacing", "held").replace('    temporary.write_text("half")\n', "")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def a_motion() -> Motion:
    return Motion(np.zeros((3, 2, 2), np.float32), "mesh478", np.array([1, 3]))


def a_track() -> FaceTrack:
    template = LandmarkLayout.load("mesh478").template
    present = np.array([True, False, True, True])
    landmarks = PackedLandmarks.pack(np.where(present[:, None, None], template, 0))
    return build_track(landmarks, present, np.arange(4) / 25, np.zeros(4, np.int32))


SAVED = {"motion": a_motion, "track": a_track}


@contextlib.contextmanager
def waiting(target: Path, program: str = WAITING):
    """A process in the midst of writing `target`."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(target)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("stop", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_whole_or_not_at_all(tmp_path, stop):
    target = tmp_path / "out.txt"
    for before in (None, "before"):
        if before is not None:
            target.write_text(before)
        with pytest.raises(stop), replacing(target) as temporary:
            temporary.write_text("half")
            assert temporary.suffix == ".txt" and temporary.parent.parent == tmp_path
            assert temporary.parent.name.startswith(".")
            raise stop
        assert names(tmp_path) == (["out.txt"] if before else [])
    assert target.read_text() == "before"
    write_text(target, "äfter")
    assert target.read_text(encoding="utf-8") == "äfter" and names(tmp_path) == ["out.txt"]


@pytest.mark.parametrize(
    "said",
    [
        "Error while serializing: I/O error: No space left on device (os error 28)",
        'Error while serializing: IoError(Os { code: 28, kind: StorageFull, message: "No space left" })',
    ],
)
def test_no_room_is_read_from_what_each_safetensors_says(tmp_path, said):
    with pytest.raises(OSError) as caught, replacing(tmp_path / "weights.safetensors"):
        raise SafetensorError(said)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "weights.safetensors")


@pytest.mark.skipif(os.name == "nt", reason="no limits on files there")
@pytest.mark.parametrize("name", ["weights.safetensors", "checkpoint.pt"])
def test_no_room_is_said_whoever_wrote(tmp_path, name):
    """Both libraries have errors of their own, and say nothing of the file."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    content, save = {"a": np.zeros(100_000)}, save_file if name.endswith("rs") else torch.save
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with (
            pytest.raises(OSError) as caught,
            replacing(tmp_path / name) as temporary,
            temporary.open("wb") as file,
        ):
            save(content, temporary if save is save_file else file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno == errno.EFBIG and caught.value.filename == str(tmp_path / name)
    assert names(tmp_path) == []


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    with replacing(tmp_path / "site") as temporary:
        (temporary / "videos").mkdir(parents=True)
        assert names(tmp_path)[0].startswith(".")
    assert names(tmp_path) == ["site"] and names(tmp_path / "site") == ["videos"]


def test_the_longest_names(tmp_path):
    for name in ("a" * (LONGEST - 4) + ".mp4", "é" * 125 + ".json", "a." + "b" * 250):
        write_text(tmp_path / name, "x")
        assert names(tmp_path) == [name]
        (tmp_path / name).unlink()
    for path in ("a" * 252 + ".mp4", "é" * 126 + ".json"):
        with pytest.raises(MediaError, match="at most 255 bytes was required, but .* has 25[67]: shorten it"):
            write_text(tmp_path / path, "x")
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="no umask there")
def test_permissions_are_by_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "text", "x")
        a_motion().save(tmp_path / "motion")
        a_track().save(tmp_path / "track")
        # Some versions of this library make their files private.
        with replacing(tmp_path / "tensors") as temporary:
            save_file({"a": np.zeros(2)}, temporary)
    finally:
        os.umask(before)
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("text", "motion", "track", "tensors"), "0o640")


def test_only_files_are_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    special = {"folder": "a folder"}
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        special["pipe"] = "a pipe"
    with contextlib.suppress(AttributeError, PermissionError):  # root's, and not on every system
        os.mknod(tmp_path / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        special["device"] = "a device"
    for name, kind in special.items():
        (tmp_path / f"link to {name}").symlink_to(tmp_path / name)
        for path in (tmp_path / name, tmp_path / f"link to {name}"):
            before = path.stat()
            for write in (a_motion().save, a_track().save, lambda path: write_text(path, "x")):
                with pytest.raises(MediaError, match=f"is {kind}: "):
                    write(path)
            assert path.stat() == before
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("old.txt", "new.txt"):
        (tmp_path / name).symlink_to(tmp_path / "there" / name)
    (tmp_path / "there" / "old.txt").write_text("before")
    for name in ("old.txt", "new.txt"):
        write_text(tmp_path / name, "after")
        assert (tmp_path / name).is_symlink() and (tmp_path / "there" / name).read_text() == "after"
    assert names(tmp_path / "there") == ["new.txt", "old.txt"]


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
def test_what_a_killed_run_left_is_swept_and_nothing_else(tmp_path):
    other_machine = tmp_path / ".mytalk-00000000-00000000"
    other_machine.mkdir()
    with waiting(tmp_path / "killed.mp4") as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = set(names(tmp_path)) - {other_machine.name}
        assert len(left) == 1 and names(tmp_path / left.pop()) == ["lock", "new.mp4"]
        # Of a run that died before it had locked its folder.
        (tmp_path / f".mytalk-{files.MACHINE}-00000000").mkdir()
    with waiting(tmp_path / "live.mp4"):
        live = set(names(tmp_path)) - {other_machine.name}
        assert len(live) == 1
        write_text(tmp_path / "out.txt", "x")
        assert set(names(tmp_path)) == {other_machine.name, "out.txt", *live}
        assert names(tmp_path / live.pop()) == ["lock", "new.mp4"]


@pytest.mark.skipif(os.name == "nt", reason="no such signal there")
def test_a_name_is_held_until_it_is_written_fails_or_its_process_is_killed(tmp_path):
    path = tmp_path / "out.txt"
    with held(path):
        assert path.read_bytes() == b""
        write_text(path, "whole")
    with pytest.raises(KeyError), held(tmp_path / "failed.txt"):
        raise KeyError
    with held(path), pytest.raises(KeyError), held(path):
        raise KeyError
    assert names(tmp_path) == ["out.txt"] and path.read_text() == "whole"
    with waiting(tmp_path / "killed.mp4", HOLDING) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert "killed.mp4" in names(tmp_path)
    write_text(tmp_path / "next.txt", "x")
    assert names(tmp_path) == ["next.txt", "out.txt"]
    # Killed when the file was whole and its folder was not yet away.
    with waiting(tmp_path / "whole.mp4", HOLDING) as process:
        (tmp_path / "whole.mp4").write_bytes(b"whole")
        process.send_signal(signal.SIGKILL)
        process.wait()
    write_text(tmp_path / "next.txt", "x")
    assert names(tmp_path) == ["next.txt", "out.txt", "whole.mp4"]


def test_a_lock_on_a_file_that_is_another_by_now_is_none(tmp_path, monkeypatch):
    opened, path = os.open, tmp_path / "lock"

    def open_late(name, *rest):
        handle = opened(name, *rest)
        path.unlink()
        path.write_bytes(b"")
        return handle

    monkeypatch.setattr(os, "open", open_late)
    assert take_lock(path) is None


@pytest.mark.parametrize("kind", SAVED)
def test_many_at_once_onto_one_name(tmp_path, kind):
    """Each is whole, and none sweeps another's away."""
    saved, start = SAVED[kind](), threading.Barrier(8)

    def save(_: int) -> None:
        start.wait()
        for _ in range(10):
            saved.save(tmp_path / "one.safetensors")
            type(saved).load(tmp_path / "one.safetensors")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, range(8)))
    assert names(tmp_path) == ["one.safetensors"]


def test_outputs_are_neither_inputs_nor_each_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "in.mp4"
    source.write_text("source")
    Path("soft.mp4").symlink_to(source)
    Path("hard.mp4").hardlink_to(source)
    Path("sub").mkdir()
    Path("loose.json").symlink_to(tmp_path / "sub" / "new.json")
    for path in ("in.mp4", source, "soft.mp4", "hard.mp4", "sub/../in.mp4"):
        with pytest.raises(MediaError, match="^--report: an output other than the source .* name another"):
            check_outputs({"-o": Path("out.mp4"), "--report": path, "--mask": None}, [None, source])
    for other in ("out.mp4", "./out.mp4", tmp_path / "sub" / ".." / "out.mp4"):
        with pytest.raises(MediaError, match="^--report: .* -o writes out.mp4 too: name another"):
            check_outputs({"-o": "out.mp4", "--report": other})
    with pytest.raises(MediaError, match="--b: .* --a writes sub/new.json too"):
        check_outputs({"--a": "sub/new.json", "--b": "loose.json"})
    for path, message in (
        ("none/a.json", "none does not exist: create it"),
        ("sub", "is a folder: add a file name"),
        ("", "is a folder"),
        ("x" * 300, "at most 255 bytes"),
    ):
        with pytest.raises(MediaError, match=f"^--report: .*{message}"):
            check_outputs({"--report": path})
    check_outputs({"-o": "out.mp4", "--report": "out.json"}, [source, "none.wav"])
    before = names(tmp_path)
    Path("probe").write_text("")
    ignores_case = Path("PROBE").exists()
    with pytest.raises(MediaError) if ignores_case else contextlib.nullcontext():
        check_outputs({"-o": "Out.json", "--report": "out.json"})
    Path("probe").unlink()
    assert names(tmp_path) == before


def collected(folder: Path) -> tuple[Path, Path]:
    """A participant's ratings, and the key."""
    ratings, key = folder / "r.csv", folder / "site.key.json"
    ratings.write_text("study\n")
    key.write_text("{}")
    return ratings, key


def test_commands_refuse_before_any_work(tmp_path, capsys, examples):
    video, speech = tmp_path / "v.mp4", tmp_path / "s.wav"
    copy_untagged(examples / "ai_woman.mp4", video, 0.2)
    speech.write_bytes((examples / "speech_en.wav").read_bytes())
    ratings, key = collected(tmp_path)
    (tmp_path / "real").mkdir()
    (tmp_path / "made").mkdir()
    (tmp_path / "real" / "a.mp4").hardlink_to(video)
    (tmp_path / "made" / "a.mp4").hardlink_to(video)
    (tmp_path / "scores" / "report.html").mkdir(parents=True)
    out = tmp_path / "out.mp4"
    sync, landmarks = ["sync", video, speech, "-o", out], ["landmarks", video, "-o"]
    before = {path: path.stat() for path in tmp_path.rglob("*") if path.is_file()}
    for arguments, flag in (
        ([*sync, "--report", video], "--report"),
        ([*sync, "--report", speech], "--report"),
        ([*sync, "--save-motion", video], "--save-motion"),
        ([*sync, "--save-mask", speech], "--save-mask"),
        ([*sync, "--save-motion", out], "--save-motion"),
        ([*sync, "--report", tmp_path / "x", "--save-motion", tmp_path / "x"], "--save-motion"),
        ([*sync, "--report", tmp_path / "none" / "x"], "--report"),
        ([*sync, "--save-motion", tmp_path], "--save-motion"),
        (["sync", video, speech, "-o", tmp_path / ("a" * 252 + ".mp4")], "-o"),
        ([*landmarks, video], "-o"),
        ([*landmarks, tmp_path / "t", "--preview", video], "--preview"),
        ([*landmarks, out, "--preview", out], "--preview"),
        (["study", "--collect", ratings, "--key", key, "-o", ratings], "-o"),
        (["study", "--collect", ratings, "--key", key, "-o", key], "-o"),
        (
            [
                "evaluate",
                "--reference",
                tmp_path / "real",
                "--generated",
                tmp_path / "made",
                "-o",
                tmp_path / "scores",
            ],
            "report.html",
        ),
    ):
        assert main([str(argument) for argument in arguments]) == 1
        printed = capsys.readouterr()
        assert printed.err.startswith(f"mytalk: {flag}: ") and len(printed.err.splitlines()) == 1, printed
        assert "required, but" in printed.err and not printed.out
    assert {path: path.stat() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("kind", SAVED)
def test_damaged_files_are_one_line(tmp_path, kind):
    path, damaged = tmp_path / "whole.safetensors", tmp_path / "damaged.safetensors"
    saved = SAVED[kind]()
    saved.save(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    cases = [whole[:length] for length in (0, 4, 8, 60, len(whole) // 2, len(whole) - 1)] + [whole + b"\0"]
    for _ in range(150):
        # In the header above all, which says what the rest is.
        flipped = bytearray(whole)
        flipped[rng.integers(0, 8 + int.from_bytes(whole[:8], "little"))] ^= 1 << int(rng.integers(8))
        cases.append(bytes(flipped))
    refused = 0
    for case in cases:
        damaged.write_bytes(case)
        try:
            type(saved).load(damaged)
        except MediaError as error:
            assert "damaged.safetensors" in str(error)
            refused += 1
    assert refused > 100
    with pytest.raises(FileNotFoundError, match="none.safetensors"):
        type(saved).load(tmp_path / "none.safetensors")
    with pytest.raises(MediaError, match="it is no file"):
        type(saved).load(tmp_path)


def test_files_of_another_content_are_one_line(tmp_path):
    path, other = tmp_path / "whole.safetensors", tmp_path / "other.safetensors"
    a_track().save(path)
    track, named = load_file(path), {"format": "mytalk-face-track-1", "layout": "mesh478"}
    for change, message in (
        ({"present": None}, "it holds"),
        ({"present": track["present"].astype(np.int64)}, "its present is I64, not U8"),
        ({"landmarks": track["landmarks"][:, :, :2]}, r"its landmarks is \(4, 478, 2\), not \(T, N, 3\)"),
        ({"landmarks": track["landmarks"][:, :9]}, "of 9 points"),
        ({"shots": track["shots"][:3]}, "its shots is"),
        ({"similarity": track["similarity"] * np.nan}, "not finite"),
        ({name: values[:0] for name, values in track.items()}, "0 frames"),
        ({"surplus": track["shots"]}, "it holds"),
    ):
        changed = {name: values for name, values in (track | change).items() if values is not None}
        save_file({name: np.ascontiguousarray(values) for name, values in changed.items()}, other, named)
        with pytest.raises(MediaError, match=f"other.safetensors.*{message}"):
            FaceTrack.load(other)
    for layout in ("none", "../layouts/mesh478", "\0"):
        save_file(track, other, named | {"layout": layout})
        with pytest.raises(MediaError, match="a landmark layout is one of"):
            FaceTrack.load(other)
    motion = {"landmarks": np.zeros((3, 2, 2), np.float32), "points": np.array([1, 3])}
    whole = {"format_version": 1, "layout": "mesh478", "rate_hz": 25.0}
    for tensors, described, message in (
        ({"points": np.array([1, 478])}, {}, "its points"),
        ({"points": np.array([1, -1])}, {}, "its points"),
        ({"points": np.array([3, 3])}, {}, "its points"),
        ({"points": np.array([1.0, 3.0])}, {}, "its points is F64"),
        ({"landmarks": np.zeros((0, 2, 2), np.float32)}, {}, "at least one frame"),
        ({}, {"rate_hz": "fast"}, "its rate is 'fast'"),
        ({}, {"rate_hz": None}, "its rate is None"),
        ({}, {"rate_hz": -1}, "its rate is -1"),
        ({}, {"rate_hz": 10**400}, "its rate is 1000"),
        ({}, {"layout": ["mesh478"]}, "a landmark layout is one of"),
        ({}, {"format_version": {}}, "motion format {}"),
    ):
        save_file(motion | tensors, other, {"motion": json.dumps(whole | described)})
        with pytest.raises(MediaError, match=f"other.safetensors.*{message}"):
            Motion.load(other)
    for text in ("[" * 100000, "{", "3", "[]"):
        save_file(motion, other, {"motion": text})
        with pytest.raises(MediaError, match="other.safetensors is not a"):
            Motion.load(other)
