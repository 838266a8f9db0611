"""The networks that the motion training puts together: sizes from flags or a preset, the lip-sync expert."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from mytalk_core.expert.sync_expert import SyncExpert
from mytalk_core.models.preset import Preset
from mytalk_core.motion.denoiser import MotionConfig, MotionDenoiser
from mytalk_core.motion.identity import IdentityExtractor
from mytalk_core.motion.space import LandmarkSpace

from ..loop.checkpoints import checkpoints
from .data import MotionBatch, MotionData
from .kept_features import Encoder

HEADS = 4  # of attention, without a preset


class SpokenDenoiser(nn.Module):
    """Encoding of speech and denoising in one forward pass.

    DistributedDataParallel synchronises gradients of its own forward pass only.
    """

    def __init__(self, denoiser: MotionDenoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, batch: MotionBatch, x_t: Tensor, t: Tensor, person: Tensor, kept: Tensor) -> Tensor:
        """Noisy x_t (B,F,D) at t (B,), person (B,K,Di) -> x0 (B,F,D).

        kept: (B,3), 0 where a sample is not told of speech, upper face, person; zeros are the null condition
        of classifier-free guidance.
        """
        speech = self.denoiser.encode_speech(batch.features, batch.valid)
        told = [part * kept[:, i, None, None] for i, part in enumerate((speech, batch.upper, person))]
        return self.denoiser(x_t, t, *told, batch.valid)


def motion_config(
    space: LandmarkSpace,
    encoder: Encoder,
    identity: IdentityExtractor,
    *,
    width: int,
    layers: int,
    dropout: float,
    conditioning: str,
    process: str,
) -> MotionConfig:
    """The bundled model's sizes: the paper's classes with smaller numbers."""
    embedded = conditioning == "id-cross-attention"
    return MotionConfig(
        lower=space.config.lower,
        upper=space.config.upper,
        landmark_layout=space.config.layout,
        speech_encoder="speech",
        speech_width=encoder.dim,
        speech_layers=encoder.layers,
        audio_width=width,
        audio_layers=2,
        audio_heads=HEADS,
        audio_ffn_width=4 * width,
        audio_kernel=13,
        width=width,
        layers=layers,
        heads=HEADS,
        ffn_width=4 * width,
        kernel=9,
        time_width=2 * width,
        identity_width=identity.config.embedding if embedded else identity.config.channels,
        condition_mlp=0,
        conditioning=conditioning,
        predict_upper=False,
        dropout=dropout,
        process=process,
    )


def open_space(out: Path, kept: str, given: Callable[[], LandmarkSpace]) -> LandmarkSpace:
    """The landmark space of a run into the folder `out`, where it is `kept`: what `given` makes, or the run's
    own where it goes on: its weights are in these channels, whatever clips joined since."""
    return LandmarkSpace.from_pretrained(out / kept) if checkpoints(out / "checkpoints") else given()


def preset_config(preset: Preset, found: MotionConfig, speech_encoder: str) -> MotionConfig:
    """The preset's sizes with what the data decides; ValueError where the two cannot meet."""
    decided = ["lower", "upper", "landmark_layout", "speech_width", "speech_layers"]
    if found.conditioning == preset.motion.conditioning:
        decided.append("identity_width")
    wanted = {name: getattr(preset.motion, name) for name in decided}
    given = {name: getattr(found, name) for name in decided}
    if wanted != given:
        raise ValueError(f"preset {preset.name} needs {wanted}; data, encoder and identity give {given}")
    chosen = {name: getattr(found, name) for name in ("process", "conditioning", "identity_width")}
    return replace(preset.motion, speech_encoder=speech_encoder, **chosen)


def feature_statistics(data: MotionData) -> tuple[Tensor, Tensor]:
    """Mean and deviation (L,Ds) of the speech features."""
    rows = torch.cat([clip.features[::20].float() for clip in data.clips[::4]])
    return rows.mean(0), rows.std(0).clamp_min(1e-3)


def open_expert(
    folder: Path | None, space: LandmarkSpace, encoder: Encoder, device: torch.device
) -> SyncExpert | None:
    """The frozen lip-sync expert, if one is asked for.

    Raises ValueError if it reads other channels or speech features than the run has.
    """
    if folder is None:
        return None
    expert = SyncExpert.from_pretrained(folder, device=device).requires_grad_(False)
    wanted = (space.config.lower, encoder.dim, encoder.layers)
    found = (expert.config.motion, expert.config.speech_width, expert.config.speech_layers)
    if wanted != found:
        raise ValueError(
            f"{folder}: the expert must read the run's motion channels, speech width and layers {wanted}; "
            f"it reads {found}: train it on the run's space and speech encoder"
        )
    if not LandmarkSpace.from_pretrained(folder / "space").moves_as(space):
        raise ValueError(
            f"{folder}: the expert knows another landmark space than this data's; train it again on it"
        )
    return expert
