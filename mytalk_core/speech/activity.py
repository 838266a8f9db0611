"""Where somebody speaks: the mouth rests where nobody does.

A network that knows voices says so (`voice.py`), not a level: a quiet recording moves the lips, noise and
music do not, and who speaks or sings without a pause is heard. It hears every moment at the level of speech.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ..media.audio import MODEL_RATE_HZ
from .features import SAMPLES_PER_FRAME
from .singing import load_singing_detector
from .voice import PIECE, load_voice_detector

# Motion frames of sound that are looked at together: memory does not grow with the speech.
BLOCK_FRAMES = 1000
# Where voices have their power, Hz: hum and rumble lie below, hiss above.
BAND_HZ = (150.0, 4000.0)
# Below this, in dB of full scale, there is nothing but the rounding of 16-bit samples.
NOTHING_DB = -96.0
# The detector hears the loudest of the 3 s on either side at this level: a quiet voice as a near one.
HEARD_DB, AROUND_FRAMES = -20.0, 75
# Somebody speaks where a voice is at least so likely, and around there while it is not less likely than the
# second: found on clips in sync, singing ones too, against noises and music.
OPENS, STAYS = 0.3, 0.05
# Where it is that loud for a second, no further below the loudest, and no voice is heard, a second detector
# tells a song from music.
LOUD_DB, LOUD_GAP_FRAMES, ASKED_FRAMES = 20.0, 6, 25
SINGS, STAYS_SINGING = 0.9, 0.5
# The detector takes some tenths of a second of noise to be sure that a voice has ended. Speech ends where its
# level last was this far on the way from what follows, for so many frames, up to itself, in dB.
END_SHARE, END_FRAMES = 0.3, 10
# A breath, a cough or a chair in a quiet room may pass for a voice for some tenths of a second. What is alone
# and shorter than this counts only where the detector is as sure as of a spoken word: 405 stretches of speech
# in 318 filmed clips, 10 of them shorter, and it is sure of 0.87 and more of each of these. Or where it is
# about as loud, no further below in dB, as what it is that sure of anywhere in this sound: a short answer may
# get 0.65, by where its pieces begin, while a breath is far below a voice.
ALONE_FRAMES, SURE, AS_LOUD_DB = 15, 0.8, 6.0
# Within a sentence people do not close their lips at every gap, and the motion model has heard it: a shorter
# silence between speech is no silence (0.6 s).
PAUSE_FRAMES = 15
# Lips may move this many frames before speech begins and after it ends, and ease in and out over so many
# more: people breathe in and hold their mouths ready half a second ahead (5 frames ahead: r 0.740 on people
# kept from training, these: 0.754), and they rest from 120 ms behind the end on.
LEAD_FRAMES, LEAD_EASE_FRAMES = 12, 8
TAIL_FRAMES, TAIL_EASE_FRAMES = 1, 1


def speech_presence(mono_16k: np.ndarray, frames: int) -> np.ndarray:
    """How far the mouth may leave its rest, by motion frame at 25 Hz.

    mono_16k: (S,) in -1..1 at 16 kHz, taken as silent behind its end. Returns (frames,) float32 in 0..1:
    1 in and around speech, 0 from 120 ms behind its end; pauses under 0.6 s belong to it.
    """
    speaking = speech_frames(mono_16k, frames).astype(np.float32)
    before = _ramp(LEAD_FRAMES, LEAD_EASE_FRAMES)
    after = _ramp(TAIL_FRAMES, TAIL_EASE_FRAMES)
    # What is spoken at frame i reaches back to i - len(before) + 1 and on to i + len(after) - 1.
    weights = np.concatenate([after[:0:-1], before])
    padded = np.pad(speaking, (len(after) - 1, len(before) - 1))
    return np.stack([w * padded[i : i + frames] for i, w in enumerate(weights)]).max(0).astype(np.float32)


def speech_frames(mono_16k: np.ndarray, frames: int) -> np.ndarray:
    """In which motion frames (frames,) somebody speaks, bool; arguments as for `speech_presence`."""
    level_db = band_level_db(mono_16k, frames)
    audible = level_db > NOTHING_DB
    if not audible.any():
        return audible
    heard = at_heard_level(mono_16k, level_db)
    voice = np.where(audible, voice_by_frame(heard, frames), 0)
    speaking = _hysteresis(voice > OPENS, voice > STAYS)
    singing = _singing(heard, ~speaking & (band_level_db(heard, frames) > HEARD_DB - LOUD_DB))
    speaking = _without_gaps(speaking | singing, PAUSE_FRAMES)
    level_db = level_db.clip(NOTHING_DB)
    return _without_breaths(_without_echo(speaking, level_db), voice, level_db)


def _singing(heard: np.ndarray, loud: np.ndarray) -> np.ndarray:
    """In which motion frames (F,) of sound (S,) at the level that is heard somebody sings after all, of those
    where it is loud for longer and the voice detector hears nobody."""
    singing = np.zeros(len(loud), bool)
    for first, stop in _runs(_without_gaps(loud, LOUD_GAP_FRAMES)):
        if stop - first < ASKED_FRAMES:
            continue
        part = heard[first * SAMPLES_PER_FRAME : stop * SAMPLES_PER_FRAME]
        likely = load_singing_detector().probabilities(part, stop - first)
        singing[first:stop] = _hysteresis(likely > SINGS, likely > STAYS_SINGING)
    return singing


def voice_by_frame(heard: np.ndarray, frames: int) -> np.ndarray:
    """Probability (frames,) of a voice by motion frame of sound (S,) at the level that is heard."""
    return _by_frame(load_voice_detector().probabilities(heard), frames)


def at_heard_level(mono_16k: np.ndarray, level_db: np.ndarray) -> np.ndarray:
    """Speech (S,) whose level (frames,) about each moment is brought to `HEARD_DB`."""
    level = torch.from_numpy(level_db.clip(NOTHING_DB))[None]
    around = (AROUND_FRAMES, AROUND_FRAMES)
    loudest = F.max_pool1d(F.pad(level, around, value=NOTHING_DB), 2 * AROUND_FRAMES + 1, 1)
    smooth = F.avg_pool1d(F.pad(loudest, around, mode="replicate"), 2 * AROUND_FRAMES + 1, 1)[0].numpy()
    heard, frames = np.empty(len(mono_16k), np.float32), np.arange(len(smooth))
    for start in range(0, len(heard), BLOCK_FRAMES * SAMPLES_PER_FRAME):
        block = mono_16k[start : start + BLOCK_FRAMES * SAMPLES_PER_FRAME]
        moments = np.arange(start, start + len(block)) / SAMPLES_PER_FRAME
        gain = 10 ** ((HEARD_DB - np.interp(moments, frames, smooth)) / 20)
        heard[start : start + len(block)] = block * gain.astype(np.float32)
    return heard


def _by_frame(pieces: np.ndarray, frames: int) -> np.ndarray:
    """The most that any piece (P,) touching the 40 ms about a motion frame says, (frames,); 0 behind them."""
    padded = np.pad(pieces, (0, 2 + -(-frames * SAMPLES_PER_FRAME // PIECE)))
    middle = np.arange(frames) * SAMPLES_PER_FRAME
    first, last = (middle - SAMPLES_PER_FRAME // 2).clip(0), middle + SAMPLES_PER_FRAME // 2 - 1
    # They are longer than a piece: a third one may lie within them.
    return np.max([padded[sample // PIECE] for sample in (first, middle, last)], axis=0)


def band_level_db(mono_16k: np.ndarray, frames: int) -> np.ndarray:
    """Level of the voices' band by motion frame (frames,), dB of full scale; arguments as above."""
    padded = np.zeros((frames + 1) * SAMPLES_PER_FRAME, np.float32)
    count = min(len(mono_16k), len(padded) - SAMPLES_PER_FRAME // 2)
    # Motion frame j is the moment j / 25 s: its 40 ms of sound lie around it.
    padded[SAMPLES_PER_FRAME // 2 : SAMPLES_PER_FRAME // 2 + count] = mono_16k[:count]
    blocks = padded[: frames * SAMPLES_PER_FRAME].reshape(frames, SAMPLES_PER_FRAME)
    window = np.hanning(SAMPLES_PER_FRAME).astype(np.float32)
    hz = np.fft.rfftfreq(SAMPLES_PER_FRAME, 1 / MODEL_RATE_HZ)
    inside = (hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])
    power = np.zeros(frames, np.float32)
    for start in range(0, frames, BLOCK_FRAMES):
        spectrum = np.fft.rfft(blocks[start : start + BLOCK_FRAMES] * window, axis=1)[:, inside]
        power[start : start + BLOCK_FRAMES] = np.square(np.abs(spectrum)).sum(1)
    # By Parseval: the mean square of the block that has these bins and their mirror images.
    mean_square = 2 * power / (SAMPLES_PER_FRAME * np.square(window).sum())
    return 10 * np.log10(mean_square + 1e-12)


def _hysteresis(opens: np.ndarray, stays: np.ndarray) -> np.ndarray:
    """Runs of `stays` (F,) that have an `opens` in them."""
    run = np.cumsum(np.diff(stays, prepend=False) & stays) * stays
    return stays & np.isin(run, np.unique(run[opens & stays]))


def _runs(flags: np.ndarray) -> np.ndarray:
    """The runs of True (F,): int64 (R, 2), each one's first row and the one behind its last."""
    return np.flatnonzero(np.diff(flags, prepend=False, append=False)).reshape(-1, 2)


def _without_gaps(speaking: np.ndarray, shortest: int) -> np.ndarray:
    """Runs of False between two of True filled where they have fewer frames than `shortest`."""
    rows = np.flatnonzero(speaking)
    filled = speaking.copy()
    for first, last in zip(rows[:-1], rows[1:], strict=True):
        if last - first <= shortest:
            filled[first:last] = True
    return filled


def _without_echo(speaking: np.ndarray, level_db: np.ndarray) -> np.ndarray:
    """Runs of True (F,) cut where their level (F,) has fallen to that of what follows them."""
    cut = speaking.copy()
    for first, stop in _runs(speaking):
        behind = level_db[stop : stop + END_FRAMES]
        if len(behind):
            spoken_db = np.quantile(level_db[max(first, stop - 25) : stop], 0.9)
            limit_db = np.median(behind) + END_SHARE * (spoken_db - np.median(behind))
            heard = np.flatnonzero(level_db[first:stop] > limit_db)
            cut[first + (heard[-1] + 1 if len(heard) else 0) : stop] = False
    return cut


def _without_breaths(speaking: np.ndarray, voice: np.ndarray, level_db: np.ndarray) -> np.ndarray:
    """Runs of True (F,) but for short ones in which no voice (F,) is sure, and whose level (F,) is below that
    of the sure ones."""
    heard, sure = speaking.copy(), voice >= SURE
    loud_db = np.quantile(level_db[sure], 0.9) - AS_LOUD_DB if sure.any() else np.inf
    for first, stop in _runs(speaking):
        rows = slice(first, stop)
        if stop - first < ALONE_FRAMES and not sure[rows].any() and level_db[rows].max() < loud_db:
            heard[rows] = False
    return heard


def _ramp(full: int, ease: int) -> np.ndarray:
    """1 up to `full` frames away, then falling: 0 is behind its end."""
    distance = np.arange(full + ease + 1)
    return np.clip((full + ease + 1 - distance) / (ease + 1), 0, 1)
