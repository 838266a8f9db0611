"""The appearance model: lip references, a frame without its lips, a landmark image -> a frame (eq. 5-7)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...checkpoint.pretrained import PretrainedModel
from .autoencoder import Decoder, Encoder, Posterior, conv
from .fusion import FusionNet

DESIGNS = ("three-encoder", "single-encoder")
# Reference pictures of each design of Tab. 7.
REFERENCES = {"masked-multi": 3, "masked-single": 1, "full-single": 1}
ALIGNMENTS = ("none", "mesh")


@dataclass(frozen=True)
class AppearanceConfig:
    """Sizes of the appearance model; the defaults are the paper's (Table 9).

    size: side of the pictures in pixels; width, multipliers, blocks, latent, groups: see `Encoder`.
    design: "three-encoder", or the baseline of Tab. 4, "single-encoder" (GAIA): one whole reference frame and
    the landmark image, no current frame, no FusionNet. references: Tab. 7's masked-multi (three pictures of
    the lips), masked-single or full-single. reference_alignment: "mesh" warps the references to the
    target's landmarks first, "none" is the paper.
    """

    size: int = 256
    landmark_layout: str = "dense669"
    width: int = 256
    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: int = 8
    latent: int = 3
    groups: int = 32
    fusion_width: int = 256
    fusion_blocks: int = 4
    design: str = "three-encoder"
    references: str = "masked-multi"
    reference_alignment: str = "none"

    def __post_init__(self):
        choices = {"design": DESIGNS, "references": tuple(REFERENCES), "reference_alignment": ALIGNMENTS}
        for field, allowed in choices.items():
            if getattr(self, field) not in allowed:
                raise ValueError(f"{field} must be one of {', '.join(allowed)}; got {getattr(self, field)!r}")
        if self.design == "single-encoder" and self.references != "full-single":
            raise ValueError(f"the single-encoder design reads full-single references; got {self.references}")
        step = max(32, self.factor)
        if self.size % step:
            raise ValueError(f"size must be a multiple of {step}; got {self.size}")

    @property
    def factor(self) -> int:
        """f: pixels a latent position, per side."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def reference_count(self) -> int:
        """K, reference pictures a frame."""
        return REFERENCES[self.references]


@dataclass(frozen=True)
class Generated:
    """frames (B,3,H,W), about [-1,1]; appearance and motion: the posteriors of z^a and z^m."""

    frames: Tensor
    appearance: Posterior
    motion: Posterior


class AppearanceGenerator(PretrainedModel):
    """VAE with a decoder that reads appearance and landmarks (paper 3.4, Fig. 3 c, Table 9)."""

    config_class = AppearanceConfig

    def __init__(self, config: AppearanceConfig):
        super().__init__()
        self.config = config
        sizes = (config.width, config.multipliers, config.blocks, config.latent, config.groups)
        moments = 2 * config.latent
        three = config.design == "three-encoder"
        self.lip_encoder = Encoder(*sizes)
        self.non_lip_encoder = Encoder(*sizes) if three else None
        self.landmark_encoder = Encoder(*sizes)
        self.fusion = (
            FusionNet(
                (config.reference_count + 1) * moments,
                moments,
                config.fusion_width,
                config.fusion_blocks,
                config.groups,
            )
            if three
            else None
        )
        self.appearance_quant = conv(moments, moments, 1)
        self.landmark_quant = conv(moments, moments, 1)
        self.joint_quant = conv(moments, config.latent, 1)
        self.post_quant = conv(config.latent, config.latent, 1)
        self.decoder = Decoder(*sizes)

    def encode_references(self, references: Tensor) -> Tensor:
        """Reference pictures (B,K,3,H,W) in [-1,1] -> z^l(R) (B,K*2z,h,w); the same for a whole video."""
        wanted = (self.config.reference_count, 3)
        if references.ndim != 5 or tuple(references.shape[1:3]) != wanted:
            raise ValueError(
                f"{self.config.references} references must be (B, {wanted[0]}, 3, H, W); "
                f"got {tuple(references.shape)}"
            )
        moments = self.lip_encoder(references.flatten(0, 1))
        return moments.unflatten(0, (-1, wanted[0])).flatten(1, 2)

    def encode_appearance(self, lip: Tensor, non_lip: Tensor | None) -> Posterior:
        """Encoded references (B,K*2z,h,w) and the current frame without its lips (B,3,H,W) -> z^a (eq. 6).

        The single-encoder design does not look at the current frame.
        """
        if self.fusion is None or self.non_lip_encoder is None:
            return Posterior.from_moments(self.appearance_quant(lip))
        fused = self.fusion(torch.cat((lip, self.non_lip_encoder(non_lip)), dim=1))
        return Posterior.from_moments(self.appearance_quant(fused))

    def encode_landmarks(self, landmark_image: Tensor) -> Posterior:
        """Landmark image (B,3,H,W) in [-1,1] -> z^m."""
        return Posterior.from_moments(self.landmark_quant(self.landmark_encoder(landmark_image)))

    def decode(self, appearance: Tensor, motion: Tensor) -> Tensor:
        """z^a and z^m (B,z,h,w) -> frames (B,3,H,W), about [-1,1] (eq. 7)."""
        joint = self.joint_quant(torch.cat((appearance, motion), dim=1))
        return self.decoder(self.post_quant(joint))

    def forward(
        self,
        references: Tensor,
        non_lip: Tensor | None,
        landmark_image: Tensor,
        sample: bool = False,
        generator: torch.Generator | None = None,
    ) -> Generated:
        """Generate frames whose lips follow the landmark image.

        references (B,K,3,H,W) pictures, or (B,K*2z,h,w) of `encode_references`; non_lip (B,3,H,W), the
        current frame with the lip region blank (zero); landmark_image (B,3,H,W); all in [-1,1]. sample: draw
        the latents, as training does, from the CPU's `generator`; inference takes their modes.
        """
        lip = self.encode_references(references) if references.ndim == 5 else references
        appearance = self.encode_appearance(lip, non_lip)
        motion = self.encode_landmarks(landmark_image)
        latents = [z.sample(generator) if sample else z.mode for z in (appearance, motion)]
        return Generated(self.decode(*latents), appearance, motion)

    def set_checkpointing(self, enabled: bool) -> None:
        """Trade time for memory in training: keep only the blocks' inputs for the backward pass."""
        parts: tuple[Encoder | Decoder | None, ...] = (
            self.lip_encoder,
            self.non_lip_encoder,
            self.landmark_encoder,
            self.decoder,
        )
        for part in parts:
            if part is not None:
                part.checkpointing = enabled
