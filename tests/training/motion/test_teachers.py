"""Teachers say what is to be found of people they have not learnt from, and nobody else's word counts."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from mytalk_training.loop.order import NOISE, SampleRandom
from mytalk_training.loop.people import PEOPLE_NAME, write_people
from mytalk_training.motion.losses import aim_of, losses
from mytalk_training.motion.teachers import Teachers
from mytalk_training.motion.train import parse
from test_train_motion import SAMPLES, make_batch, make_state
from test_windows import Encoder, make_data

from mytalk_core.motion.diffusion import PROCESSES
from mytalk_core.motion.space import LandmarkSpace

GIVEN = ["DATASET", "-o", "RUN", "--identity", "IDENTITY"]


class SaysAlways:
    """In place of trained teachers: channels of one value, and whom they were asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def say(self, features, upper, rest, person):
        assert features.shape[:1] == (2 * len(upper),) and rest.shape == (478, 2)
        self.asked.append((person, len(upper)))
        return torch.full((len(upper), 6), 7.0)


@pytest.fixture
def runs(tmp_path):
    """Two runs of tiny regressions: the first has learnt from a, the second from a and b."""
    state = make_state("regression")
    for number, people in enumerate(("a", "ab")):
        run = tmp_path / str(number)
        state.networks["denoiser"].module.denoiser.save_pretrained(run / "model" / "motion")
        state.objective.space.save_pretrained(run / "model" / "space")
        write_people(run, people)
        torch.nn.init.ones_(state.networks["denoiser"].module.denoiser.backbone.output.bias)
    return state, [tmp_path / "0", tmp_path / "1"]


class Spoken(Encoder):
    dim, layers = 5, (12,)


def opened(runs) -> Teachers:
    state, folders = runs
    return Teachers(folders, state.objective.space, Spoken(), state.objective.identity)


def test_only_those_speak_who_have_not_learnt_from_the_person(runs):
    features, upper, rest = torch.randn(20, 1, 5), torch.randn(10, 4), torch.randn(478, 2)
    teachers = opened(runs)
    alone, both = (teachers.say(features, upper, rest, person) for person in "bc")
    first, second = (teacher.denoiser for teacher in teachers._teachers)
    torch.testing.assert_close(alone, teachers._one(first, features, upper, rest))
    torch.testing.assert_close(both, (alone + teachers._one(second, features, upper, rest)) / 2)
    assert not torch.allclose(alone, both)
    with pytest.raises(ValueError, match="all teachers have learnt from a: train one without, by --fold"):
        teachers.say(features, upper, rest, "a")


def test_teachers_of_another_kind_are_refused(runs):
    state, folders = runs
    space, identity = state.objective.space, state.objective.identity
    with pytest.raises(ValueError, match=r"run's speech \(3, \(0, 2\)\); it reads \(5, \(12,\)\)"):
        Teachers(folders, space, Encoder(), identity)
    other = LandmarkSpace(space.config)
    with pytest.raises(ValueError, match="another landmark space"):
        Teachers(folders, other, Spoken(), identity)
    (folders[1] / PEOPLE_NAME).unlink()
    with pytest.raises(FileNotFoundError, match=PEOPLE_NAME):
        opened(runs)


def test_what_is_to_be_found_lies_between_their_word_and_the_truth():
    teachers = SaysAlways()
    data = make_data(teachers=teachers, truth=0.25, seen=True)
    own = [clip for clip in data.clips if not torch.equal(clip.x0, clip.aim)]
    assert len(own) == 4  # two clips, each in a mirror, too
    for clip in own:
        torch.testing.assert_close(clip.aim, 0.25 * clip.x0 + 0.75 * torch.full_like(clip.x0, 7.0))
    untaught = make_data(seen=True)
    assert len(untaught.clips) == 4 and all(torch.equal(clip.x0, clip.aim) for clip in untaught.clips)


def test_speech_is_said_by_strangers_as_teachers_have_it():
    teachers = SaysAlways()
    clips = make_data(teachers=teachers, truth=1.0, seen=True).clips
    strangers = clips[4:]
    assert strangers and len(strangers) == len(teachers.asked) - 4
    for clip, (person, frames) in zip(strangers, teachers.asked[4:], strict=True):
        speaker, face = clips[0], clips[2]
        if person == "b":
            speaker, face = face, speaker
        assert clip.person == speaker.person and len(clip.x0) == frames == 12
        assert torch.equal(clip.features, speaker.features[:24]) and torch.equal(clip.upper, face.upper[:12])
        assert torch.equal(clip.x0, torch.full((12, 6), 7.0)) and torch.equal(clip.aim, clip.x0)


def test_processes_that_draw_get_the_clips_and_no_teachers():
    teachers = SaysAlways()
    teachers.network = lambda: None  # as little to be sent to another process as one on a GPU
    data = make_data(teachers=teachers, seen=True)
    there = pickle.loads(pickle.dumps(data))
    assert torch.equal(there.draw([1, 2], 20, seed=3).aim, data.draw([1, 2], 20, seed=3).aim)


@pytest.mark.parametrize("process", PROCESSES)
def test_the_truth_is_to_be_found_where_it_can_be_seen(process):
    batch, diffusion = make_batch(), PROCESSES[process]()
    object.__setattr__(batch, "aim", batch.x0 + 1)
    t = torch.tensor([0, 500, 999])
    aim = aim_of(batch, diffusion, t, None)
    if process == "regression":
        assert torch.equal(aim, batch.aim)
        return
    beside, seen = aim - batch.x0, diffusion.alpha_sigma(t)[0] ** 2
    torch.testing.assert_close(beside, (1 - seen).float()[:, None, None].expand_as(beside))
    assert beside[0].max() < 0.01 and beside[2].min() > 0.99
    own = torch.tensor([True, False, True])[:, None, None]
    hidden = aim_of(batch, diffusion, t, own)
    assert torch.equal(hidden[[0, 2]], batch.aim[[0, 2]]) and torch.equal(hidden[1], aim[1])


def test_losses_are_of_what_is_to_be_found():
    batch, objective = make_batch(), make_state("regression").objective
    object.__setattr__(batch, "aim", batch.x0 + 2)
    terms = losses(lambda batch, *_: batch.x0 + 5, batch, objective, SampleRandom(1, NOISE, SAMPLES))
    assert terms["x0"].item() == pytest.approx(9.0, rel=1e-5)


def test_a_run_says_whom_it_learns_from(tmp_path):
    write_people(tmp_path, ["z", "å", "z"])
    assert json.loads((tmp_path / PEOPLE_NAME).read_text()) == ["z", "å"]


def test_flags_outside_their_range(capsys):
    args = parse([*GIVEN, "--fold", "1", "4", "--teachers", "A", "B", "--truth", "0.5"])
    assert (args.fold, args.teachers, args.truth) == ([1, 4], ["A", "B"], 0.5)
    for wrong, said in (
        (["--fold", "4", "4"], "0 ... N - 1, and their number N, 2 or more; got 4 4"),
        (["--fold", "0", "1"], "2 or more; got 0 1"),
        (["--width", "30"], "--width must be a multiple of 4, the heads of attention; got 30"),
        (["--frames", "0"], "argument --frames: a whole number, 2 or more, was required; got '0'"),
        (["--truth", "2"], "--truth is a share, 0 ... 1; got 2"),
    ):
        with pytest.raises(SystemExit):
            parse([*GIVEN, *wrong])
        assert said in capsys.readouterr().err
