"""The variants of Tab. 7: which reference pictures the paper's appearance generator is given."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from appearance_samples import Face, PictureBatch, make_batch
from mytalk_training.ema import MovingAverage
from mytalk_training.losses import AppearanceLossWeights, LossNetwork, generator_loss
from torch import Tensor

from mytalk_core.appearance.discriminator import DiscriminatorConfig, PatchDiscriminator
from mytalk_core.appearance.generator import AppearanceConfig, AppearanceGenerator
from mytalk_core.appearance.perceptual import PerceptualDistance
from mytalk_core.appearance.raster import triangulate
from mytalk_core.face.layout import LandmarkLayout

LAYOUT = "mesh478"


@dataclass(frozen=True)
class PictureVariant:
    """references: the generator's flag; paper: PSNR and FID as published."""

    references: str
    label: str
    paper: dict[str, float] = field(default_factory=dict)


TABLE_7 = (
    PictureVariant("masked-multi", "ours: three masked references", {"psnr": 34.153, "lpips": 4.224}),
    PictureVariant("full-single", "one whole reference", {"psnr": 31.750, "lpips": 6.620}),
    PictureVariant("masked-single", "one masked reference", {"psnr": 32.759, "lpips": 6.453}),
)


def picture_config(references: str, args: argparse.Namespace) -> AppearanceConfig:
    """The paper's generator with smaller numbers."""
    return AppearanceConfig(
        size=args.picture_size,
        landmark_layout=LAYOUT,
        width=args.picture_width,
        blocks=1,
        groups=8,
        fusion_width=4 * args.picture_width,
        fusion_blocks=2,
        references=references,
    )


def step(
    generator: AppearanceGenerator,
    losses: LossNetwork,
    optimizer: torch.optim.Optimizer,
    batch: PictureBatch,
    noise: torch.Generator,
) -> float:
    """One optimizer step of eq. 9 without its discriminator, which joins after a warm-up; the L1 term."""
    with torch.autocast("cpu", torch.bfloat16):
        made = generator(batch.references, batch.non_lip, batch.landmark_image, True, noise)
        last = generator.decoder.blocks[-1].weight
        terms = generator_loss(made, batch.truth, losses, AppearanceLossWeights(), last, adversarial=False)
    optimizer.zero_grad(set_to_none=True)
    terms["total"].backward()
    optimizer.step()
    return terms["l1"].item()


def train(variant: PictureVariant, seed: int, faces: list[Face], args: argparse.Namespace) -> Path:
    """Train a variant, unless its folder holds it already: that folder."""
    out = args.work / f"{variant.references}-{seed}"
    if (out / "config.json").exists():
        return out
    torch.manual_seed(seed)
    config = picture_config(variant.references, args)
    generator = AppearanceGenerator(config).to(memory_format=torch.channels_last).train()
    losses = LossNetwork(PatchDiscriminator(DiscriminatorConfig(width=8)))
    optimizer = torch.optim.Adam(generator.parameters(), args.picture_lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.picture_lr, args.picture_steps)
    average, triangulation = MovingAverage(generator, 0.99), triangulate(LandmarkLayout.load(LAYOUT))
    draw, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    for number in range(args.picture_steps):
        chosen = draw_samples(faces, args.picture_batch, config.reference_count, draw)
        l1 = step(generator, losses, optimizer, make_batch(config, chosen, triangulation), noise)
        schedule.step()
        average.update(generator)
        if number % 20 == 19:
            print(variant.references, number + 1, round(l1, 4), flush=True)
    generator.load_state_dict(generator.state_dict() | average.tensors)
    return generator.save_pretrained(out)


def draw_samples(
    faces: list[Face], batch: int, count: int, draw: np.random.Generator
) -> list[tuple[Face, int, np.ndarray]]:
    """`batch` random frames with random references apart in time."""
    chosen: list[tuple[Face, int, np.ndarray]] = []
    while len(chosen) < batch:
        face = faces[draw.integers(len(faces))]
        row = int(draw.integers(len(face.frames)))
        lent = face.draw_references(row, count, draw)
        if lent is not None:
            chosen.append((face, row, lent))
    return chosen


def score(
    variant: PictureVariant, seed: int, faces: dict[str, list[Face]], args: argparse.Namespace
) -> dict[str, list[float]]:
    """PSNR in the mask and, with its weights, LPIPS of the crop, by frame of the validation faces."""
    path = args.work / f"{variant.references}-{seed}" / "scores.json"
    if path.exists():
        return json.loads(path.read_text())
    generator = AppearanceGenerator.from_pretrained(train(variant, seed, faces["train"], args))
    perceptual = PerceptualDistance.from_pretrained(args.lpips) if args.lpips else None
    triangulation, draw = triangulate(LandmarkLayout.load(LAYOUT)), np.random.default_rng(0)
    rows: dict[str, list[float]] = {"psnr": []} | ({"lpips": []} if perceptual else {})
    for face in faces["val"]:
        for row in range(len(face.frames)):
            # Three for every variant, so that all read the same first one.
            lent = face.draw_references(row, 3, draw)
            if lent is not None:
                batch = make_batch(
                    generator.config, [(face, row, lent[: generator.config.reference_count])], triangulation
                )
                judge(generator, perceptual, batch, rows)
    path.write_text(json.dumps(rows) + "\n")
    return rows


@torch.no_grad()
def judge(
    generator: AppearanceGenerator,
    perceptual: PerceptualDistance | None,
    batch: PictureBatch,
    rows: dict[str, list[float]],
) -> None:
    """Add a frame's figures: made anew inside the mask, itself outside."""
    made = generator(batch.references, batch.non_lip, batch.landmark_image).frames.clamp(-1, 1)
    mask = batch.mask[:, None]
    pasted = batch.truth + mask * (made - batch.truth)
    rows["psnr"].append(masked_psnr(pasted, batch.truth, mask))
    if perceptual is not None:
        rows["lpips"].append(perceptual(pasted, batch.truth).item())


def masked_psnr(made: Tensor, truth: Tensor, mask: Tensor) -> float:
    """PSNR in dB over pixels of mask > 0: pictures (B,3,H,W) in [-1,1], mask (B,1,H,W)."""
    inside = (mask > 0).expand_as(made)
    error = (made - truth)[inside].square().mean()
    return float(10 * torch.log10(4 / error))
