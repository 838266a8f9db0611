"""Speech from any file with sound: the original samples for the output, and 16 kHz mono for the models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import av
import numpy as np

from ..errors import MediaError
from ..limits import GAP_SECONDS, MEDIA_SECONDS
from .container import (
    MISSING_TAIL_S,
    audio_stream,
    decode_tolerantly,
    is_cover,
    listed_packets,
    open_media,
    seconds_a_tick,
)
from .promised_sound import promised_length_s

MODEL_RATE_HZ = 16_000
# More than any layout that FFmpeg names: what has them is (samples, channels).
MOST_CHANNELS = 64
# Stamps that jump by more than this are a real gap; smaller ones are the container's rounding.
GAP_S = 0.1
BLOCK_SAMPLES = 1 << 16
INTEGER_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31}
READABLE = {*INTEGER_SCALE, "flt", "dbl"}  # samples that PyAV has as arrays
# A mix with less than this share of the power that its strongest channel puts in has cancelled itself;
# channels that have nothing to do with each other stand at 1 and more.
CANCELLED = 0.1
# How long the powers are remembered that tell so.
MEMORY_S = 0.15
# Samples between two looks.
PIECE_SAMPLES = 2048


@dataclass(frozen=True, eq=False)
class Speech:
    """A sound, unresampled, and its mono version for the models.

    sample_rate: Hz; channels, samples: its size; layout: FFmpeg's name of the channel order;
    mono_16k: float32 (S16,), -1..1, 16 kHz, S16 = round(samples * 16000 / sample_rate);
    path: the file its samples are read from when needed, None when they are held.
    """

    sample_rate: int
    channels: int
    samples: int
    layout: str
    mono_16k: np.ndarray = field(repr=False)
    path: Path | None = None
    held: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Speech:
        """The sound of an audio or a video file; a video's sound is shifted so that time 0 is its first
        frame.

        The file is decoded once, in blocks; only `mono_16k` is kept.
        Raises: FileNotFoundError; MediaError (no audio stream, nothing decodes, zero length).
        """
        path = Path(path)
        reader = SoundReader(path)
        mixer = MonoMixer()
        for block in reader.blocks():
            mixer.add(block, reader.sample_rate, reader.layout)
        if mixer.samples == 0:
            raise MediaError(
                f"speech was required, but the sound of {path} has zero length: give a sound file with "
                "samples"
            )
        return cls(reader.sample_rate, reader.channels, mixer.samples, reader.layout, mixer.finish(), path)

    @classmethod
    def from_waveform(cls, waveform: np.ndarray, sample_rate: int, layout: str | None = None) -> Speech:
        """A sound in memory: waveform float (C, S) or (S,), -1..1 (a torch tensor on the CPU is taken too).

        Raises: ValueError for another shape, such as (S, C), or type, samples that are not finite, or a
        rate <= 0; MediaError for zero length.
        """
        waveform = np.asarray(waveform)
        waveform = waveform[None] if waveform.ndim == 1 else waveform
        fits = waveform.ndim == 2 and len(waveform) <= MOST_CHANNELS
        if not fits or not np.issubdtype(waveform.dtype, np.floating):
            raise ValueError(
                f"a float waveform (channels, samples) was required, but {waveform.dtype} of shape "
                f"{waveform.shape} arrived"
            )
        if sample_rate <= 0:
            raise ValueError(f"a sample rate above 0 Hz was required, but {sample_rate} arrived")
        if waveform.size == 0:
            raise MediaError(
                "speech was required, but the waveform has zero length: give a sound with samples"
            )
        waveform = np.ascontiguousarray(waveform, np.float32)
        if not np.isfinite(waveform).all():
            raise ValueError(
                "finite samples were required, but the waveform has NaN or infinity in it: repair the sound"
            )
        mixer = MonoMixer()
        layout = layout or default_layout(len(waveform))
        for start in range(0, waveform.shape[1], BLOCK_SAMPLES):
            mixer.add(waveform[:, start : start + BLOCK_SAMPLES], int(sample_rate), layout)
        return cls(int(sample_rate), len(waveform), waveform.shape[1], layout, mixer.finish(), None, waveform)

    @property
    def duration_s(self) -> float:
        """Seconds."""
        return self.samples / self.sample_rate

    @cached_property
    def waveform(self) -> np.ndarray:
        """float32 (C, S), -1..1, original rate; read from the file and kept at first use (use `blocks` for
        long sound).
        """
        if self.held is not None:
            return self.held
        waveform = np.empty((self.channels, self.samples), np.float32)
        start = 0
        for block in self.blocks():
            waveform[:, start : start + block.shape[1]] = block
            start += block.shape[1]
        return waveform

    def blocks(self) -> Iterator[np.ndarray]:
        """The waveform in order, float32 (C, n), never all at once."""
        if self.held is None:
            assert self.path is not None  # what is not held is a file's
            yield from SoundReader(self.path).blocks()
            return
        for start in range(0, self.samples, BLOCK_SAMPLES):
            yield self.held[:, start : start + BLOCK_SAMPLES]


class SoundReader:
    """Decodes the sound of a file in blocks; sample_rate, channels and layout are known after the first
    block.
    """

    def __init__(self, path: Path):
        self.path = path
        self.sample_rate = 0
        self.channels = 0
        self.layout = ""

    def blocks(self) -> Iterator[np.ndarray]:
        """float32 (C, n) blocks from time 0 on: the first video frame where there is video, else the first
        sample.

        Encoder priming is skipped, late sound is preceded by silence, early sound cut, gaps are filled.
        Raises: FileNotFoundError; MediaError.
        """
        start_s = first_picture_s(self.path)
        with open_media(self.path, "a sound") as container:
            stream = audio_stream(container, self.path)
            stream.codec_context.thread_type = "AUTO"
            written = 0
            for frame in decoded_sound(container, stream, self.path):
                if self.sample_rate == 0:
                    self.sample_rate, self.channels = frame.sample_rate, frame.layout.nb_channels
                    self.layout = frame.layout.name
                if start_s is None:
                    start_s = frame.time or 0.0
                block = self._samples(frame)
                if not np.isfinite(block).all():
                    raise MediaError(
                        f"finite samples were required, but the sound of {self.path} has NaN or infinity in "
                        "it: repair it or export it again"
                    )
                if block.shape[1] == 0:
                    continue
                gap = self._gap(frame, start_s, written)
                while gap > 0:
                    silence = np.zeros((self.channels, min(gap, BLOCK_SAMPLES)), np.float32)
                    gap -= silence.shape[1]
                    written += silence.shape[1]
                    yield silence
                block = block[:, -gap:] if gap < 0 else block
                written += block.shape[1]
                if block.shape[1]:
                    yield block

    def _gap(self, frame: av.AudioFrame, start_s: float, written: int) -> int:
        """Samples missing between what was given out and this frame; negative where they overlap."""
        if frame.pts is None:
            return 0
        gap = round((frame.pts * float(seconds_a_tick(frame)) - start_s) * self.sample_rate) - written
        if gap > GAP_SECONDS.value * self.sample_rate:
            raise MediaError(
                f"sound without long gaps was required, but the time stamps of {self.path} jump by "
                f"{gap / self.sample_rate:.0f} s: cut it or export it again; {GAP_SECONDS.remedy}"
            )
        return 0 if written and abs(gap) < GAP_S * self.sample_rate else gap

    def _samples(self, frame: av.AudioFrame) -> np.ndarray:
        """float32 (C, n) in the stream's first layout and rate; a stream that changes either is converted."""
        changed = (frame.sample_rate, frame.layout.nb_channels) != (self.sample_rate, self.channels)
        readable = frame.format.name.removesuffix("p") in READABLE
        # PyAV reads past the planes of eight channels and more: interleave those first.
        if readable and not changed and (frame.layout.nb_channels < 8 or not frame.format.is_planar):
            return float_samples(frame)
        converter = av.AudioResampler(format="flt", layout=self.layout, rate=self.sample_rate)
        parts = [float_samples(part) for part in (*converter.resample(frame), *converter.resample(None))]
        return np.concatenate(parts, axis=1) if parts else np.zeros((self.channels, 0), np.float32)


def decoded_sound(
    container: av.container.InputContainer, stream: av.AudioStream, path: Path
) -> Iterator[av.AudioFrame]:
    """Audio frames; a damaged packet is passed over (its time becomes silence).

    Raises: MediaError if none decodes, or the container promises more packets or time than the file holds.
    """
    count = arrived = 0
    decoded_s = 0.0

    def counted() -> Iterator[av.Packet[av.AudioStream]]:
        nonlocal arrived
        for packet in container.demux(stream):
            arrived += packet.size > 0
            yield packet

    for frame in decode_tolerantly(counted()):
        count += 1
        decoded_s += frame.samples / frame.sample_rate
        yield frame
    promised_s = promised_length_s(container, stream, path)
    if count and decoded_s < promised_s - MISSING_TAIL_S:
        raise MediaError(
            f"complete speech was required, but the sound of {path} breaks off: {decoded_s:.2f} s of "
            f"{promised_s:.2f} s are there: copy or export it again"
        )
    listed = listed_packets(container, stream)
    if arrived < listed:
        raise MediaError(
            f"complete speech was required, but the sound of {path} breaks off: {arrived} of {listed} "
            "promised packets are there: copy or export it again"
        )
    if count == 0:
        raise MediaError(
            f"speech was required, but the audio stream of {path} has zero length or does not decode: give "
            "a sound with samples"
        )


def float_samples(frame: av.AudioFrame) -> np.ndarray:
    """Any sample format -> float32 (C, n), -1..1 (an integer's full scale is 1)."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    kind = frame.format.name.removesuffix("p")
    if kind not in INTEGER_SCALE:
        return np.ascontiguousarray(values, np.float32)
    values = values.astype(np.float32)
    if kind == "u8":
        values -= 128.0
    return np.ascontiguousarray(values / np.float32(INTEGER_SCALE[kind]))


def first_picture_s(path: Path) -> float | None:
    """Time of the first frame that decodes, or None for a file without video."""
    with open_media(path, "a sound") as container:
        streams = [stream for stream in container.streams.video if not is_cover(stream)]
        best = container.streams.best("video")
        if not streams:
            return None
        try:
            for frame in container.decode(best if best in streams else streams[0]):
                return frame.time
        except av.error.FFmpegError:
            return None
    return None


class MonoMixer:
    """Blocks of any rate and layout -> one float32 mono signal at 16 kHz, resampled as they come.

    Where channels in opposite phase would cancel each other the strongest stands for all.
    """

    def __init__(self) -> None:
        self.samples = 0
        self._weights: np.ndarray | None = None
        self._powers = np.zeros(0)
        self._rate = 0
        self._resampler: av.AudioResampler | None = None
        self._parts: list[np.ndarray] = []

    def add(self, block: np.ndarray, sample_rate: int, layout: str) -> None:
        """Mix the next samples in.

        block: float32 (C, n). Raises MediaError beyond `limits.MEDIA_SECONDS`.
        """
        if self.samples + block.shape[1] > MEDIA_SECONDS.value * sample_rate:
            raise MediaError(
                f"sound of at most {MEDIA_SECONDS.value:.15g} s was required, but this one is longer (at "
                f"{sample_rate} Hz): cut it; {MEDIA_SECONDS.remedy}"
            )
        mono = self._mix(block, sample_rate, layout)
        if self._rate == 0:
            self._rate = sample_rate
            if sample_rate != MODEL_RATE_HZ:
                self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=MODEL_RATE_HZ)
        if self._resampler is None:
            self._parts.append(mono)
        else:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(mono[None]), format="fltp", layout="mono")
            frame.sample_rate = sample_rate
            frame.pts = self.samples
            self._parts += [part.to_ndarray()[0] for part in self._resampler.resample(frame)]
        self.samples += len(mono)

    def _mix(self, block: np.ndarray, sample_rate: int, layout: str) -> np.ndarray:
        """float32 (n,): the layout's mix of a block (C, n), or its strongest channel."""
        usual = mix_weights(len(block), layout)
        mono = usual @ block
        if np.count_nonzero(usual) > 1:
            for start in range(0, len(mono), PIECE_SAMPLES):
                piece = slice(start, start + PIECE_SAMPLES)
                mono[piece] = self._rescued(block[:, piece], mono[piece], usual, sample_rate)
        return mono

    def _rescued(
        self, block: np.ndarray, mixed: np.ndarray, usual: np.ndarray, sample_rate: int
    ) -> np.ndarray:
        """A piece of the mix, `mixed` (n,) unless the channels (C, n) have cancelled each other in it."""
        # Of the mix and of what each channel puts into it, the last moments counting most.
        parts = [w * w * (row @ row) for w, row in zip(usual, block, strict=True)]
        powers = np.array([mixed @ mixed, *parts])
        if len(self._powers) != len(powers):
            self._powers, self._weights = np.zeros(len(powers)), None
        self._powers = np.exp(-len(mixed) / (MEMORY_S * sample_rate)) * self._powers + powers
        weights = self._choose(usual)
        last, self._weights = self._weights, weights
        if last is None or np.array_equal(last, weights):
            return mixed if weights is usual else weights @ block
        # Over to the other within the piece: no click.
        share = np.linspace(0, 1, len(mixed), dtype=np.float32)
        return (1 - share) * (last @ block) + share * (weights @ block)

    def _choose(self, usual: np.ndarray) -> np.ndarray:
        """Weights (C,): the usual ones, or those of the strongest channel alone, which stays while it is not
        far below another."""
        mix_power, channel_powers = self._powers[0], self._powers[1:]
        if not mix_power < CANCELLED * channel_powers.max():
            return usual
        last = self._weights
        if last is not None and np.count_nonzero(last) == 1:
            chosen: float = channel_powers[last.argmax()]
            if chosen > 0.5 * channel_powers.max():
                return last
        weights = np.zeros_like(usual)
        weights[channel_powers.argmax()] = 1.0
        return weights

    def finish(self) -> np.ndarray:
        """The whole signal, exactly round(samples * 16000 / rate) long."""
        if self._resampler is not None:
            self._parts += [part.to_ndarray()[0] for part in self._resampler.resample(None)]
        length = max(1, round(self.samples * MODEL_RATE_HZ / self._rate))
        signal = np.zeros(length, np.float32)
        start = 0
        self._parts.reverse()
        # Each is let go of once it is copied: hours are never held twice.
        while self._parts:
            part = self._parts.pop()[: length - start]
            signal[start : start + len(part)] = part
            start += len(part)
        return signal


def mix_weights(channels: int, layout: str) -> np.ndarray:
    """float32 (C,), sum 1: speech sits in the middle of a surround mix, its bass channels carry none.

    With a centre channel that one counts half. Equal weights for layouts without, and for unknown ones.
    """
    names = _channel_names(layout)
    weights = np.ones(channels)
    bass = [name.startswith("LFE") for name in names]
    if len(names) == channels > 1 and not all(bass):
        weights[bass] = 0.0
        if "FC" in names:
            weights[names.index("FC")] = weights.sum() - 1
    return (weights / weights.sum()).astype(np.float32)


def _channel_names(layout: str) -> list[str]:
    """FFmpeg's name of each channel of a layout; none of a layout that it does not know."""
    try:
        return [channel.name for channel in av.AudioLayout(layout).channels]
    except ValueError:
        return []


def default_layout(channels: int) -> str:
    """The usual layout for a number of channels."""
    usual = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
    return usual.get(channels, f"{channels} channels")
