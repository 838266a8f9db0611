"""Lip-sync expert: do these lips speak this speech? After SyncNet (Chung & Zisserman 2016), on landmarks.

Two small convolutional networks put the movement of the lower face and the speech features into one space,
where what belongs together is near. It is a model of its own, trained by `training/expert/train.py` on true
pairs; it measures generated motion, and may serve as a loss of the motion model.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoint.pretrained import PretrainedModel
from ..motion.conformer import FrameNorm

MAX_SHIFT = 15


@dataclass(frozen=True)
class ExpertConfig:
    """Sizes of the expert.

    motion: channels of the `LandmarkSpace`; speech_*: of the speech features; an embedding sees 1 +
    blocks * (kernel - 1) frames (0.36 s at the defaults).
    """

    motion: int = 24
    landmark_layout: str = "mesh478"
    speech_width: int = 384
    speech_layers: tuple[int, ...] = (0, 2, 3, 4)
    width: int = 128
    blocks: int = 2
    kernel: int = 5
    embedding: int = 64
    dropout: float = 0.1


@dataclass(frozen=True)
class SyncScore:
    """How well lips and speech of one piece fit.

    distance: mean between lips and speech at the best shift, 0 to 2, low is good; confidence: how much
    nearer that is than the median shift; offset_frames: how late the lips are, at 25 Hz; late_frames: the
    same, finer than a frame.
    """

    distance: float
    confidence: float
    offset_frames: int
    late_frames: float


class _TimeNet(nn.Module):
    """Residual convolutions over time: (B,F,inputs) -> (B,F,E) of unit norm."""

    def __init__(self, inputs: int, config: ExpertConfig):
        super().__init__()
        self.input = nn.Linear(inputs, config.width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                FrameNorm(config.width),
                nn.Conv1d(config.width, config.width, config.kernel, padding=config.kernel // 2),
                nn.SiLU(),
                nn.Dropout(config.dropout),
                nn.Conv1d(config.width, config.width, 1),
            )
            for _ in range(config.blocks)
        )
        self.output = nn.Linear(config.width, config.embedding)

    def forward(self, x: Tensor) -> Tensor:
        x = self.input(x).transpose(1, 2)
        for block in self.blocks:
            x = x + block(x)
        return F.normalize(self.output(x.transpose(1, 2)), dim=-1)


class SyncExpert(PretrainedModel):
    """Embeds lips and speech, frame by frame at 25 Hz."""

    config_class = ExpertConfig
    feature_mean: Tensor
    feature_std: Tensor

    def __init__(self, config: ExpertConfig):
        super().__init__()
        self.config = config
        self.motion_net = _TimeNet(config.motion, config)
        layers = len(config.speech_layers)
        self.register_buffer("feature_mean", torch.zeros(layers, config.speech_width))
        self.register_buffer("feature_std", torch.ones(layers, config.speech_width))
        self.mix = nn.Parameter(torch.zeros(layers)) if layers > 1 else None
        # Two features a frame, side by side.
        self.speech_net = _TimeNet(2 * config.speech_width, config)
        self.log_scale = nn.Parameter(torch.tensor(2.3))

    def set_feature_statistics(self, mean: Tensor, std: Tensor) -> None:
        """Standardise speech features by these from now on: mean and std (L,Ds), saved with the weights."""
        self.feature_mean.copy_(mean)
        self.feature_std.copy_(std)

    def embed_motion(self, channels: Tensor) -> Tensor:
        """Pose-free lower-face channels (B,F,D) of `LandmarkSpace.encode_lower` -> (B,F,E) of unit norm."""
        return self.motion_net(channels)

    def embed_speech(self, features: Tensor) -> Tensor:
        """Speech features (B,2F,L,Ds) at 50 Hz -> (B,F,E) of unit norm."""
        if features.ndim != 4 or features.shape[1] % 2:
            raise ValueError(f"features must be (B, 2 F, L, Ds); got {tuple(features.shape)}")
        x = (features - self.feature_mean) / self.feature_std
        x = x.mean(2) if self.mix is None else (x * self.mix.softmax(0)[:, None]).sum(2)
        return self.speech_net(x.unflatten(1, (-1, 2)).flatten(2))

    def loss(self, channels: Tensor, features: Tensor, valid: Tensor, max_shift: int = MAX_SHIFT) -> Tensor:
        """Cross-entropy of picking each frame's own speech among the shifted ones, a scalar.

        channels (B,F,D), features (B,2F,L,Ds), valid (B,F) bool. Trains the expert on true pairs; with a
        frozen expert its gradient on `channels` pulls generated lips into time.
        """
        cosine = shifted_cosines(self.embed_motion(channels), self.embed_speech(features), max_shift)
        own = torch.full(cosine.shape[:2], max_shift, device=cosine.device)
        nats = F.cross_entropy((self.log_scale.exp() * cosine).flatten(0, 1), own.flatten(), reduction="none")
        # Windows count alike, however much of each is valid: a batch may be split in any way.
        return ((nats.view_as(valid) * valid).sum(1) / valid.sum(1).clamp(min=1)).mean()

    @torch.no_grad()
    def score(self, channels: Tensor, features: Tensor, max_shift: int = MAX_SHIFT) -> SyncScore:
        """How well lips (F,D) and speech (2F,L,Ds) agree, over shifts up to `max_shift` frames each way.

        Raises ValueError if there are not more frames than shifts.
        """
        frames = len(channels)
        if frames <= 2 * max_shift:
            raise ValueError(f"need more than {2 * max_shift} frames to compare shifts; got {frames}")
        parameter = self.log_scale
        motion = self.embed_motion(channels[None].to(parameter))
        speech = self.embed_speech(features[None].to(parameter))
        # At every shift the same frames, those whose partners all exist.
        inner = shifted_cosines(motion, speech, max_shift)[0, max_shift : frames - max_shift].float()
        distance = (2 - 2 * inner).clamp(min=0).sqrt().mean(0)
        best = int(distance.argmin())
        confidence = (distance.median() - distance[best]).item()
        late = best - max_shift + _lowest(distance, best)
        return SyncScore(distance[best].item(), confidence, best - max_shift, late)


def _lowest(distance: Tensor, best: int) -> float:
    """How far from `best`, the least of distances (S,), the parabola through it and its neighbours is lowest:
    -0.5 to 0.5; 0 at either end."""
    if not 0 < best < len(distance) - 1:
        return 0.0
    before, least, after = distance[best - 1 : best + 2].tolist()
    bend = before - 2 * least + after
    return 0.5 * (before - after) / bend if bend > 0 else 0.0


def shifted_cosines(motion: Tensor, speech: Tensor, max_shift: int) -> Tensor:
    """Cosines (B,F,2S+1) of motion frame i with speech frame i - s, s = -S ... S; -1 where there is none."""
    frames = motion.shape[1]
    padded = F.pad(speech, (0, 0, max_shift, max_shift))
    # Window k of the padded speech starts k - S frames from i: reversed, so that late lips are positive.
    windows = padded.unfold(1, 2 * max_shift + 1, 1).flip(-1)
    cosine = torch.einsum("bfe,bfes->bfs", motion, windows)
    position = torch.arange(frames, device=motion.device)[:, None]
    partner = position - torch.arange(-max_shift, max_shift + 1, device=motion.device)
    return cosine.masked_fill((partner < 0) | (partner >= frames), -1.0)
