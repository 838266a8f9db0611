"""Mel-frequency cepstra as SyncNet was trained on them: 13 numbers, 100 times a second."""

from __future__ import annotations

import numpy as np

RATE_HZ = 16_000
WINDOW, STEP, SPECTRUM = 400, 160, 512
FILTERS, CEPSTRA, LIFTER = 26, 13, 22
EMPHASIS = 0.97


def mel_filters() -> np.ndarray:
    """Triangles (26,257) with corners at whole bins, evenly spaced in mel from 0 to 8000 Hz."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE_HZ / 2 / 700), FILTERS + 2)
    corners = np.floor((SPECTRUM + 1) * 700 * (10 ** (mel / 2595) - 1) / RATE_HZ)
    bins = np.arange(SPECTRUM // 2 + 1)
    left, top, right = (corners[i : i + FILTERS, None] for i in range(3))
    rising, falling = (bins - left) / (top - left), (right - bins) / (right - top)
    inside = (bins >= left) & (bins < right)
    return np.where(inside, np.where(bins < top, rising, falling), 0.0)


def mfcc(mono_16k: np.ndarray) -> np.ndarray:
    """Cepstra (13,n) float32 of speech (S,) in -1..1 at 16 kHz, one each 10 ms from windows of 25 ms.

    Levels are those of 16-bit samples; the first cepstrum is the logarithm of the window's energy.
    """
    # A host application may come without torchaudio; all but SyncNet is measured without it.
    from torchaudio.functional import create_dct

    sound = np.rint(np.clip(mono_16k, -1, 1) * 32767).astype(np.float64)
    sound = np.append(sound[:1], sound[1:] - EMPHASIS * sound[:-1])
    count = 1 + max(int(np.ceil((len(sound) - WINDOW) / STEP)), 0)
    padded = np.zeros((count - 1) * STEP + WINDOW)
    padded[: min(len(sound), len(padded))] = sound[: len(padded)]
    filters, transform = mel_filters(), create_dct(CEPSTRA, FILTERS, "ortho").double().numpy()
    lift = 1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER)
    tiny = np.finfo(np.float64).eps
    out = np.empty((CEPSTRA, count), np.float32)
    for start in range(0, count, 1000):
        stop = min(start + 1000, count)
        rows = (np.arange(start, stop) * STEP)[:, None] + np.arange(WINDOW)
        power = np.abs(np.fft.rfft(padded[rows], SPECTRUM)) ** 2 / SPECTRUM
        energy, bands = power.sum(1), power @ filters.T
        cepstra = np.log(np.where(bands == 0, tiny, bands)) @ transform * lift
        cepstra[:, 0] = np.log(np.where(energy == 0, tiny, energy))
        out[:, start:stop] = cepstra.T
    return out
