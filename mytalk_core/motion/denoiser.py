"""The motion denoiser: noisy lower face, upper face, speech and identity -> clean lower face (eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..checkpoint.pretrained import PretrainedModel
from .conformer import ConformerLayer, SpeechLayer, sinusoid
from .diffusion import PROCESSES

CONDITIONING = (
    "id-cross-attention",
    "concat-key-landmark",
    "add-key-landmark",
    "key-landmark-cross-attention",
)
PREFIX = ("channel", "token")


@dataclass(frozen=True)
class MotionConfig:
    """Sizes of the motion model; the defaults are the paper's (Table 9) with 411 compact landmarks.

    `lower` + `upper` channels are the compact landmarks' coordinates (822 in the paper). `identity_width` is
    the identity embedding's width, or, with a key-landmark conditioning (Tab. 5), the channels of the key
    landmarks. `condition_mlp` is the hidden width of the bias-free MLPs that prepare speech and identity
    (0: none). `process`: the noise the model was trained to undo, "diffusion" or "flow" (rectified flow), or
    "regression": none, the baseline.
    `predict_upper` gives the output the upper-face channels too: Table 9's 822 are both.
    """

    lower: int = 540
    upper: int = 282
    landmark_layout: str = "dense669"
    speech_encoder: str = "facebook/wav2vec2-base-960h"
    speech_width: int = 768
    speech_layers: tuple[int, ...] = (12,)
    audio_width: int = 512
    audio_layers: int = 4
    audio_heads: int = 8
    audio_ffn_width: int = 2048
    audio_kernel: int = 13
    width: int = 768
    layers: int = 12
    heads: int = 12
    ffn_width: int = 2048
    kernel: int = 5
    time_width: int = 3072
    identity_width: int = 512
    condition_mlp: int = 2304
    conditioning: str = "id-cross-attention"
    prefix: str = "channel"
    predict_upper: bool = True
    dropout: float = 0.1
    attention_dropout: float = 0.1
    process: str = "diffusion"

    def __post_init__(self):
        choices_of = {"conditioning": CONDITIONING, "prefix": PREFIX, "process": tuple(PROCESSES)}
        for field, choices in choices_of.items():
            if getattr(self, field) not in choices:
                raise ValueError(f"{field} must be one of {', '.join(choices)}; got {getattr(self, field)!r}")


class AudioEncoder(nn.Module):
    """Speech features at 50 Hz -> encoded speech at 50 Hz: Conformer layers behind a linear one."""

    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: MotionConfig):
        super().__init__()
        layers, width = len(config.speech_layers), config.audio_width
        # Mixing weights exist only where there is something to mix; they start as the mean of the layers.
        self.mix = nn.Parameter(torch.zeros(layers)) if layers > 1 else None
        self.register_buffer("feature_mean", torch.zeros(layers, config.speech_width))
        self.register_buffer("feature_std", torch.ones(layers, config.speech_width))
        self.input = nn.Linear(config.speech_width, width)
        stack = (
            SpeechLayer(
                width,
                config.audio_ffn_width,
                config.audio_heads,
                config.audio_kernel,
                config.dropout,
                config.attention_dropout,
            )
            for _ in range(config.audio_layers)
        )
        # The names that weights are saved under.
        self.conformer = nn.ModuleDict({"conformer_layers": nn.ModuleList(stack)})

    def _standardise_and_mix(self, features: Tensor) -> Tensor:
        """sum_l w_l (features_l - mean_l) / std_l, in one pass: (B, T, L, Ds) -> (B, T, Ds)."""
        scale = 1 / self.feature_std
        if self.mix is not None:
            scale = scale * self.mix.softmax(0).unsqueeze(-1)
        offset = (self.feature_mean * scale).sum(0)
        return (features.to(scale.dtype) * scale).sum(dim=2) - offset

    def forward(self, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """features (B, T, L, Ds) at 50 Hz, valid (B, T) bool or None -> (B, T, audio_width)."""
        x = self.input(self._standardise_and_mix(features))
        for layer in self.conformer.get_submodule("conformer_layers").children():
            x = layer(x, valid)
        return x


class _ConditionMLP(nn.Module):
    """Residual-free two-layer MLP without biases; the identity where `hidden` is 0."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.layers = (
            nn.Sequential(
                nn.Linear(width, hidden, bias=False), nn.SiLU(), nn.Linear(hidden, width, bias=False)
            )
            if hidden
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        return x if self.layers is None else self.layers(x)


class Backbone(nn.Module):
    """The Conformer backbone G (eq. 3): 188,051,766 parameters at the paper's sizes."""

    def __init__(self, config: MotionConfig):
        super().__init__()
        self.config = config
        concat = config.conditioning == "concat-key-landmark"
        tokens = {"concat-key-landmark": "none", "add-key-landmark": "add"}.get(
            config.conditioning, "cross-attention"
        )
        key_width = config.identity_width if concat else 0
        channel = config.prefix == "channel"
        self.input = nn.Linear(config.lower + key_width + (config.upper if channel else 0), config.width)
        self.upper_input = None if channel else nn.Linear(config.upper + key_width, config.width)
        self.time_mlp = nn.Sequential(
            nn.Linear(config.width, config.time_width), nn.SiLU(), nn.Linear(config.time_width, config.width)
        )
        self.speech_mlp = _ConditionMLP(config.audio_width, config.condition_mlp)
        self.identity_mlp = _ConditionMLP(config.identity_width, 0 if concat else config.condition_mlp)
        self.layers = nn.ModuleList(
            ConformerLayer(
                config.width,
                config.ffn_width,
                config.heads,
                config.kernel,
                config.dropout,
                config.attention_dropout,
                config.audio_width,
                config.identity_width,
                tokens,
            )
            for _ in range(config.layers)
        )
        self.output = nn.Linear(config.width, config.lower + (config.upper if config.predict_upper else 0))

    def _embed(self, x_t: Tensor, upper: Tensor, identity: Tensor) -> Tensor:
        """(B, F, D), (B, F, U), (B, K, Di) -> (B, F, C), or (B, 2 F, C) with prefix tokens."""
        key: tuple[Tensor, ...] = ()
        if self.config.conditioning == "concat-key-landmark":
            key = (identity.mean(dim=1, keepdim=True).expand(-1, x_t.shape[1], -1),)
        if self.upper_input is None:
            return self.input(torch.cat((x_t, upper, *key), dim=-1))
        prefix = self.upper_input(torch.cat((upper, *key), dim=-1))
        return torch.cat((prefix, self.input(torch.cat((x_t, *key), dim=-1))), dim=1)

    def forward(
        self, x_t: Tensor, t: Tensor, speech: Tensor, upper: Tensor, identity: Tensor, valid: Tensor | None
    ) -> Tensor:
        """Shapes as in MotionDenoiser.forward -> (B, F, D or D + U)."""
        frames = x_t.shape[1]
        x = self._embed(x_t, upper, identity)
        time = self.time_mlp(sinusoid(t, self.config.width).to(x_t.dtype))
        speech, tokens = self.speech_mlp(speech), self.identity_mlp(identity)
        for layer in self.layers:
            x = layer(x, time, speech, tokens, valid, x.shape[1] // frames)
        return self.output(x[:, -frames:])


def _name_process(config: dict[str, Any]) -> dict[str, Any]:
    """Format 1 knew only the diffusion."""
    return {**config, "process": "diffusion"}


class MotionDenoiser(PretrainedModel):
    """Speech-conditioned x0-predicting denoiser of lower-face landmarks (paper section 3.3, Table 9).

    The null condition of classifier-free guidance is a zero: encoded speech or identity multiplied by 0.
    """

    config_class = MotionConfig
    format_version = 2
    migrations = {1: _name_process}

    def __init__(self, config: MotionConfig):
        super().__init__()
        self.config = config
        self.audio_encoder = AudioEncoder(config)
        # Output j is centred on input 2 j, so 50 Hz feature time i / 50 s becomes frame time j / 25 s.
        self.downsample = nn.Conv1d(
            config.audio_width, config.audio_width, kernel_size=3, stride=2, padding=1
        )
        self.backbone = Backbone(config)

    def set_feature_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Standardise speech features by these from now on: mean and std (L, Ds), saved with the weights."""
        self.audio_encoder.feature_mean.copy_(mean)
        self.audio_encoder.feature_std.copy_(std)

    def encode_speech(self, features: Tensor, valid: Tensor | None = None) -> Tensor:
        """Encode speech for `forward`.

        features (B, 2 F, L, Ds): hidden states of the speech encoder at 50 Hz; valid (B, F) bool or None:
        frames at 25 Hz that are not padding. Returns (B, F, audio_width) at 25 Hz.
        """
        if features.ndim != 4 or features.shape[1] % 2:
            raise ValueError(f"features must be (B, 2 F, L, Ds); got {tuple(features.shape)}")
        valid_50 = None if valid is None else valid.repeat_interleave(2, dim=1)
        x = self.audio_encoder(features, valid_50)
        if valid_50 is not None:
            x = x.masked_fill(~valid_50.unsqueeze(-1), 0.0)
        return self.downsample(x.transpose(1, 2)).transpose(1, 2)

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        speech: Tensor,
        upper: Tensor,
        identity: Tensor,
        valid: Tensor | None = None,
        with_upper: bool = False,
    ) -> Tensor:
        """Predict the clean lower face (eq. 3).

        x_t (B, F, D) noisy lower-face channels; t (B,) time step, 0 ... 1000; speech (B, F, audio_width) from
        `encode_speech`; upper (B, F, U); identity (B, K, Di); valid (B, F) bool or None, at least one frame
        a row.
        Returns x0 (B, F, D), or (B, F, D + U) with `with_upper`, which needs `predict_upper` in the config.
        """
        if with_upper and not self.config.predict_upper:
            raise ValueError("with_upper needs a model whose config has predict_upper = true")
        x0 = self.backbone(x_t, t, speech, upper, identity, valid)
        return x0 if with_upper else x0[..., : self.config.lower]
