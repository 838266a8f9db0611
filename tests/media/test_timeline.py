"""The five sync modes: which frame is shown when, and what the user is told."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from mytalk_core.media.clip import Clip
from mytalk_core.media.image_clip import ImageClip
from mytalk_core.media.timeline import SYNC_MODES, plan_timeline


def clip_of(count: int, fps=25) -> Clip:
    return ImageClip.from_frames(np.zeros((count, 2, 2, 3), np.uint8), fps)


def uneven_clip() -> Clip:
    """Four frames shown for 1, 3, 2 and 4 tenths of a second, its clock starting at 7."""
    clip = clip_of(4)
    object.__setattr__(clip, "pts", np.array([7, 8, 11, 13]))
    object.__setattr__(clip, "time_base", Fraction(1, 10))
    object.__setattr__(clip, "last_duration", 4)
    return clip


@pytest.mark.parametrize("mode", SYNC_MODES)
@pytest.mark.parametrize("seconds", [1.95, 2.0, 2.1])
def test_nearly_equal_lengths_are_equal(mode, seconds):
    timeline = plan_timeline(clip_of(50), seconds, mode)
    assert timeline.source_index.tolist() == list(range(50)) and timeline.duration_s == 2.0
    assert timeline.warnings == ()


def test_silence_is_exactly_the_video():
    for seconds, heard, warned in ((0.5, 0.5, 0), (9.0, 2.0, 1)):
        timeline = plan_timeline(clip_of(50), seconds)
        assert timeline.source_index.tolist() == timeline.pts.tolist() == list(range(50))
        assert timeline.speech_s == heard and len(timeline.warnings) == warned
    assert "7.00 s are cut" in timeline.warnings[0] and "loop" in timeline.warnings[0]


def test_cut_off_ends_with_the_shorter():
    short = plan_timeline(clip_of(50), 1.0, "cut_off")
    assert len(short) == 25 and short.duration_s == 1.0 and short.speech_s == 1.0
    long = plan_timeline(clip_of(50), 3.0, "cut_off")
    assert len(long) == 50 and long.speech_s == 2.0 and len(long.warnings) == 1
    assert len(plan_timeline(clip_of(50), 0.001, "cut_off")) == 1


def test_loop_starts_over():
    timeline = plan_timeline(clip_of(5), 0.5, "loop")
    assert timeline.source_index.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1, 2]
    assert timeline.pts.tolist() == list(range(13)) and timeline.speech_s == 0.5
    assert len(plan_timeline(clip_of(50), 1.0, "loop")) == 25


def test_bounce_shows_its_ends_once():
    timeline = plan_timeline(clip_of(4), 0.4, "bounce")
    assert timeline.source_index.tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3]
    assert plan_timeline(clip_of(1), 0.2, "bounce").source_index.tolist() == [0] * 5


def test_remap_spreads_the_video_over_the_speech():
    slow = plan_timeline(clip_of(50, Fraction(30000, 1001)), 5.0, "remap")
    assert slow.time_base == Fraction(1001, 30000) and len(slow) == round(5 * 30000 / 1001)
    assert slow.duration_s == pytest.approx(5.005) and slow.speech_s == 5.0
    assert slow.source_index[0] == 0 and slow.source_index[-1] == 49
    assert set(np.diff(slow.source_index)) == {0, 1}
    fast = plan_timeline(clip_of(50), 1.01, "remap")
    assert fast.duration_s == fast.speech_s == 1.0, "whole frames"
    # Two frames end in the middle of each: the earlier one is shown.
    assert fast.source_index.tolist() == list(range(0, 50, 2))


@pytest.mark.parametrize("mode", SYNC_MODES)
def test_a_still_is_shown_25_times_a_second_until_the_speech_ends(mode):
    for clip, seconds in ((clip_of(1, 10), 0.2), (clip_of(1), 0.2), (clip_of(1, 4), 0.21)):
        timeline = plan_timeline(clip, seconds, mode)
        count = 5 if seconds == 0.2 else 6
        assert timeline.source_index.tolist() == [0] * count and timeline.durations.tolist() == [1] * count
        assert timeline.time_base == Fraction(1, 25) and timeline.speech_s == seconds


@pytest.mark.parametrize(("count", "fps", "moments"), [(50, 25, 51), (7, 30, 7), (1, 50, 2)])
def test_moments_reach_the_last_frame_s_end(count, fps, moments):
    timeline = plan_timeline(clip_of(count, fps), count / fps)
    assert timeline.moments(25) == moments and (moments - 1) / 25 >= timeline.duration_s


def test_uneven_frames_keep_their_own_durations():
    loop = plan_timeline(uneven_clip(), 2.2, "loop")
    assert loop.pts.tolist() == [0, 1, 4, 6, 10, 11, 14, 16, 20, 21]
    assert loop.duration_s == pytest.approx(2.4)
    bounce = plan_timeline(uneven_clip(), 1.6, "bounce")
    assert bounce.source_index.tolist() == [0, 1, 2, 3, 2, 1, 0]
    assert bounce.pts.tolist() == [0, 1, 4, 6, 10, 12, 15]
    # At 0.45 s into the video its second frame (0.1 to 0.4 s) is over and the third is shown.
    remap = plan_timeline(uneven_clip(), 3.0, "remap")
    shown = uneven_clip().times_s[remap.source_index]
    wanted = (np.arange(len(remap)) + 0.5) / len(remap) * 1.0
    assert (shown <= wanted).all() and remap.duration_s == pytest.approx(3.0, abs=0.05)


def test_bad_requests():
    with pytest.raises(ValueError, match="silence, cut_off, loop, bounce, remap was required, but 'freeze'"):
        plan_timeline(clip_of(5), 1.0, "freeze")
    with pytest.raises(ValueError, match="longer than 0 s"):
        plan_timeline(clip_of(5), 0.0)
