"""Several speeches heard at once, each from the beginning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import av
import numpy as np

from .audio import BLOCK_SAMPLES, Speech


@dataclass(frozen=True, eq=False)
class MixedSpeech(Speech):
    """The sum of `parts`, at their highest rate, in stereo unless all are mono, turned down by `gain` where
    it would be louder than full scale; read when needed, in blocks."""

    parts: tuple[Speech, ...] = field(default=(), repr=False)
    gain: float = 1.0

    @classmethod
    def of(cls, parts: Sequence[Speech]) -> Speech:
        """The mix of speeches, each once; of one alone that one."""
        files = [part.path for part in parts]
        parts = [p for i, p in enumerate(parts) if p.path is None or p.path not in files[:i]]
        if len(parts) == 1:
            return parts[0]
        rate = max(part.sample_rate for part in parts)
        mono = all(part.channels == 1 for part in parts)
        samples = max(round(part.duration_s * rate) for part in parts)
        heard = np.zeros(max(len(part.mono_16k) for part in parts), np.float32)
        for part in parts:
            heard[: len(part.mono_16k)] += part.mono_16k
        layout = "mono" if mono else "stereo"
        mix = cls(rate, 1 if mono else 2, samples, layout, heard, parts=tuple(parts))
        peak = max((float(np.abs(block).max()) for block in mix.blocks()), default=0.0)
        gain = 1 / max(peak, 1.0)
        return cls(rate, mix.channels, samples, layout, heard * np.float32(gain), parts=mix.parts, gain=gain)

    def blocks(self) -> Iterator[np.ndarray]:
        """See `Speech.blocks`."""
        readers = [_Pieces(part, self.sample_rate, self.layout) for part in self.parts]
        for start in range(0, self.samples, BLOCK_SAMPLES):
            block = np.zeros((self.channels, min(BLOCK_SAMPLES, self.samples - start)), np.float32)
            for reader in readers:
                piece = reader.take(block.shape[1])
                block[:, : piece.shape[1]] += piece
            yield block * np.float32(self.gain)


class _Pieces:
    """A speech in another rate and layout, as many samples as are asked for."""

    def __init__(self, speech: Speech, rate: int, layout: str) -> None:
        self._blocks = self._converted(speech, rate, layout)
        self._left = np.zeros((1 if layout == "mono" else 2, 0), np.float32)

    def take(self, count: int) -> np.ndarray:
        """The next samples (C, n), fewer than `count` at the end."""
        parts = [self._left]
        while sum(part.shape[1] for part in parts) < count:
            block = next(self._blocks, None)
            if block is None:
                break
            parts.append(block)
        whole = np.concatenate(parts, axis=1)
        self._left = whole[:, count:]
        return whole[:, :count]

    @staticmethod
    def _converted(speech: Speech, rate: int, layout: str) -> Iterator[np.ndarray]:
        # One channel is heard from both sides as loud as it is; the converter would turn it down.
        own, sides = ("mono", 1 if layout == "mono" else 2) if speech.channels == 1 else (layout, 1)
        if (speech.sample_rate, speech.layout) == (rate, own):
            yield from (np.repeat(block, sides, axis=0) for block in speech.blocks())
            return
        converter = av.AudioResampler(format="fltp", layout=own, rate=rate)
        for block in speech.blocks():
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", speech.layout)
            frame.sample_rate = speech.sample_rate
            yield from (np.repeat(p.to_ndarray(), sides, axis=0) for p in converter.resample(frame))
        yield from (np.repeat(p.to_ndarray(), sides, axis=0) for p in converter.resample(None))
