"""A run that was killed goes on: equal to one that was not, refused where it is another, tidy at its end."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from repository import EXAMPLES
from safetensors.numpy import load_file, save_file

from mytalk_core.appearance.warp_renderer import WarpRenderer
from mytalk_core.cli.main import main
from mytalk_core.errors import MediaError
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.patch import Patch
from mytalk_core.media.picture import Picture
from mytalk_core.media.pixels import layout_of, planes_of
from mytalk_core.motion.generate import MotionOptions
from mytalk_core.pipeline import LipSync, journal, lip_sync, write
from mytalk_core.pipeline.checks import LipWatch
from mytalk_core.pipeline.journal import Journal, folder_of
from mytalk_core.pipeline.kept import PIECE as PIECE_FILE
from mytalk_core.pipeline.kept import KeptEdit, read_piece, write_piece
from mytalk_core.pipeline.rendered import Edit
from mytalk_core.tensor_files import read_metadata

PIECE = 6
FRAMES = 2 * PIECE + 5
SPEECH = EXAMPLES / "speech_en.wav"


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(journal, "PIECE_FRAMES", PIECE)


@pytest.fixture(scope="module")
def model():
    return LipSync.from_pretrained("mini")


@pytest.fixture(scope="module")
def frames():
    """Every second pixel of the sample, an odd size; three frames without the face."""
    clip = FileClip.open(EXAMPLES / "ai_woman.mp4")
    frames = np.concatenate(list(clip.frames(0, FRAMES)))[:, 1::2, 3::2].copy()
    frames[8:11] = 90
    return frames


@pytest.fixture(scope="module")
def source(frames, tmp_path_factory):
    return saved(frames, tmp_path_factory.mktemp("source") / "in.mkv", "yuv420p10le")


def saved(frames: np.ndarray, path: Path, pixel_format: str = "yuv420p") -> Path:
    write(ImageClip.from_frames(frames, 25), path, codec="ffv1", pixel_format=pixel_format)
    return path


@pytest.fixture
def drawn(monkeypatch):
    """The numbers of the frames that are drawn, several at once."""
    numbers, render = [], WarpRenderer.render

    def counting(self, crops, source, target, index, *others):
        numbers.append(int(index[0]))
        return render(self, crops, source, target, index, *others)

    monkeypatch.setattr(WarpRenderer, "render", counting)
    return numbers


def stopped(source: Path, output: Path, model, at: int, **arguments) -> None:
    """A run that is stopped behind frame number `at`."""

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "render" and done == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lip_sync(source, SPEECH, output, model=model, progress=progress, **arguments)
    # Nothing is drawn any more once the error has arrived.
    assert not any(thread.name.startswith("mytalk") for thread in threading.enumerate())


def test_a_run_that_goes_on_equals_one_that_was_not_stopped(source, tmp_path, model, drawn):
    whole, parts = tmp_path / "whole.mp4", tmp_path / "parts.mp4"
    report = lip_sync(source, SPEECH, whole, model=model, save_mask=tmp_path / "whole.mask.mkv")
    arguments = {"save_mask": tmp_path / "parts.mask.mkv", "resume": True}
    stopped(source, parts, model, at=PIECE + 2, **arguments)
    assert not parts.exists() and not arguments["save_mask"].exists()
    assert {path.name for path in folder_of(parts).iterdir()} >= {"run.json", "piece000000.safetensors"}
    drawn.clear()
    stopped(source, parts, model, at=2 * PIECE + 2, **arguments)
    assert min(drawn) == PIECE, "the finished piece is not drawn again"
    drawn.clear()
    again = lip_sync(source, SPEECH, parts, model=model, **arguments)
    assert min(drawn) == 2 * PIECE
    # Nothing was encoded otherwise: not one bit differs.
    assert parts.read_bytes() == whole.read_bytes()
    masks = [FileClip.open(tmp_path / f"{name}.mask.mkv") for name in ("parts", "whole")]
    for one, other in zip(*(mask.frames(batch_size=FRAMES) for mask in masks), strict=True):
        assert (one == other).all() and one.any()
    assert (again.frames_edited, again.checks) == (report.frames_edited, report.checks)
    assert report.frames_edited == FRAMES - 3
    assert {path.name for path in tmp_path.iterdir()} == {
        "whole.mp4",
        "parts.mp4",
        "whole.mask.mkv",
        "parts.mask.mkv",
    }


def test_what_waits_for_its_piece_holds_no_second_picture(frames):
    picture = Picture.from_rgb(0, frames[0])
    patch = Patch(8, 8, np.full((16, 16, 3), 200, np.uint8), np.ones((16, 16), np.float32))
    edit = Edit(picture, [patch], False)
    kept = KeptEdit.of(edit)
    assert kept.pasted is not kept.pasted
    assert np.array_equal(kept.pasted.rgb, edit.pasted.rgb)


def test_a_piece_comes_back_as_it_was_and_no_other_is_taken(source, tmp_path):
    clip = FileClip.open(source)
    patches = [
        Patch(top, left, np.full((15, 17, 3), level, np.uint8), np.full((15, 17), alpha, np.float32))
        for top, left, level, alpha in ((-3, 9, 200, 1.0), (20, clip.width - 8, 30, 0.5))
    ]
    kinds = ((patches, True), ([], False), (patches[1:], False))
    edits = [
        KeptEdit.of(Edit(picture, *kind))
        for picture, kind in zip(clip.pictures([0, 1, 2]), kinds, strict=True)
    ]
    path, layout, size = (
        tmp_path / "piece.safetensors",
        layout_of(clip.format_name),
        (clip.height, clip.width),
    )
    write_piece(path, edits)
    for edit, kept in zip(edits, read_piece(path, 3, layout, size), strict=True):
        back = KeptEdit(edit.picture, [], kept.is_partial, kept.changes, kept.drawn)
        assert (back.is_partial, back.is_edited) == (edit.is_partial, edit.is_edited)
        assert np.array_equal(back.mask(), edit.mask())
        for one, other in zip(planes_of(back.pasted.frame), planes_of(edit.pasted.frame), strict=True):
            assert np.array_equal(one, other)
    assert read_piece(path, 2, layout, size) == []
    assert read_piece(path, 3, layout, (size[0], size[1] - 1)) == []
    tensors, facts = load_file(path), read_metadata(path, PIECE_FILE)
    tensors["edited"][1] ^= 1
    save_file(tensors, path, facts)
    assert read_piece(path, 3, layout, size) == [], "a bit has turned"


def test_a_journal_stays_while_it_is_used_and_as_long_as_it_holds_work(tmp_path):
    output, facts = tmp_path / "out.mp4", {"seed": "1"}
    with pytest.raises(KeyboardInterrupt), Journal.opened(output, facts):
        raise KeyboardInterrupt
    assert not folder_of(output).exists(), "nothing was kept"
    kept = folder_of(output) / "motion.safetensors"
    with pytest.raises(KeyboardInterrupt), Journal.opened(output, facts):
        kept.touch()
        with Journal.opened(output, None):
            pass
        raise KeyboardInterrupt
    assert kept.exists()
    state = folder_of(output) / journal.STATE
    state.write_text(state.read_text().replace(journal.FORMAT, "mytalk-run-0"))
    with pytest.raises(MediaError, match="a run with another seed"), Journal.opened(output, facts):
        pass
    with Journal.opened(output, None):
        pass
    assert not folder_of(output).exists()


def test_a_damaged_piece_is_drawn_again(source, tmp_path, model, drawn):
    whole, parts = tmp_path / "whole.mp4", tmp_path / "parts.mp4"
    lip_sync(source, SPEECH, whole, model=model)
    stopped(source, parts, model, at=FRAMES, resume=True)
    for name, change in (("piece000001", lambda data: data[:-200]), ("track", lambda data: data[:500])):
        path = folder_of(parts) / f"{name}.safetensors"
        path.write_bytes(change(path.read_bytes()))
    drawn.clear()
    lip_sync(source, SPEECH, parts, model=model, resume=True)
    assert min(drawn) == PIECE and parts.read_bytes() == whole.read_bytes()


def test_another_run_is_refused_in_one_line(frames, tmp_path, model):
    source = saved(frames[:5], tmp_path / "in.mkv")
    output = tmp_path / "out.mp4"
    stopped(source, output, model, at=3, resume=True)
    kept = sorted(path.name for path in folder_of(output).iterdir())
    options = MotionOptions(seed=4, expression=1.5)
    with pytest.raises(MediaError, match=r"out.mp4.resume holds a run with another seed, expression: give"):
        lip_sync(source, SPEECH, output, model=model, options=options, resume=True)
    saved(frames[1:6], source)
    with pytest.raises(MediaError, match="a run with another video: give the same"):
        lip_sync(source, SPEECH, output, model=model, resume=True)
    assert sorted(path.name for path in folder_of(output).iterdir()) == kept
    # One that keeps nothing needs nothing of it, and takes it away once the output is there.
    lip_sync(source, SPEECH, output, model=model)
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", "out.mp4"}


def test_another_mask_under_the_old_name_is_another_run(frames, tmp_path, model):
    source, output, mask = saved(frames[:5], tmp_path / "in.mkv"), tmp_path / "out.mp4", tmp_path / "mask.png"
    white = np.full(frames.shape[1:3], 255, np.uint8)
    cv2.imwrite(str(mask), white)
    stopped(source, output, model, at=3, resume=True, face=f"mask:{mask}")
    white[:8] = 0
    cv2.imwrite(str(mask), white)
    with pytest.raises(MediaError, match="a run with another face: give"):
        lip_sync(source, SPEECH, output, model=model, face=f"mask:{mask}", resume=True)


def test_two_runs_never_share_a_journal_and_a_strange_folder_stays(frames, tmp_path, model):
    source, output = saved(frames[:5], tmp_path / "in.mkv"), tmp_path / "out.mp4"

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "render" and done == 2:
            with pytest.raises(MediaError, match="is being written by another run with --resume"):
                lip_sync(source, SPEECH, output, model=model, resume=True)

    lip_sync(source, SPEECH, output, model=model, resume=True, progress=progress)
    folder_of(output).mkdir()
    (folder_of(output) / "thesis.txt").write_text("mine")
    with pytest.raises(MediaError, match="is something else: move it"):
        lip_sync(source, SPEECH, output, model=model, resume=True)
    lip_sync(source, SPEECH, output, model=model)
    assert (folder_of(output) / "thesis.txt").read_text() == "mine"


def test_the_command_says_how_to_go_on(frames, tmp_path, model, monkeypatch, capsys):
    monkeypatch.setattr(LipSync, "from_pretrained", staticmethod(lambda _, **how: model))
    source, output = saved(frames[:5], tmp_path / "in.mkv"), tmp_path / "out.mp4"
    command = ["sync", str(source), str(SPEECH), "-o", str(output), "--report", str(tmp_path / "r.json")]

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LipWatch, "see", interrupt)
        assert main([*command, "--resume"]) == 130
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[-2:] == [
            f"mytalk: note: what is finished is kept in {output}.resume: the same command goes on",
            "mytalk: interrupted",
        ]
        assert main(command) == 130 and "goes on" not in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0
    assert json.loads((tmp_path / "r.json").read_text())["frames"] == 5
    assert {path.name for path in tmp_path.iterdir()} == {"in.mkv", "out.mp4", "r.json"}


def test_a_source_that_changes_under_way_is_no_source(frames, tmp_path, model):
    source, output = saved(frames[:5], tmp_path / "in.mkv"), tmp_path / "out.mp4"

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "render" and done == 2:
            source.write_bytes(source.read_bytes() + b"more")

    with pytest.raises(MediaError, match=r"in.mkv was changed while it was read"):
        lip_sync(source, SPEECH, output, model=model, progress=progress)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mkv"]
