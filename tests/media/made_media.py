"""Real media, made with PyAV alone: what the reader and the writer are held against."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


@dataclass(frozen=True)
class Sound:
    """A chirp half a second in, at amplitude 0.7, silence elsewhere."""

    codec: str = "aac"
    rate: int = 44100
    layout: str = "stereo"
    seconds: float = 1.6


def chirp(rate: int, seconds: float, channels: int = 1, at_s: float = 0.5) -> np.ndarray:
    """float32 (C, S): 0.2 s of a tone rising from 300 to 3000 Hz that begins at `at_s`."""
    times = np.arange(round(rate * seconds)) / rate - at_s
    inside = (times >= 0) & (times < 0.2)
    phase = 2 * np.pi * (300 * times + (3000 - 300) / 0.2 * times**2 / 2)
    wave = np.where(inside, 0.7 * np.sin(phase) * np.sin(np.pi * times / 0.2) ** 2, 0.0)
    return np.repeat(wave[None], channels, 0).astype(np.float32)


def offset_s(heard: np.ndarray, expected: np.ndarray, rate: int) -> float:
    """How much later `heard` is than `expected`, by the peak of their correlation; both (S,)."""
    size = 1 << int(np.ceil(np.log2(len(heard) + len(expected))))
    correlation = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(expected, size)), size)
    peak = int(np.argmax(correlation))
    return (peak if peak < size // 2 else peak - size) / rate


def moving_image(index: int, height: int, width: int) -> np.ndarray:
    """uint8 (H, W, 3): a smooth picture that differs in every frame and in every corner."""
    y, x = np.mgrid[:height, :width]
    red = 40 + 150 * x / width + 3 * (index % 8)
    green = 60 + 120 * y / height
    blue = np.full((height, width), 50 + (index * 13) % 150)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def write_video(
    path: Path,
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = (48, 64),
    pts: list[int] | None = None,
    time_base: Fraction = Fraction(1, 25),
    fps: Fraction = Fraction(25),
    rotation: int | None = None,
    colour: tuple[int, int, int, int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    sound: Sound | None = None,
) -> Path:
    """Encode `moving_image` frames; size is (height, width), colour is (matrix, range, primaries,
    transfer).
    """
    pts = list(range(40)) if pts is None else pts
    height, width = size
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        context = stream.codec_context
        context.width, context.height, context.pix_fmt, context.time_base = width, height, pix_fmt, time_base
        if colour:
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = colour
        if sound:
            track = container.add_stream(sound.codec, rate=sound.rate)
            track.layout = sound.layout
        for index, stamp in enumerate(pts):
            image = av.VideoFrame.from_ndarray(moving_image(index, height, width), format="rgb24")
            frame = image.reformat(format=pix_fmt)
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound:
            wave = chirp(sound.rate, sound.seconds, track.layout.nb_channels)
            block = av.AudioFrame.from_ndarray(wave, format="fltp", layout=sound.layout)
            block.sample_rate, block.pts = sound.rate, 0
            container.mux(track.encode(block))
            container.mux(track.encode(None))
    if rotation is not None:
        turn_track(path, rotation)
    return path


def turn_track(path: Path, degrees: int) -> None:
    """Write a clockwise rotation into the matrix of an MP4's or MOV's first track, as a phone does."""
    matrix = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
    a, b, c, d = (value * 65536 for value in matrix)
    data = bytearray(path.read_bytes())
    begin = data.index(b"tkhd") + 4 + 40
    data[begin : begin + 36] = np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)


def decoded_frames(path: Path) -> list[av.VideoFrame]:
    """Every frame as PyAV decodes it, nothing done to it."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))
