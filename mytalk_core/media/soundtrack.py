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
            self._stream = self._open(container, codec, layout)
        except (av.error.FFmpegError, ValueError) as error:
            raise MediaError(
                f"speech that {codec} can hold was required, but {speech.channels} channels ({layout}) at "
                f"{self._rate} Hz arrived "
                f"({error}): convert the sound to stereo"
            ) from None

    def _open(self, container, codec: str, layout: str) -> av.audio.stream.AudioStream:
        described = av.AudioLayout(
            layout if self._is_named(layout) else default_layout(self._speech.channels)
        )
        self._layout = described.name
        encoder = av.Codec(codec, "w")
        stream = container.add_stream(codec, rate=self._encoder_rate(encoder))
        stream.codec_context.layout = self._layout
        stream.codec_context.format = (
            "s32" if codec in ("flac", "pcm_s24le") else encoder.audio_formats[-1].name
        )
        if codec == "aac":
            per_channel = min(MAX_AAC_BITRATE, int(AAC_BITS_PER_SAMPLE * stream.codec_context.sample_rate))
            stream.codec_context.bit_rate = per_channel * described.nb_channels
        elif codec == "libopus":
            stream.codec_context.bit_rate = OPUS_BITRATE * described.nb_channels
        return stream

    def _is_named(self, layout: str) -> bool:
        """Streams that only count their channels ("6 channels") get the usual order for that number."""
        return "channels" not in layout

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
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(piece), format="fltp", layout=self._layout
            )
            frame.sample_rate = self._rate
            frame.pts = self._sent
            self._sent += piece.shape[1]
            yield from self._stream.encode(frame)

    def finish(self) -> Iterator[av.Packet]:
        """The rest of the sound, and what the encoder still holds."""
        yield from self.packets_until(float("inf"))
        yield from self._stream.encode(None)
