"""How late lips are, finer than a frame."""

from __future__ import annotations

import numpy as np
import torch
from mytalk_training.motion import lags
from mytalk_training.motion.data import RawClip

from mytalk_core.expert.sync_expert import ExpertConfig, SyncExpert, SyncScore


def clip(frames: int) -> RawClip:
    displacement = np.arange(frames, dtype=np.float32)[:, None, None] * np.ones((1, 2, 3), np.float32)
    speech = torch.arange(frames * 640) / (frames * 640)
    return RawClip(
        "c", "p", "mesh478", displacement, np.ones(frames, bool), np.zeros((2, 3), np.float32), speech
    )


def test_the_parabola_finds_what_lies_between_frames(monkeypatch):
    expert = SyncExpert(ExpertConfig(motion=2, speech_width=3, speech_layers=(0,)))
    shifts = torch.arange(-15, 16)
    # Squared distances about 2.3 frames: (2 - 2 cos) is their square again.
    distance = 0.5 + 0.01 * (shifts - 2.3).square()
    cosine = 1 - distance.square() / 2
    monkeypatch.setattr("mytalk_core.expert.sync_expert.shifted_cosines", lambda *_: cosine.expand(1, 50, 31))
    score = expert.score(torch.zeros(50, 2), torch.zeros(100, 1, 3))
    assert score.offset_frames == 2
    assert abs(score.late_frames - 2.3) < 1e-3


def test_speech_is_moved_to_the_lips_and_clips_out_of_sync_are_left_out(monkeypatch):
    scores = iter(
        [
            SyncScore(1.0, 0.5, 2, 2.5),
            SyncScore(1.0, 0.1, 2, 2.5),
            None,
            SyncScore(1.0, 0.5, -2, -1.5),
            SyncScore(1.0, 0.9, 15, 15.0),
        ]
    )
    monkeypatch.setattr(lags, "judge", lambda *_: next(scores))
    late, early = lags.in_sync([clip(50) for _ in range(5)], None, 0.25)
    assert len(late.displacement) == 50 and len(late.speech) == 50 * 640
    # Lips 2.5 frames late: their speech begins 100 ms later.
    assert not late.speech[:1600].any() and torch.equal(
        late.speech[1600:], clip(50).speech[: 50 * 640 - 1600]
    )
    assert len(early.displacement) == 48 == len(early.present)
    assert torch.equal(early.speech, clip(50).speech[960 : 960 + 48 * 640])
