"""How the video's time meets the speech's: which source frame is shown when, for each of the sync modes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..limits import FRAME_RATE, FRAMES
from .clip import Clip

SYNC_MODES = ("silence", "cut_off", "loop", "bounce", "remap")
# Lengths that differ by no more than this count as equal: recorders end sound and picture a little apart.
TOLERANCE_S = 0.1
# Keeps times that should be equal on the same side of a comparison.
ROUNDING_S = 1e-6
# How often a picture is shown anew, so that its mouth can move: the motion's own rate.
STILL_RATE = Fraction(25)


@dataclass(frozen=True, eq=False)
class Timeline:
    """The output's frames.

    source_index: int64 (T_out,) frame numbers of the clip; pts: int64 (T_out,) from 0, in `time_base`
    seconds; last_duration: ticks the last frame is shown; speech_s: seconds of speech that are heard;
    warnings: lines for the user.
    """

    source_index: np.ndarray
    pts: np.ndarray
    time_base: Fraction
    last_duration: int
    speech_s: float
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.pts)

    @property
    def times_s(self) -> np.ndarray:
        """float64 (T_out,): when each frame begins, seconds from the first."""
        return self.pts * float(self.time_base)

    @property
    def durations(self) -> np.ndarray:
        """int64 (T_out,): how long each frame is shown, in `time_base` seconds."""
        return np.diff(np.append(self.pts, self.pts[-1] + self.last_duration))

    @property
    def duration_s(self) -> float:
        """Seconds from the first frame's start to the last one's end."""
        return float((int(self.pts[-1]) + self.last_duration) * self.time_base)

    def moments(self, rate_hz: float) -> int:
        """How many moments at a rate, from the first frame's start on, reach the last one's end."""
        return math.ceil(self.duration_s * rate_hz) + 1


def plan_timeline(clip: Clip, speech_duration_s: float, sync_mode: str = "silence") -> Timeline:
    """Lay the video out for a speech of `speech_duration_s` seconds.

    silence: exactly the video; shorter speech is followed by silence, longer speech is cut (with a warning).
    cut_off: ends with the shorter of the two. loop, bounce: the video runs again (from the start, or back and
    forth) until the speech ends, or is cut to it. remap: the video is slowed or sped up to the speech's
    length, at its own average frame rate, each time showing the nearest source frame. Lengths within 0.1 s
    count as equal, and then no frame is dropped or repeated.
    A clip of one frame has no length of its own: in every mode it is shown for the speech's, 25 times a
    second.
    Raises: ValueError for an unknown sync mode, a speech of no length, or more frames than `limits` allow.
    """
    if sync_mode not in SYNC_MODES:
        raise ValueError(f"a sync mode of {', '.join(SYNC_MODES)} was required, but {sync_mode!r} arrived")
    if not 0 < speech_duration_s < math.inf:
        raise ValueError(
            f"speech longer than 0 s was required, but {speech_duration_s} s arrived: give another sound"
        )
    video_s = clip.duration_s
    if len(clip) == 1 and abs(speech_duration_s - video_s) > ROUNDING_S:
        return still(speech_duration_s)
    if sync_mode == "silence" or abs(speech_duration_s - video_s) <= TOLERANCE_S + ROUNDING_S:
        source = np.arange(len(clip))
    elif sync_mode == "remap":
        return remapped(clip, speech_duration_s)
    elif sync_mode == "cut_off":
        source = np.arange(frames_before(clip.times_s, speech_duration_s))
    else:
        source = repeated(clip, speech_duration_s, bounce=sync_mode == "bounce")
    return laid_out(clip, source, speech_duration_s)


def still(speech_duration_s: float) -> Timeline:
    """The only frame of a clip, shown until the speech ends."""
    count = max(1, math.ceil((speech_duration_s - 1e-3) * STILL_RATE))
    check_output_frames(count, 1, speech_duration_s)
    return Timeline(
        np.zeros(count, np.int64),
        np.arange(count, dtype=np.int64),
        1 / STILL_RATE,
        1,
        min(speech_duration_s, float(count / STILL_RATE)),
    )


def check_output_frames(frames: float, clip_frames: int, speech_duration_s: float) -> None:
    """Raises ValueError where a clip's frames would become too many."""
    for limit, most in ((FRAME_RATE, FRAME_RATE.value * speech_duration_s), (FRAMES, FRAMES.value)):
        if frames > max(most, clip_frames):
            raise ValueError(
                f"at most {most:.0f} frames were required for {speech_duration_s:.2f} s, but this video at "
                f"its frame rate would have {frames:.0f}: choose sync mode silence or cut_off, or another "
                "rate; "
                f"{limit.remedy}"
            )


def begins_alike(clip: Clip, timeline: Timeline) -> bool:
    """True where the timeline shows the clip's frames from the first one on at their own times, to the end or
    not.
    """
    count = len(timeline)
    return (
        count <= len(clip)
        and timeline.time_base == clip.time_base
        and np.array_equal(timeline.source_index, np.arange(count))
        and np.array_equal(timeline.pts, clip.pts[:count] - clip.pts[0])
    )


def laid_out(clip: Clip, source: np.ndarray, speech_duration_s: float) -> Timeline:
    """Frames one after the other, each shown as long as in the source."""
    durations = clip.durations[source]
    pts = np.concatenate([[0], np.cumsum(durations[:-1])]).astype(np.int64)
    length_s = float((int(pts[-1]) + int(durations[-1])) * clip.time_base)
    warnings: tuple[str, ...] = ()
    if speech_duration_s > length_s + TOLERANCE_S + ROUNDING_S:
        warnings = (
            f"the speech ({speech_duration_s:.2f} s) is longer than the video ({length_s:.2f} s): its last "
            f"{speech_duration_s - length_s:.2f} s are cut; sync modes loop, bounce and remap keep all of it",
        )
    return Timeline(
        source.astype(np.int64),
        pts,
        clip.time_base,
        int(durations[-1]),
        min(speech_duration_s, length_s),
        warnings,
    )


def repeated(clip: Clip, speech_duration_s: float, *, bounce: bool) -> np.ndarray:
    """Frame numbers of a video that runs in a loop, or back and forth without showing its ends twice, until
    the speech ends.
    """
    forward = np.arange(len(clip))
    cycle = np.concatenate([forward, forward[-2:0:-1]]) if bounce else forward
    durations = clip.durations * float(clip.time_base)
    check_output_frames(speech_duration_s / durations[cycle].mean(), len(clip), speech_duration_s)
    rounds = int(np.ceil(speech_duration_s / durations[cycle].sum())) + 1
    source = np.tile(cycle, rounds)
    starts = np.concatenate([[0.0], np.cumsum(durations[source])[:-1]])
    return source[: frames_before(starts, speech_duration_s)]


def frames_before(starts_s: np.ndarray, end_s: float) -> int:
    """How many frames begin before `end_s`, at least one; a frame that would show for under a millisecond is
    left out.
    """
    return max(1, int(np.searchsorted(starts_s, end_s - 1e-3, side="left")))


def remapped(clip: Clip, speech_duration_s: float) -> Timeline:
    """The video stretched or squeezed to the speech's length: constant rate, each frame the nearest in source
    time.
    """
    count = max(1, round(speech_duration_s * float(clip.fps)))
    check_output_frames(count, len(clip), speech_duration_s)
    ends_s = np.append(clip.times_s[1:], clip.duration_s)
    wanted_s = (np.arange(count) + 0.5) / count * clip.duration_s
    source = np.minimum(np.searchsorted(ends_s, wanted_s - ROUNDING_S, side="right"), len(clip) - 1)
    length_s = float(count / clip.fps)
    return Timeline(
        source.astype(np.int64),
        np.arange(count, dtype=np.int64),
        1 / clip.fps,
        1,
        min(speech_duration_s, length_s),
    )
