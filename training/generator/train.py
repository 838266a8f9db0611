"""Train the paper's appearance generator (section 3.4, eq. 5 to 9) on a dataset that dataset.prepare wrote.

    accelerate launch -m mytalk_training.generator.train DATASET -o RUN --perceptual LPIPS

parse -> build -> step -> save. At every save RUN gets model/appearance, the moving average as
`AppearanceGenerator`, and samples/, a picture of held-out people. The paper's own training: --preset paper
--lr 1e-6 --schedule constant. On a CPU: --width 16 --size 128 --blocks 1.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from mytalk_core.appearance.networks.autoencoder import Posterior, ResidualBlock
from mytalk_core.appearance.networks.discriminator import DiscriminatorConfig, PatchDiscriminator
from mytalk_core.appearance.networks.generator import (
    ALIGNMENTS,
    DESIGNS,
    REFERENCES,
    AppearanceConfig,
    AppearanceGenerator,
    Generated,
)
from mytalk_core.appearance.networks.perceptual import PerceptualDistance
from mytalk_core.arguments import DefaultsHelpFormatter, Parser, at_least
from mytalk_core.files import replacing
from mytalk_core.models.preset import Preset
from mytalk_core.program import in_one_line

from ..dataset.shards import ShardDataset
from ..loop.checkpoints import TrainingState, averaged
from ..loop.loop import Run, add_arguments, channels_last, descend, train
from ..loop.order import SampleRandom
from ..loop.people import choose_few, hold_out
from .data import GeneratorBatch, GeneratorData, read_picture_clips
from .losses import AppearanceLossWeights, DiscriminatorLoss, LossNetwork, generator_loss
from .validation import validate

# Of Adam, for networks that train against each other (Esser et al. 2021).
BETAS = (0.5, 0.9)


class SampledGenerator(nn.Module):
    """The generator on a batch of windows, its latents drawn, as one forward pass."""

    def __init__(self, generator: AppearanceGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, batch: GeneratorBatch, noise: Tensor) -> Generated:
        """A batch of B windows of F frames, noise (B,2,z,h,w) -> B F frames; neighbours share their noise, or
        they would have to differ by it."""
        model, window = self.generator, batch.truth.shape[1]
        references, non_lip, landmark_image = (
            part.flatten(0, 1) for part in (batch.references, batch.non_lip, batch.landmark_image)
        )
        lip = model.encode_references(references)
        posteriors = model.encode_appearance(lip, non_lip), model.encode_landmarks(landmark_image)
        appearance, motion = (Posterior(z.mean.float(), z.log_variance.float()) for z in posteriors)
        own = noise.repeat_interleave(window, dim=0)
        frames = model.decode(appearance.at(own[:, 0]), motion.at(own[:, 1]))
        return Generated(frames.float(), appearance, motion)


@dataclass(kw_only=True)
class State(TrainingState):
    """The networks "generator", as `SampledGenerator`, and "discriminator", as `DiscriminatorLoss`.

    losses: the judge and the perceptual network that the generator's loss reads; start: the step at which
    the discriminator joins; held: windows of people kept from training, None if there are none; validated:
    how many of them.
    """

    config: AppearanceConfig
    losses: LossNetwork
    weights: AppearanceLossWeights
    start: int
    held: GeneratorData | None
    validated: int


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    add_arguments(parser, batch=8, lr=2e-4, warmup=200, mixed_precision="auto", overfit_loss=0.1)
    add = parser.add_argument
    add("--preset", help="paper: sizes and landmark layout are the preset's, the next seven are not read")
    add("--size", type=at_least(1), default=256, help="side of the pictures, px, a multiple of 32")
    add("--width", type=at_least(1), default=64, help="channels of the first level")
    add("--multipliers", type=at_least(1), nargs="+", default=[1, 2, 4], help="of the width, one a level")
    add("--blocks", type=at_least(1), default=2, help="residual blocks a level")
    add("--groups", type=at_least(1), default=8, help="of the norms; every width must be a multiple")
    add("--fusion-width", type=at_least(1), default=128, help="channels of the fusion of references")
    add("--discriminator-width", type=at_least(1), default=32, help="channels of its first level")
    add("--references", choices=[*REFERENCES], help="Tab. 7; by default masked-multi, three masked ones")
    add("--design", choices=DESIGNS, default=DESIGNS[0], help="single-encoder: Tab. 4's, a full-single one")
    add("--alignment", choices=ALIGNMENTS, default=ALIGNMENTS[0], help="mesh: references warped first")
    defaults = AppearanceLossWeights()
    add("--kl-weight", type=float, default=defaults.kl, help="of the latent's divergence from a normal")
    add("--discriminator-weight", type=float, default=defaults.discriminator, help="0: none is trained")
    add("--start-discriminator", type=int, default=1000, metavar="STEP", help="when it joins")
    add("--perceptual", type=Path, help="folder that mytalk_training.convert.lpips wrote: adds its loss")
    add("--perceptual-weight", type=float, default=defaults.perceptual, help="of LPIPS, with --perceptual")
    add("--mouth-weight", type=float, default=defaults.mouth, help="of L1 inside the mask, beside L1")
    add("--temporal-weight", type=float, default=defaults.temporal, help="above 0 reads pairs of frames")
    add("--plain", action="store_true", help="no changes of position, colour and quality")
    add("--recompute", action="store_true", help="less memory, more time")
    add(
        "--validate",
        type=at_least(1),
        default=64,
        metavar="N",
        help="frames of held-out people at every save",
    )
    args = parser.parse_args(argv)
    if args.overfit is not None:
        args.plain, args.discriminator_weight = True, 0.0
    return args


def build(run: Run, args: argparse.Namespace) -> tuple[State, GeneratorData]:
    """Data and models of a run."""
    window = 2 if args.temporal_weight else 1
    shards = ShardDataset.open(args.dataset)
    config, discriminator = configs(args, shards)
    clips = read_picture_clips(shards, config.reference_count, window)
    known, held = hold_out(clips)
    if args.overfit is not None:
        known = held = choose_few(known, args.overfit)
    held = run.learn_from(known, held)
    data = GeneratorData(shards, known, config, args.seed, window, vary=not args.plain)
    generator = AppearanceGenerator(config)
    generator.set_checkpointing(args.recompute)
    # Shards must be contiguous.
    sampled = SampledGenerator(generator) if args.fsdp else channels_last(SampledGenerator(generator))
    networks = {
        "generator": run.network(sampled, BETAS, (ResidualBlock,)),
        "discriminator": run.network(
            channels_last(DiscriminatorLoss(PatchDiscriminator(discriminator))), BETAS, None
        ),
    }
    perceptual = None
    if args.perceptual is not None:
        perceptual = PerceptualDistance.from_pretrained(args.perceptual, device=run.accelerator.device)
    state = State(
        networks=networks,
        config=config,
        losses=LossNetwork(run.accelerator.unwrap_model(networks["discriminator"].module), perceptual),
        weights=AppearanceLossWeights(
            kl=args.kl_weight,
            discriminator=args.discriminator_weight,
            perceptual=args.perceptual_weight,
            mouth=args.mouth_weight,
            temporal=args.temporal_weight,
        ),
        start=args.start_discriminator,
        held=GeneratorData(shards, held, config, 0, vary=False) if held else None,
        validated=args.validate,
    )
    return state, data


def configs(args: argparse.Namespace, shards: ShardDataset) -> tuple[AppearanceConfig, DiscriminatorConfig]:
    """The networks' sizes, of the preset or the flags. Raises ValueError for a preset without them."""
    references = args.references or ("masked-multi" if args.design == DESIGNS[0] else "full-single")
    chosen = {
        "design": args.design,
        "references": references,
        "reference_alignment": args.alignment,
    }
    if args.preset:
        preset = Preset.load(args.preset)
        if preset.appearance is None or preset.discriminator is None:
            raise ValueError(f"preset {args.preset} has no appearance generator: give its sizes by flags")
        return dataclasses.replace(preset.appearance, **chosen), preset.discriminator
    config = AppearanceConfig(
        size=args.size,
        landmark_layout=shards.samples[0]["layout"],
        width=args.width,
        multipliers=tuple(args.multipliers),
        blocks=args.blocks,
        groups=args.groups,
        fusion_width=args.fusion_width,
        **chosen,
    )
    return config, DiscriminatorConfig(width=args.discriminator_width)


def step(
    state: State, batch: GeneratorBatch, draws: SampleRandom, accelerator: Accelerator
) -> dict[str, Tensor]:
    """One step of both networks on one micro-batch: the terms of eq. 9, and the discriminator's loss.

    The discriminator's batch norm and its adaptive weight are those of the micro-batch: splits into
    micro-batches of one size train alike, others do not quite.

    Raises FloatingPointError as `descend` does.
    """
    generator, judge = state.networks["generator"], state.networks["discriminator"]
    adversarial = state.step >= state.start and state.weights.discriminator > 0
    for network in (generator, judge):
        network.module.train()
    latent = state.config.size // state.config.factor
    noise = draws.normal(2, state.config.latent, latent, latent).to(batch.truth)
    truth, mask = batch.truth.flatten(0, 1), batch.mask.flatten(0, 1)
    judge.module.requires_grad_(False)
    with accelerator.autocast():
        generated = generator.module(batch, noise)
        last_layer = accelerator.unwrap_model(generator.module).generator.decoder.blocks[-1].weight
        terms = generator_loss(
            generated,
            truth,
            state.losses,
            state.weights,
            last_layer,
            adversarial,
            mask,
            window=batch.truth.shape[1],
        )
    descend(generator, terms["total"], accelerator)
    judge.module.requires_grad_(True)
    if not adversarial:
        zero = torch.zeros_like(terms["total"])
        return terms | {"adversarial": zero, "discriminator": zero}
    with accelerator.autocast():
        loss = judge.module(truth, generated.frames.detach())
    descend(judge, loss, accelerator)
    return terms | {"discriminator": loss}


def save(run: Run, state: State) -> dict[str, float]:
    """The averaged generator as it is loaded later, its figures on people kept from training, a picture."""
    generator = averaged(state.networks["generator"], AppearanceGenerator(state.config), "generator.")
    if generator is None:
        return {}
    generator.save_pretrained(run.out / "model" / "appearance", torch.float16)
    if state.held is None:
        return {}
    channels_last(generator.to(run.accelerator.device))
    figures, picture = validate(
        generator, state.held, state.validated, state.losses.perceptual, run.accelerator
    )
    run.show("samples", picture, state.step)
    write_picture(run.out / "samples" / f"step_{state.step:08d}.png", picture)
    return figures


def write_picture(path: Path, rgb: np.ndarray) -> None:
    """A picture uint8 RGB (H,W,3) as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", rgb[..., ::-1])
    with replacing(path) as temporary:
        temporary.write_bytes(data.tobytes())


def main() -> None:
    args = parse()
    run = Run.of(args)
    state, data = build(run, args)
    train(run, state, data.draw, step, save)


if __name__ == "__main__":
    sys.exit(in_one_line(main, "mytalk_training.generator.train"))
