"""Speech features at 50 Hz from pre-trained encoders: hidden states of Whisper or wav2vec 2.0.

Time: feature i describes the sound around i / 50 s (sample 320 i at 16 kHz), and motion frame j the moment
j / 25 s (sample 640 j), as video frame j of a 25 Hz video is shown at j / 25 s. So feature 2 j is frame j's.
Whisper's convolutions are centred there already; wav2vec 2.0's receptive field of 400 samples is centred by
200 samples of padding in front.
"""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint.pretrained import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    assign,
    build_empty,
    check_tensors,
    read_json,
    read_weights,
    resolve_folder,
)
from ..collector import collector_paused
from ..errors import WeightsError
from ..media.audio import MODEL_RATE_HZ

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SAMPLES_PER_FEATURE = 320
FEATURES_PER_FRAME = 2
SAMPLES_PER_FRAME = FEATURES_PER_FRAME * SAMPLES_PER_FEATURE
# wav2vec 2.0 sees 400 samples for a feature: 200 in front centre them, 120 behind complete the last one.
SAMPLES_BEFORE, SAMPLES_BEHIND = 200, 120


@dataclass(frozen=True)
class _Kind:
    """How an encoder is fed: 2 * `hop` features every `hop`; `lead_in`: beginning a hop before the speech."""

    hop: int
    lead_in: bool


# Whisper's hidden states carry the position within the chunk. Chunks of 10 s instead of 30 s, cross-faded,
# leave little of that (10 to 18 % of a channel's spread, 26 to 75 % without) and cost less for short speech.
KINDS = {"whisper": _Kind(hop=250, lead_in=True), "wav2vec2": _Kind(hop=750, lead_in=False)}
DEFAULT_LAYERS = {"whisper": (0, 2, 3, 4), "wav2vec2": (-1,)}


def frames_for(samples: int) -> int:
    """Motion frames at 25 Hz that cover `samples` at 16 kHz."""
    return math.ceil(samples / SAMPLES_PER_FRAME)


class LogMel(nn.Module):
    """Whisper's log-mel spectrogram, with a loudness floor: digital silence is not an extreme of its own."""

    filters: Tensor
    window: Tensor

    def __init__(self, mel_bins: int):
        super().__init__()
        with _transformers_imported():
            from transformers.audio_utils import mel_filter_bank

        filters = mel_filter_bank(
            201, mel_bins, 0.0, 8000.0, MODEL_RATE_HZ, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("filters", torch.from_numpy(filters.T.astype(np.float32)), persistent=False)
        self.register_buffer("window", torch.hann_window(400), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """waveform (S,) at 16 kHz, -1 ... 1 -> (mel_bins, S // 160) centred on samples 0, 160, 320, ..."""
        spectrum = (
            torch.stft(waveform, 400, 160, window=self.window, return_complex=True)[:, :-1].abs().square()
        )
        log = torch.log10((self.filters @ spectrum).clamp(min=1e-10))
        # Whisper keeps 80 dB below the loudest bin, which is above 1 in speech: hold silence to that.
        return (torch.maximum(log, log.amax().clamp(min=0.0) - 8.0) + 4.0) / 4.0


class SpeechEncoder(nn.Module):
    """Hidden states of a frozen pre-trained speech encoder, for speech of any length.

    model: transformers' WhisperEncoder or Wav2Vec2Model; kind: "whisper" or "wav2vec2"; layers: the hidden
    states to hand on, 0 being the input of the first transformer layer (for Whisper without its positions).
    `sha256`: of the weights' file that was loaded, "" before.
    """

    rate_hz = 50
    sha256: str = ""

    def __init__(self, model: PreTrainedModel, kind: str, layers: tuple[int, ...] | None = None):
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}")
        count = model.config.num_hidden_layers
        layers = DEFAULT_LAYERS[kind] if layers is None else tuple(layers)
        if not layers or any(not -count - 1 <= layer <= count for layer in layers):
            raise ValueError(f"layers must be hidden states 0 ... {count} of this {kind} model; got {layers}")
        self.model: PreTrainedModel = model.eval().requires_grad_(False)
        self.kind = kind
        self.layers = tuple(layer % (count + 1) for layer in layers)
        self.dim: int = model.config.hidden_size
        self.hop = KINDS[kind].hop
        self.log_mel = LogMel(model.config.num_mel_bins) if kind == "whisper" else None

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "mini",
        subfolder: str | None = None,
        revision: str | None = None,
        layers: tuple[int, ...] | None = None,
        device: str | torch.device = "cpu",
    ) -> SpeechEncoder:
        """Load a Whisper encoder or wav2vec 2.0 in transformers' own layout (config.json, model.safetensors).

        source: "mini" (the bundled Whisper-tiny encoder), a folder, "hub:OWNER/NAME" or "OWNER/NAME".

        Raises:
            FileNotFoundError: no such folder, repository or file.
            WeightsError: another kind of model, or tensors that do not fit.
        """
        subfolder = "speech" if source == "mini" and subfolder is None else subfolder
        folder = resolve_folder(source, subfolder, revision)
        for name in (CONFIG_NAME, WEIGHTS_NAME):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder / name} is missing: a speech encoder needs it (no pickle files)"
                )
        model, kind, sha256 = _load_encoder(folder)
        encoder = cls(model, kind, layers).to(device)
        encoder.sha256 = sha256
        return encoder

    def encode(self, mono_16k: np.ndarray | Tensor, features: int | None = None) -> Tensor:
        """Features of whole speech.

        mono_16k: float32 (S,), -1 ... 1, at 16 kHz. features: how many to return; beyond the speech's end
        they are those of silence; by default the even number that covers the speech.
        Returns float32 (F50, L, D) on the encoder's device: 10 minutes of four Whisper-tiny layers take
        184 MB; `SpeechFeatures` reads window by window instead.
        """
        reader = SpeechFeatures(self, mono_16k, features)
        return reader.window(0, len(reader))

    @torch.no_grad()
    def encode_chunk(self, samples: Tensor) -> Tensor:
        """One chunk straight through the network.

        samples: float32, for Whisper (320 n,) with n = 2 `hop`; for wav2vec 2.0 (320 n + 80,) normalised,
        from 200 samples before the first feature on. Returns float32 (n, L, D).
        """
        samples = samples.to(self.model.device)
        if self.log_mel is not None:
            inputs = self.log_mel(samples)
            states = list(self.model(inputs[None], output_hidden_states=True).hidden_states)
            states[0] = states[0] - self.model.embed_positions.weight
        else:
            inputs = samples[None].to(self.model.dtype)
            states = self.model(inputs, output_hidden_states=True).hidden_states
        return torch.stack([states[layer][0] for layer in self.layers], dim=1).float()


class SpeechFeatures:
    """Features of one speech, encoded where they are read; a few seconds of them are kept.

    Feature i does not depend on the window that asks for it. waveform: the speech (S,).
    """

    def __init__(self, encoder: SpeechEncoder, mono_16k: np.ndarray | Tensor, features: int | None = None):
        waveform = torch.as_tensor(mono_16k)
        if waveform.ndim != 1 or waveform.numel() == 0:
            raise ValueError(
                f"speech must be mono (S,) with at least one sample; got {tuple(waveform.shape)}"
            )
        self.encoder = encoder
        self._length = 2 * frames_for(waveform.numel()) if features is None else features
        self.waveform = waveform
        # wav2vec 2.0 was trained on speech of zero mean and unit variance.
        self._mean, self._scale = 0.0, 1.0
        if encoder.kind == "wav2vec2":
            self._mean = waveform.double().mean().item()
            self._scale = 1 / math.sqrt(waveform.double().var(correction=0).item() + 1e-7)
        self._chunks: OrderedDict[int, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def window(self, start: int, stop: int) -> Tensor:
        """Features start ... stop: float32 (stop - start, L, D) on the encoder's device."""
        if not 0 <= start < stop <= self._length:
            raise ValueError(
                f"the window must lie within features 0 ... {self._length}; got {start} ... {stop}"
            )
        hop = self.encoder.hop
        segments = [self._segment(index) for index in range(start // hop, (stop - 1) // hop + 1)]
        offset = start - start // hop * hop
        return torch.cat(segments)[offset : offset + stop - start]

    def _segment(self, index: int) -> Tensor:
        """Features index * hop ... (index + 1) * hop: the chunks on both sides of it, cross-faded."""
        hop = self.encoder.hop
        earlier, later = self._chunk(index - 1), self._chunk(index)
        if earlier is None:
            assert later is not None  # one of the two is always there
            return later[:hop]
        earlier = earlier[hop:]
        if later is None:
            return earlier
        weight = (torch.arange(len(earlier), device=earlier.device) + 0.5) / hop
        return torch.lerp(earlier, later[: len(earlier)], weight[:, None, None])

    def _chunk(self, index: int) -> Tensor | None:
        """The chunk that starts at feature index * hop, None where the plan has none."""
        hop, lead_in = self.encoder.hop, KINDS[self.encoder.kind].lead_in
        # Without a lead-in a chunk must bring more than the one before it reaches.
        last = math.ceil(self._length / hop) - 1 if lead_in else max(0, math.ceil(self._length / hop) - 2)
        if not (-1 if lead_in else 0) <= index <= last:
            return None
        if index not in self._chunks:
            self._chunks[index] = self._encode(index * hop, 2 * hop)
            while len(self._chunks) > 4:
                self._chunks.popitem(last=False)
        self._chunks.move_to_end(index)
        return self._chunks[index]

    def _encode(self, start: int, count: int) -> Tensor:
        before = behind = 0
        if self.encoder.kind == "wav2vec2":
            before, behind = SAMPLES_BEFORE, SAMPLES_BEHIND
            count = min(count, self._length - start)
        first, last = start * SAMPLES_PER_FEATURE, (start + count) * SAMPLES_PER_FEATURE
        return self.encoder.encode_chunk(self._samples(first - before, last - behind))

    def _samples(self, start: int, stop: int) -> Tensor:
        """Samples start ... stop, zeros outside the speech."""
        inside = self.waveform[max(start, 0) : max(stop, 0)].float()
        inside = (inside - self._mean) * self._scale
        before = min(max(-start, 0), stop - start)
        return nn.functional.pad(inside, (before, stop - start - before - len(inside)))


@contextmanager
def _transformers_imported() -> Iterator[None]:
    """Import from transformers in this block: quickly, and past a torchaudio that does not fit torch.

    transformers imports it where it is installed, and would fail with it.
    """
    broken = False
    try:
        import torchaudio  # noqa: F401
    except (ImportError, OSError, RuntimeError, AttributeError):
        broken = True
        sys.modules["torchaudio"] = None  # type: ignore[assignment]
    try:
        with collector_paused():
            yield
    finally:
        if broken:
            del sys.modules["torchaudio"]


def _load_encoder(folder: Path) -> tuple[PreTrainedModel, str, str]:
    """The network that config.json describes, loaded strictly, its kind, and the SHA-256 of its weights."""
    path = folder / CONFIG_NAME
    description = read_json(path)
    kind = description.get("model_type")
    if kind not in _BUILDERS:
        raise WeightsError(f"{path}: model_type must be whisper or wav2vec2; got {kind!r}")
    tensors, sha256 = read_weights(folder / WEIGHTS_NAME)
    build, tensors = _BUILDERS[kind](description, tensors, folder)
    model = build_empty(build, path, len(tensors))
    check_tensors(folder / WEIGHTS_NAME, model, tensors)
    assign(model, tensors)
    return model, kind, sha256


def _config(kind: type, description: dict) -> Any:
    """transformers' config of a description. Raises ValueError where it refuses it."""
    from huggingface_hub import errors

    # Newer versions check their fields, and say so by a kind of error that is none of Python's.
    refusal = getattr(errors, "StrictDataclassError", ValueError)
    try:
        return kind(**description)
    except refusal as error:
        raise ValueError(" ".join(str(error).split())) from error


def _whisper(description: dict, tensors: dict[str, Tensor], folder: Path) -> _Recipe:
    with _transformers_imported():
        from transformers import WhisperConfig
        from transformers.models.whisper.modeling_whisper import WhisperEncoder

    # A whole Whisper holds the encoder under a prefix; the decoder is not needed.
    for prefix in ("model.encoder.", "encoder."):
        if any(key.startswith(prefix) for key in tensors):
            tensors = {
                key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
            }
            break
    chunk = 2 * KINDS["whisper"].hop
    positions = tensors.get("embed_positions.weight")
    if positions is None or len(positions) < chunk:
        raise WeightsError(
            f"{folder / WEIGHTS_NAME}: embed_positions.weight with {chunk} rows or more is needed"
        )

    def build() -> PreTrainedModel:
        return WhisperEncoder(_config(WhisperConfig, {**description, "max_source_positions": chunk}))

    return build, {**tensors, "embed_positions.weight": positions[:chunk]}


def _wav2vec2(description: dict, tensors: dict[str, Tensor], folder: Path) -> _Recipe:
    with _transformers_imported():
        from transformers import Wav2Vec2Config, Wav2Vec2Model

    # Checkpoints of before torch's parametrised weight norm.
    convolution = "encoder.pos_conv_embed.conv"
    names = {
        f"{convolution}.weight_g": f"{convolution}.parametrizations.weight.original0",
        f"{convolution}.weight_v": f"{convolution}.parametrizations.weight.original1",
    }
    tensors = {key.removeprefix("wav2vec2."): value for key, value in tensors.items()}
    tensors = {names.get(key, key): value for key, value in tensors.items()}
    heads = ("lm_head.", "quantizer.", "project_", "masked_spec_embed", "projector.", "classifier.")

    def build() -> PreTrainedModel:
        # No masking of inputs outside of training: the spec-augment vector need not be there.
        unmasked = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
        return Wav2Vec2Model(_config(Wav2Vec2Config, {**description, **unmasked}))

    return build, {key: value for key, value in tensors.items() if not key.startswith(heads)}


# By model_type: config.json and a file's tensors -> what builds the network, and the tensors that it takes.
_Recipe = tuple[Callable[[], Any], dict[str, Tensor]]
_BUILDERS = {"whisper": _whisper, "wav2vec2": _wav2vec2}
