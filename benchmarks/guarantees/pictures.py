"""The pictures that cases are made of, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from mytalk_core.media.audio import Speech
from mytalk_core.media.file_clip import FileClip

EXAMPLES = Path(__file__).parents[2] / "examples"
FRAMES = 10
SIDE = 256


@dataclass(frozen=True)
class Spec:
    """How pictures become a file.

    options: the encoder's; pts: in 1/`tick` s; aspect: of a pixel; colour: (matrix, range, primaries,
    transfer).
    """

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    rate: Fraction = Fraction(25)
    options: dict[str, str] = field(default_factory=dict)
    pts: tuple[int, ...] | None = None
    tick: int = 90000
    aspect: Fraction = Fraction(1)
    colour: tuple[int, int, int, int] | None = None


def person(name: str = "ai_woman", count: int = FRAMES, side: int = SIDE) -> np.ndarray:
    """The first pictures of a sample, uint8 (T, side, side, 3)."""
    clip = FileClip.open(EXAMPLES / f"{name}.mp4")
    frames = next(clip.frames(0, count, batch_size=count))
    side_px = min(frames.shape[1:3])
    return resized(frames[:, :side_px, :side_px], (side, side))


def resized(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pictures (T,H,W,3) of another (height, width)."""
    return np.stack([cv2.resize(f, size[::-1], interpolation=cv2.INTER_AREA) for f in frames])


def turned(frames: np.ndarray, degrees: float) -> np.ndarray:
    """Pictures turned clockwise about their middle, gray around."""
    height, width = frames.shape[1:3]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 0.8)
    return np.stack([cv2.warpAffine(f, matrix, (width, height), borderValue=(90, 90, 90)) for f in frames])


def side_by_side(people: Sequence[np.ndarray]) -> np.ndarray:
    """People beside each other in one picture."""
    return np.concatenate(people, axis=2)


def write_pictures(path: Path, frames: np.ndarray, spec: Spec = Spec(), alpha: bool = False) -> Path:
    """A video file of uint8 (T,H,W,3); alpha: a transparent left eighth."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(spec.codec, rate=spec.rate, options=spec.options)
        context = stream.codec_context
        context.height, context.width, context.pix_fmt = *frames.shape[1:3], spec.pix_fmt
        context.time_base = 1 / spec.rate if spec.pts is None else Fraction(1, spec.tick)
        context.sample_aspect_ratio = spec.aspect
        if spec.colour is not None:
            context.colorspace, context.color_range, context.color_primaries, context.color_trc = spec.colour
        for number, image in enumerate(frames):
            frame = _frame(image, spec.pix_fmt, alpha)
            frame.pts = number if spec.pts is None else spec.pts[number]
            frame.time_base = context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _frame(image: np.ndarray, pix_fmt: str, alpha: bool) -> av.VideoFrame:
    if not alpha:
        return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
    cover = np.full((*image.shape[:2], 1), 255, np.uint8)
    cover[:, : image.shape[1] // 8] = 0
    return av.VideoFrame.from_ndarray(np.concatenate([image, cover], -1), format="rgba").reformat(
        format=pix_fmt
    )


def write_speech(path: Path, seconds: float = 0.5) -> Path:
    """The beginning of the sample's speech, mono, as long to the sample where the codec keeps that."""
    sound = Speech.open(EXAMPLES / "speech_en.wav")
    rate = 48000 if path.suffix == ".ogg" else sound.sample_rate
    codec = {".flac": "flac", ".wav": "pcm_s16le", ".mp3": "libmp3lame", ".m4a": "aac", ".ogg": "libopus"}
    samples = np.ascontiguousarray(sound.waveform[:1, : round(seconds * sound.sample_rate)])
    block = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    block.sample_rate = sound.sample_rate
    with av.open(str(path), "w") as target:
        stream = target.add_stream(codec[path.suffix], rate=rate)
        stream.layout = "mono"
        # The encoders take other samples than ours, and some only so many at once.
        resampler = av.AudioResampler(stream.format.name, "mono", rate, stream.frame_size or 1024)
        for part in [*resampler.resample(block), *resampler.resample(None)]:
            target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    return path
