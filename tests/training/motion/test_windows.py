"""What the motion model's training reads: whose clips, which windows of them, on which device."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mytalk_training.motion import train
from mytalk_training.motion.data import PAUSE_FRAMES, MotionData, RawClip
from mytalk_training.motion.train import parse

from mytalk_core.face.layout import LandmarkLayout
from mytalk_core.motion.space import LandmarkSpace, SpaceConfig

FRAMES = (30, 12)


class Encoder:
    """Features are the position within the speech, from 1 on, in every channel."""

    dim, layers = 3, (0, 2)

    def encode(self, speech, count):
        return torch.arange(1.0, count + 1)[:, None, None].expand(count, 2, 3)


def make_data(tempi: tuple[float, ...] = (1.0,), seen: bool = False, **options) -> MotionData:
    """Two clips, whose frame 4 does not show the face unless `seen`."""
    rest = LandmarkLayout.load("mesh478").template
    generator = np.random.default_rng(0)
    clips = [
        RawClip(
            name,
            name,
            "mesh478",
            generator.normal(size=(frames, 478, 3)).astype(np.float32),
            (np.arange(frames) != 4) | seen,
            rest,
            torch.zeros(640 * frames),
        )
        for name, frames in zip("ab", FRAMES, strict=True)
    ]
    space = LandmarkSpace(SpaceConfig(lower=6, upper=4))
    for part in space.buffers():
        part.normal_(generator=torch.Generator().manual_seed(len(part)))
    return MotionData(clips, space, Encoder(), 0, tempi, **options)


def test_a_window_is_a_stretch_of_a_clip_and_padding():
    data = make_data()
    batch = data.draw([*range(40)], 20, seed=3)
    starts = set()
    for x0, upper, features, rest, valid, aim in zip(*vars(batch).values(), strict=True):
        start = int(features[0, 0, 0] - 1) // 2
        (clip,) = [
            clip
            for clip in data.clips
            if torch.equal(clip.x0[start : start + 20], x0[: len(clip.x0) - start])
        ]
        count = min(20, len(clip.x0) - start)
        starts.add((len(clip.x0), start))
        assert torch.equal(upper[:count], clip.upper[start : start + 20])
        assert torch.equal(features[: 2 * count], clip.features[2 * start : 2 * (start + count)].float())
        assert torch.equal(valid[:count], clip.present[start : start + 20])
        assert torch.equal(rest, clip.rest) and torch.equal(aim, x0)
        assert not any(part[count:].any() for part in (x0, upper, valid)) and not features[2 * count :].any()
    assert {frames for frames, _ in starts} == set(FRAMES) and len(starts) > 4


def test_hidden_speech_is_all_that_differs():
    plain, hidden = (make_data(hidden=hidden).draw([5, 6, 7], 20, seed=3) for hidden in (0, 2))
    changed = (hidden.features[0] != plain.features[0]).any(-1).any(-1)
    mean = plain.features[0].mean(0)
    assert changed.any() and not changed.all()
    torch.testing.assert_close(hidden.features[0][changed], mean.expand(int(changed.sum()), 2, 3))
    for name in ("x0", "upper", "rest", "valid"):
        assert torch.equal(getattr(hidden, name), getattr(plain, name))


def test_windows_are_cut_where_the_clips_lie():
    """All but what decides where windows start; torch's device without memory stands for a GPU."""
    batch = make_data(hidden=1, device="meta").draw([1, 2], 20, seed=3)
    assert {name: part.device.type for name, part in vars(batch).items()} == {
        "x0": "meta",
        "upper": "meta",
        "features": "meta",
        "rest": "meta",
        "valid": "cpu",
        "aim": "meta",
    }
    here = make_data(hidden=1).draw([1, 2], 20, seed=3)
    assert [part.shape for part in vars(here).values()] == [part.shape for part in vars(batch).values()]
    assert torch.equal(here.valid, batch.valid)


def test_a_copy_for_each_tempo():
    given = ["DATASET", "-o", "RUN", "--identity", "IDENTITY"]
    assert parse([*given, "--tempi", "1", "0.8"]).tempi == [1.0, 0.8]
    with pytest.raises(SystemExit):
        parse([*given, "--tempi", "1", "0"])
    data = make_data(tempi=(1.0, 0.8, 1.25), seen=True)
    lengths = [len(clip.x0) for clip in data.clips[::2]]  # each as it is, then in a mirror
    pauses = 2 * PAUSE_FRAMES
    assert lengths == [30, int(30 / 0.8) + pauses, 24 + pauses, 12, 15 + pauses, int(12 / 1.25) + pauses]


def test_who_is_kept_from_training(tmp_path, monkeypatch):
    """A dataset of their own, every 16th person, or a part of the people."""
    people = {"many": [*range(20)], "others": [100, 101]}
    monkeypatch.setattr(
        train,
        "read_clips",
        lambda folder, _: [SimpleNamespace(identity=f"{n:03}") for n in people[folder.name]],
    )
    given = ["many", "-o", "RUN", "--identity", "IDENTITY"]
    known, held = train.read_people(parse(given), None)
    assert (len(known), len(held)) == (19, 1)
    known, held = train.read_people(parse([*given, "--validate-on", "others"]), None)
    assert (len(known), [clip.identity for clip in held]) == (20, ["100", "101"])
    parts = [train.read_people(parse([*given, "--fold", str(part), "4"]), None) for part in range(4)]
    assert sorted(clip.identity for _, held in parts for clip in held) == [f"{n:03}" for n in range(20)]
    assert {len(known) for known, _ in parts} == {15}
    known, held = train.read_people(parse([*given, "--fold", "0", "4", "--validate-on", "others"]), None)
    assert (len(known), [clip.identity for clip in held]) == (15, ["100", "101"])
    people["many"] = [7]
    with pytest.raises(ValueError, match="--fold 0 4 keeps out everybody that .* has: prepare clips of more"):
        train.read_people(parse([*given, "--fold", "0", "4"]), None)
