"""What the lips do, by landmarks: how far they are from the true ones, how they open and rest."""

from __future__ import annotations

import numpy as np

from ...face.track import FaceTrack
from ...motion.person import PRESENT_WITHIN_S, RATE_HZ, interocular, opening_ratio
from ...speech.activity import speech_presence

# Speech moves the inner lips by 0.3 eye distances a second (median of filmed speech), tracking noise of a
# resting mouth by a fifth of that.
MOVING_A_SECOND = 0.15
# Closed lips are no further apart than this over the inter-ocular distance.
CLOSED_OPENING = 0.005
# A mouth's opening varies as the real one's if its deviation is within these of it.
KEPT_SPREAD = (0.85, 1.15)
# Landmarks are unpacked this many frames at a time: memory does not grow with the clip.
BLOCK_FRAMES = 200
# Less silence than this says nothing.
LEAST_SILENCE_S = 0.4


def landmark_distance(truth: np.ndarray, guess: np.ndarray, points: np.ndarray) -> np.ndarray:
    """LMD by frame: mean distance of some points in percent of the true inter-ocular distance.

    truth, guess: (F,N,2) in the same coordinates; points: int (P,) -> (F,). After Chen et al. 2018.
    """
    distance = np.linalg.norm(truth[:, points] - guess[:, points], axis=-1).mean(-1)
    return distance / interocular(truth) * 100


def velocity_distance(truth: np.ndarray, guess: np.ndarray, unit: float | np.ndarray) -> np.ndarray:
    """LVD by frame after the first: mean distance of the points' velocities at 25 Hz, % of `unit` a second.

    truth, guess: (F,P,2) in the same coordinates; unit: the true inter-ocular distance, one or (F-1,)
    -> (F-1,). After Zhou et al. 2020.
    """
    distance = np.linalg.norm(np.diff(guess - truth, axis=0), axis=-1).mean(-1)
    return distance / unit * RATE_HZ * 100


def opening_curve(track: FaceTrack, times_s: np.ndarray) -> np.ndarray:
    """`opening_ratio` of the face at times (F,), nan where it is not present."""
    opening = np.empty(len(times_s))
    for start in range(0, len(times_s), BLOCK_FRAMES):
        block = slice(start, start + BLOCK_FRAMES)
        sample = track.at(times_s[block])
        values = opening_ratio(sample.landmarks[..., :2])
        opening[block] = np.where(sample.distance_s < PRESENT_WITHIN_S, values, np.nan)
    return opening


def opening_correlation(truth: np.ndarray, guess: np.ndarray) -> float | None:
    """Pearson's r of two opening curves (F,) where neither is nan, -1 to 1; None if one does not move."""
    both = np.isfinite(truth) & np.isfinite(guess)
    x, y = truth[both], guess[both]
    if len(x) < 3 or x.std() < 1e-6 or y.std() < 1e-6:
        return None
    return float(np.corrcoef(x, y)[0, 1])


def opening_spread(truth: np.ndarray, guess: np.ndarray) -> float | None:
    """Standard deviation of an opening curve (F,) over the true one's, where neither is nan; None if the true
    one does not move."""
    both = np.isfinite(truth) & np.isfinite(guess)
    if both.sum() < 3 or truth[both].std() < 1e-6:
        return None
    return float(guess[both].std() / truth[both].std())


def opening_kept(truth: np.ndarray, guess: np.ndarray) -> float | None:
    """100 if the opening varies as the true one does, 0.85 to 1.15 times as much, else 0: a mean over clips
    is their share. None as for `opening_spread`."""
    spread = opening_spread(truth, guess)
    return None if spread is None else 100.0 * (KEPT_SPREAD[0] <= spread <= KEPT_SPREAD[1])


def opening_jitter(opening: np.ndarray) -> float | None:
    """Jitter of an opening curve (F,) at 25 Hz: mean size of its third derivative, inter-ocular distances a
    second cubed. None without four frames in a row. As motion capture has it (TransPose, Yi et al. 2021)."""
    jerk = np.diff(opening, 3) * RATE_HZ**3
    jerk = np.abs(jerk[np.isfinite(jerk)])
    return float(jerk.mean()) if len(jerk) else None


def silence_closed(opening: np.ndarray, mono_16k: np.ndarray) -> float | None:
    """Percent of silent frames in which the lips are closed, no more than 0.5 % of the inter-ocular distance
    apart: opening (F,) at 25 Hz against speech (S,) at 16 kHz; silent as for `lip_leak`, None as there."""
    counted = (speech_presence(mono_16k, len(opening)) == 0) & np.isfinite(opening)
    if counted.sum() < LEAST_SILENCE_S * RATE_HZ:
        return None
    return float((opening[counted] <= CLOSED_OPENING).mean() * 100)


def lip_leak(opening: np.ndarray, mono_16k: np.ndarray) -> float | None:
    """Percent of silent frames in which the lips move: opening (F,) at 25 Hz against speech (S,) at 16 kHz.

    A frame is silent where nobody has spoken for 120 ms or is about to (`speech_presence`); lips move that
    open or close by more than 0.15 inter-ocular distances a second. None for less than 0.4 s of silence.
    After KeySync's LipLeak.
    """
    silent = speech_presence(mono_16k, len(opening)) == 0
    speed = np.full(len(opening), np.nan)
    if len(opening) > 2:
        speed[1:-1] = np.abs(opening[2:] - opening[:-2]) * (RATE_HZ / 2)
    counted = silent & np.isfinite(speed)
    if counted.sum() < LEAST_SILENCE_S * RATE_HZ:
        return None
    return float((speed[counted] > MOVING_A_SECOND).mean() * 100)


def speech_level(mono_16k: np.ndarray, frames: int) -> np.ndarray:
    """Loudness (frames,) at 25 Hz: root mean square around each frame, 1 at the loudest."""
    step = int(16_000 / RATE_HZ)
    padded = np.zeros((frames + 1) * step, np.float32)
    count = min(len(mono_16k), len(padded) - step // 2)
    padded[step // 2 : step // 2 + count] = mono_16k[:count]
    level = np.sqrt(np.square(padded[: frames * step].reshape(frames, step)).mean(1))
    return level / max(float(level.max()), 1e-6) if frames else level
