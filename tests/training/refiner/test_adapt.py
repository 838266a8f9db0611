"""Adapting a refiner to a person: what is left out stays out, and what comes back is never worse."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from mytalk_training.refiner import adapt as program
from mytalk_training.refiner.lending import APART_S
from mytalk_training.refiner.person import GUARD_S, PERIOD_S, near, pieces, read_person
from repository import EXAMPLES
from safetensors.torch import load_file

from mytalk_core.appearance.networks.refiner import MouthRefiner, RefinerConfig
from mytalk_core.appearance.renderers import load_renderer
from mytalk_core.checkpoint.pretrained import BUNDLED
from mytalk_core.cli import main as cli
from mytalk_core.errors import NoFaceError
from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.face.reader import load_face_reader
from mytalk_core.media.arranged import part_of
from mytalk_core.media.file_clip import FileClip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.pipeline import stages

WOMAN = EXAMPLES / "ai_woman.mp4"
TINY = RefinerConfig(width=8, widths=(8, 8))
QUICK = partial(program.AdaptationConfig, steps=6, batch=2, rate=0.01, warmup=1, ema=0.3, looks=3)


@pytest.fixture(scope="module")
def woman():
    """Every fifth frame of an example, and the face in them."""
    pictures = [picture.rgb[::2, ::2] for picture in FileClip.open(WOMAN).pictures(range(0, 200, 5))]
    clip = ImageClip.from_frames(np.stack(pictures), 5)
    return clip, stages.track(load_face_reader(), clip).choose("largest")


@pytest.fixture(scope="module")
def person(woman):
    return read_person(*woman)


@pytest.fixture(scope="module")
def accelerator():
    """In float32: of so few channels bfloat16 makes slow ones."""
    return Accelerator(cpu=True, mixed_precision="no")


def too_dark(config: RefinerConfig = TINY) -> MouthRefiner:
    """A refiner that mixes plainly and darkens what it makes."""
    torch.manual_seed(0)
    refiner = MouthRefiner(config).eval()
    with torch.no_grad():
        refiner.mend.bias[:] = -0.2
    return refiner


def test_a_piece_of_every_period_is_left_out():
    times_s = np.arange(0, 24, 0.04)
    left = pieces(times_s, 0.75)
    assert np.diff(left.astype(int)).clip(0).sum() == 24 / PERIOD_S and 70 < left.sum() < 80
    assert pieces(times_s[:100], 0.75).any(), "a short video has one too"
    assert near(times_s, left, GUARD_S).sum() == pytest.approx(left.sum() + 6 * 7.5, abs=4)
    assert not near(times_s, np.zeros(len(times_s), bool), GUARD_S).any()


def test_what_is_left_out_neither_lends_nor_teaches(person, woman):
    times_s = woman[1].times_s
    left = times_s[pieces(times_s, 0.75)]
    assert set(person.left_out.times_s) <= set(left)
    for known in (person.learned.times_s, person.lender.times_s):
        assert np.abs(known[:, None] - left[None]).min() > GUARD_S
    apart = pieces(times_s, 0.25)
    narrower = read_person(*woman, apart)
    for known in (narrower.learned.times_s, narrower.lender.times_s, narrower.left_out.times_s):
        assert np.abs(known[:, None] - times_s[apart][None]).min() > GUARD_S


def test_nothing_nearer_than_a_syllable_is_lent(person, monkeypatch):
    lent = []
    take = type(person.lender.references).take

    def noted(references, keep):
        if isinstance(keep, np.ndarray) and keep.dtype == bool and len(keep) == len(person.lender.times_s):
            lent.append(person.lender.times_s[keep])
        return take(references, keep)

    monkeypatch.setattr(type(person.lender.references), "take", noted)
    rows = np.array([0, len(person.learned) // 2])
    samples = person.samples(person.learned, rows, np.random.default_rng(0), {"full": 1.0})
    assert len(samples.truth) == 2
    for row, times_s in zip(rows, lent, strict=True):
        assert len(times_s) and np.abs(times_s - person.learned.times_s[row]).min() > APART_S


def test_what_it_does_wrong_on_this_person_is_unlearnt(person, accelerator):
    refiner = too_dark(TINY)
    before = {name: value.clone() for name, value in refiner.state_dict().items()}
    steps = []
    adapted = program.adapt(
        person, refiner, QUICK(), accelerator, progress=lambda stage, done, total: steps.append((done, total))
    )
    assert steps[-1] == (6, 6)
    assert adapted.after_db > adapted.before_db + 0.5 and adapted.steps > 0
    rows = np.arange(len(person.left_out))
    samples = person.samples(person.left_out, rows, np.random.default_rng(0), {"full": 1.0})
    seen = program.look(adapted.refiner, [samples], accelerator)
    assert seen.mean() == pytest.approx(adapted.after_db, abs=0.1)
    assert all(torch.equal(value, before[name]) for name, value in refiner.state_dict().items())


def test_what_comes_back_is_never_worse(person, accelerator):
    refiner = MouthRefiner(TINY).eval()
    adapted = program.adapt(person, refiner, QUICK(rate=50.0, patience=1), accelerator)
    assert adapted.refiner is refiner and adapted.steps == 0
    assert adapted.after_db == adapted.before_db


def test_chance_alone_is_no_gain():
    drawn = np.random.default_rng(0).normal(0, 0.3, 32)
    centred = drawn - drawn.mean()
    assert not program.is_sure(centred + 0.03) and program.is_sure(centred + 0.2)
    assert not program.is_sure(np.zeros(4)) and program.is_sure(np.array([0.1]))


@pytest.fixture
def model(tmp_path):
    """The bundled model with a small refiner that darkens."""
    folder = tmp_path / "model"
    shutil.copytree(BUNDLED / "mini", folder)
    shutil.rmtree(folder / "refiner")
    too_dark().save_pretrained(folder / "refiner")
    return folder


@pytest.fixture
def read(monkeypatch, person, accelerator):
    """Lets the command off reading the video again."""
    monkeypatch.setattr(program, "in_training", lambda: accelerator)
    monkeypatch.setattr(program, "AdaptationConfig", QUICK)
    monkeypatch.setattr(program, "load_face_reader", lambda device: None)
    monkeypatch.setattr(program, "track", lambda *_: SimpleNamespace())
    monkeypatch.setattr(program, "choose", lambda *_: None)
    monkeypatch.setattr(program, "read_person", lambda *_, **__: person)


def test_learning_begins_slowly_and_ends_slowly():
    config = program.AdaptationConfig(steps=100, rate=1e-3, warmup=10)
    rates = [config.rate_at(step) for step in range(1, 101)]
    assert rates[0] == pytest.approx(1e-4) and rates[-1] == pytest.approx(1e-5)
    assert np.argmax(rates) == 9 and max(rates) == pytest.approx(0.91e-3)


def test_the_result_is_a_whole_model_that_draws_by_default(model, read, tmp_path, capsys):
    out = tmp_path / "person"
    assert cli.main(["adapt", str(WOMAN), "-o", str(out), "--model", str(model)]) == 0
    assert "frames left out" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"model", "person"}
    assert load_renderer("auto", str(out)).name == "network"
    for path in model.rglob("*"):
        if path.is_file() and path.parent.name != "refiner" and path.name != "MODEL_CARD.md":
            assert (out / path.relative_to(model)).read_bytes() == path.read_bytes(), path
    old, new = (load_file(folder / "refiner" / "model.safetensors") for folder in (model, out))
    assert any((old[name].float() != new[name].float()).any() for name in old)
    assert cli.main(["weights", "verify", str(out)]) == 0


def test_no_better_is_one_line_and_nothing_written(model, read, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(program, "AdaptationConfig", partial(QUICK, rate=50.0, patience=1))
    assert cli.main(["adapt", str(WOMAN), "-o", str(tmp_path / "person"), "--model", str(model)]) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "nothing was written" in line and "frames left out" in line
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_stopped_midway_it_leaves_nothing(model, read, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(program, "learn", stop)
    assert cli.main(["adapt", str(WOMAN), "-o", str(tmp_path / "person"), "--model", str(model)]) == 130
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_is_there_is_refused_before_the_work(tmp_path, capsys):
    assert cli.main(["adapt", str(WOMAN), "-o", str(tmp_path)]) == 1
    assert "a folder that is not there yet was required" in capsys.readouterr().err
    assert cli.main(["adapt", str(WOMAN), "-o", str(tmp_path / "no" / "person")]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert cli.main(["adapt", str(WOMAN), "-o", str(tmp_path / "person"), "--start", "9"]) == 1
    assert "a part with frames in it was required" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_a_refiner_is_refused(tmp_path, capsys):
    model = tmp_path / "model"
    shutil.copytree(BUNDLED / "mini", model, ignore=shutil.ignore_patterns("refiner"))
    assert cli.main(["adapt", str(WOMAN), "-o", str(tmp_path / "person"), "--model", str(model)]) == 1
    line = capsys.readouterr().err.strip()
    assert "refiner" in line and "\n" not in line


def test_a_video_that_teaches_nothing_is_refused(woman):
    clip, face = woman
    with pytest.raises(NoFaceError, match="3 s of the face to learn from"):
        read_person(part_of(clip, 0, 2.0), face.take(np.arange(10), face.times_s[:10]))
    with pytest.raises(NoFaceError, match=r"but 0\.0 s and 0 frames are there"):
        read_person(clip, replace(face, present=np.zeros(len(face), bool)))
    with pytest.raises(NoFaceError, match=r"but 0\.0 s and 1 frames are there"):
        read_person(part_of(clip, 0, 0.01), face.take(np.array([0]), face.times_s[:1]))
    still = face.take(np.zeros(len(face), int), face.times_s)
    pictures = np.repeat(next(clip.frames(0, 1)), len(face), axis=0)
    with pytest.raises(ValueError, match="in which the person talks was required"):
        read_person(ImageClip.from_frames(pictures, clip.fps), still)


def test_covered_frames_do_not_teach(woman):
    clip, face = woman
    pictures = next(clip.frames(batch_size=len(clip))).copy()
    lips = face.landmarks[:][:, LandmarkLayout.load(face.layout).lips_outer, :2]

    def cover(every: int) -> ImageClip:
        for picture, points in zip(pictures[::every], lips[::every], strict=True):
            (left, top), (right, bottom) = points.min(0).astype(int) - 4, points.max(0).astype(int) + 4
            picture[top:bottom, left:right] = (30, 90, 160)
        return ImageClip.from_frames(pictures, 5)

    person = read_person(cover(3), face)
    assert len(person.learned) > 5 and not set(person.learned.times_s) & set(face.times_s[::3])
    with pytest.raises(NoFaceError, match="something lies before it"):
        read_person(cover(1), face)


def test_what_training_needs_and_is_not_there_is_named(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "mytalk_training.refiner.adapt")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert cli.main(["adapt", "--help"]) == 1
    line = capsys.readouterr().err
    assert "accelerate" in line and 'pip install "mytalk[training]"' in line


@pytest.mark.parametrize("option", ["--seed=-1", "--start=-1", "--start=nan"])
def test_numbers_are_told_before_the_work(tmp_path, capsys, option):
    assert cli.main(["adapt", "none.mp4", "-o", str(tmp_path / "ann"), option]) == 1
    assert f"mytalk: {option.partition('=')[0]} must be 0 or more; got" in capsys.readouterr().err


def test_the_help_says_what_it_is(capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["adapt", "--help"])
    assert stopped.value.code == 0
    assert "usage: mytalk adapt" in capsys.readouterr().out
