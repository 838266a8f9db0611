"""What the lips do, by landmarks: how far they are from the true ones, how they open and rest."""

from __future__ import annotations

import numpy as np

from ...face.track import FaceTrack
from ...motion.person import PRESENT_WITHIN_S, RATE_HZ, interocular, opening_ratio

# Speech moves the inner lips by 0.3 eye distances a second (median of filmed speech), tracking noise of a
# resting mouth by a fifth of that.
MOVING_A_SECOND = 0.15
# Closed lips are no further apart than this over the inter-ocular distance.
CLOSED_OPENING = 0.005
# Lips that touch, as a tracker sees them in a film.
TOUCHING_OPENING = 0.03
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


def vertex_error(truth: np.ndarray, guess: np.ndarray, points: np.ndarray) -> np.ndarray:
    """LVE by frame: the distance of the lip point that is furthest off, % of the true inter-ocular distance.

    truth, guess: (F,N,2) in the same coordinates; points: int (P,) -> (F,). After Richard et al. 2021.
    """
    distance = np.linalg.norm(truth[:, points] - guess[:, points], axis=-1).max(-1)
    return distance / interocular(truth) * 100


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


def temporal_misalignment(truth: np.ndarray, guess: np.ndarray) -> float | None:
    """MTM: how far apart, in ms, the openings and closings of two curves (F,) at 25 Hz are, nan bridged; None
    where no extreme of one meets one of the other.

    Derivative dynamic time warping (Keogh & Pazzani 2001) pairs the frames; of every true extreme that is
    paired with one of the same kind the distance counts. After Chae-Yeon et al. 2025.
    """
    if min(np.isfinite(curve).sum() for curve in (truth, guess)) < 5:
        return None
    smooth = [_smoothed(curve) for curve in (truth, guess)]
    slopes = [((c[1:-1] - c[:-2]) + (c[2:] - c[:-2]) / 2) / 2 / max(float(c.std()), 1e-6) for c in smooth]
    kinds = [np.sign(np.diff(np.sign(np.diff(c)))) for c in smooth]
    apart: dict[int, int] = {}
    for i, j in _warping_path(*slopes):
        if kinds[0][i] != 0 and kinds[0][i] == kinds[1][j]:
            apart[i] = min(apart.get(i, len(truth)), abs(i - j))
    return float(np.mean(list(apart.values())) * 1000 / RATE_HZ) if apart else None


def _smoothed(curve: np.ndarray) -> np.ndarray:
    """A curve (F,) without its gaps and the tracker's noise."""
    rows = np.flatnonzero(np.isfinite(curve))
    bridged = np.interp(np.arange(len(curve)), rows, curve[rows])
    return np.convolve(np.pad(bridged, 1, "edge"), (0.25, 0.5, 0.25), "valid")


def _warping_path(x: np.ndarray, y: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of frames of least squared distance between two curves (F,), no more than a second apart."""
    count, reach = len(x), int(RATE_HZ)
    total = np.full((count + 1, 2 * reach + 3), np.inf)
    # Column c of row i is frame i + c - reach - 1 of y; one column on either side stays infinite.
    total[0, reach + 1] = 0.0
    steps = np.zeros((count + 1, 2 * reach + 3), np.int8)
    for i in range(1, count + 1):
        for column in range(1, 2 * reach + 2):
            j = i + column - reach - 1
            if 1 <= j <= count:
                before = (total[i - 1, column], total[i - 1, column + 1], total[i, column - 1])
                steps[i, column] = best = min(range(3), key=before.__getitem__)
                total[i, column] = before[best] + (x[i - 1] - y[j - 1]) ** 2
    pairs, i, column = [], count, reach + 1
    while i > 0 and i + column - reach - 1 > 0:
        pairs.append((i - 1, i + column - reach - 2))
        step = steps[i, column]
        i, column = i - (step != 2), column + (step == 1) - (step == 2)
    return pairs


def intensity_correlation(intensities: np.ndarray) -> float | None:
    """SLCC: Pearson's r of speech intensity and lip intensity (K,2) over clips or pieces of clips; None for
    fewer than three, or where one does not vary. After Chae-Yeon et al. 2025."""
    if len(intensities) < 3:
        return None
    return opening_correlation(*intensities.T)


def intensities(opening: np.ndarray, mono_16k: np.ndarray) -> np.ndarray:
    """Speech intensity, root mean square, and lip intensity, mean displacement of the opening (F,) from its
    smallest, of every piece of a second: (K,2). Pieces without half of their face are left out."""
    step, found = int(RATE_HZ), []
    least = np.nanmin(opening) if np.isfinite(opening).any() else 0.0
    for start in range(0, len(opening) - step + 1, step):
        sound = mono_16k[int(start / RATE_HZ * 16_000) : int((start + step) / RATE_HZ * 16_000)]
        piece = opening[start : start + step]
        if len(sound) and np.isfinite(piece).mean() > 0.5:
            found.append((float(np.sqrt(np.square(sound).mean())), float(np.nanmean(piece) - least)))
    return np.array(found).reshape(-1, 2)


def closure_rate(opening: np.ndarray, bilabials_s: np.ndarray) -> float | None:
    """Percent of the p, b and m during which the lips close, no further open than 3 % of the inter-ocular
    distance (filmed lips that touch are tracked so): opening (F,) at 25 Hz, starts and ends (K,2) in s. None
    without any whose face is seen."""
    closes = []
    for start, end in bilabials_s:
        during = opening[int(np.floor(start * RATE_HZ)) : int(np.ceil(end * RATE_HZ)) + 1]
        during = during[np.isfinite(during)]
        if len(during):
            closes.append(during.min() <= TOUCHING_OPENING)
    return 100 * float(np.mean(closes)) if closes else None


def silence_closed(opening: np.ndarray, silent: np.ndarray) -> float | None:
    """Percent of silent frames in which the lips are closed, no more than 0.5 % of the inter-ocular distance
    apart: opening (F,) at 25 Hz; silent (F,) bool as for `lip_leak`, None as there."""
    counted = silent & np.isfinite(opening)
    if counted.sum() < LEAST_SILENCE_S * RATE_HZ:
        return None
    return float((opening[counted] <= CLOSED_OPENING).mean() * 100)


def lip_leak(opening: np.ndarray, silent: np.ndarray) -> float | None:
    """Percent of silent frames in which the lips move: opening (F,) at 25 Hz; silent (F,) bool, where nobody
    has spoken for 120 ms or is about to (`speech_presence` 0).

    Lips move that open or close by more than 0.15 inter-ocular distances a second. None for less than 0.4 s
    of silence. After KeySync's LipLeak.
    """
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
