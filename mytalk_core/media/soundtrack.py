"""The speech as a sound stream: original rate and channels, cut or padded to the video, encoded as the video
goes.
"""

from __future__ import annotations

from collections.abc import Iterator

import av
import numpy as np

from ..errors import MediaError
from .audio import Speech, default_layout, mix_weights

AAC_BITS_PER_SAMPLE = 5.0
MAX_AAC_BITRATE = 192_000
OPUS_BITRATE = 128_000
OPUS_RATE_HZ = 48_000
# The only layouts Opus knows, by number of channels; the samples stay in their channels.
OPUS_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
PIECE_SAMPLES = 4096


class Soundtrack:
    """Encodes a speech into an output container, a stretch at a time.

    The rate is the speech's own except for Opus (always 48 kHz) and rates that the codec cannot hold (the
    next higher one it can); channels are kept up to 8, more are mixed to mono. Sample 0 plays with the first
    frame: encoders that prime (AAC, Opus) tell the container, and players skip that.
    """

    def __init__(
        self, container: av.container.OutputContainer, speech: Speech, codec: str, duration_s: float
    ):
        self._speech = speech
        self._rate = speech.sample_rate
        self._total = round(duration_s * self._rate)
        self._sent = 0
        self._pieces = self._cut_or_padded()
        self._mixes = speech.channels > 8
        layout = "mono" if self._mixes else speech.layout
        try:
            self.stream = self._open(container, codec, layout)
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(
                f"speech that {codec} can hold was required, but {speech.channels} channels ({layout}) at "
                f"{self._rate} Hz arrived "
                f"({error}): convert the sound to stereo"
            ) from None

    def _open(self, container, codec: str, layout: str) -> av.audio.stream.AudioStream:
        encoder = av.Codec(codec, "w")
        rate = self._encoder_rate(encoder)
        offered = encoder.audio_formats or []
        sample_format = "s32" if codec in ("flac", "pcm_s24le") else offered[-1].name
        self._layout = fitting_layout(codec, layout, rate, sample_format)
        stream = container.add_stream(codec, rate=rate)
        context = stream.codec_context
        context.layout = self._layout
        channels = av.AudioLayout(self._layout).nb_channels
        context.format = sample_format
        if codec == "aac":
            context.bit_rate = channels * min(MAX_AAC_BITRATE, int(AAC_BITS_PER_SAMPLE * context.sample_rate))
        elif codec == "libopus":
            context.bit_rate = channels * OPUS_BITRATE
        context.open()
        return stream

    def _encoder_rate(self, encoder: av.Codec) -> int:
        if encoder.name == "libopus":
            return OPUS_RATE_HZ
        rates = sorted(encoder.audio_rates or [self._rate])
        return next((rate for rate in rates if rate >= self._rate), rates[-1])

    def _cut_or_padded(self) -> Iterator[np.ndarray]:
        """Pieces float32 (C, n), together exactly the output's length."""
        left = self._total
        for block in self._speech.blocks():
            for start in range(0, block.shape[1], PIECE_SAMPLES):
                piece = block[:, start : start + min(PIECE_SAMPLES, left)]
                left -= piece.shape[1]
                if piece.shape[1]:
                    yield piece
                if left == 0:
                    return
        while left > 0:
            piece = np.zeros((self._speech.channels, min(left, PIECE_SAMPLES)), np.float32)
            left -= piece.shape[1]
            yield piece

    def packets_until(self, time_s: float) -> Iterator[av.Packet]:
        """Encode sound up to `time_s`, so that the file stays interleaved and nothing piles up."""
        while self._sent < min(self._total, time_s * self._rate):
            piece = next(self._pieces, None)
            if piece is None:
                return
            if self._mixes:
                piece = (mix_weights(len(piece), "") @ piece)[None]
            # Interleaved: PyAV miscounts the planes of eight channels.
            interleaved = np.ascontiguousarray(piece.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=self._layout)
            frame.sample_rate = self._rate
            frame.pts = self._sent
            self._sent += piece.shape[1]
            yield from self.stream.encode(frame)

    def finish(self) -> Iterator[av.Packet]:
        """The rest of the sound, and what the encoder still holds."""
        yield from self.packets_until(float("inf"))
        yield from self.stream.encode(None)


def fitting_layout(codec: str, layout: str, rate: int, sample_format: str) -> str:
    """The speech's own layout where the codec takes it, else the usual one for that many channels.

    The samples stay in their channels either way; streams that only count theirs ("6 channels") get the usual
    order.
    """
    channels = av.AudioLayout(layout).nb_channels
    if codec == "libopus":
        return OPUS_LAYOUTS[channels]
    if "channels" in layout:
        return default_layout(channels)
    trial = av.CodecContext.create(codec, "w")
    assert isinstance(trial, av.AudioCodecContext)  # every codec here is one of sound
    trial.layout, trial.format, trial.sample_rate = layout, sample_format, rate
    try:
        trial.open()
    except (av.error.FFmpegError, ValueError):
        return default_layout(channels)
    return layout
