"""The appearance generator on clips kept from training: figures inside the mask, and pictures to look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from mytalk_core.appearance.networks.generator import AppearanceGenerator
from mytalk_core.appearance.networks.perceptual import PerceptualDistance
from mytalk_core.appearance.networks.picture_tensors import to_rgb
from mytalk_core.evaluation.metrics.pictures import psnr, ssim

from .data import GeneratorBatch, GeneratorData

BATCH, SHOWN = 8, 6


def validate(
    generator: AppearanceGenerator,
    data: GeneratorData,
    count: int,
    perceptual: PerceptualDistance | None,
    accelerator: Accelerator,
) -> tuple[dict[str, float], np.ndarray]:
    """Means over the first `count` windows of `data`, and a picture of the first six.

    psnr (dB) and ssim: of the generated pixels where the mask is above 0; lpips: of the whole generated
    picture, where a network for it is given. The picture, uint8 (H,W,3), has a row a window: see `grid_row`.
    """
    figures: dict[str, list[float]] = {}
    rows: list[np.ndarray] = []
    for batch in _batches(data, count):
        made = _generate(generator, batch, accelerator)
        truth = to_rgb(batch.truth[:, 0])
        for number, frame in enumerate(to_rgb(made)):
            inside = (batch.mask[number, 0] > 0).numpy()
            figures.setdefault("psnr", []).append(psnr(truth[number], frame, inside))
            figures.setdefault("ssim", []).append(ssim(truth[number], frame, inside))
            if len(rows) < SHOWN:
                rows.append(grid_row(generator, batch, number, frame))
        if perceptual is not None:
            pictures = (made.clamp(-1, 1), batch.truth[:, 0].to(made))
            figures.setdefault("lpips", []).extend(_distance(perceptual, *pictures, accelerator))
    means = {key: round(float(np.mean(values)), 4) for key, values in figures.items()}
    return means, np.concatenate(rows)


def grid_row(
    generator: AppearanceGenerator, batch: GeneratorBatch, number: int, made: np.ndarray
) -> np.ndarray:
    """A window's first frame: references, masked frame (where the model reads it), landmark image, generated,
    truth, side by side; uint8 (S,n S,3)."""
    read = list(batch.references[number, 0])
    if generator.fusion is not None:
        read.append(batch.non_lip[number, 0])
    read.append(batch.landmark_image[number, 0])
    return np.concatenate([*to_rgb(torch.stack(read)), made, to_rgb(batch.truth[number, 0])], axis=1)


def _batches(data: GeneratorData, count: int) -> Iterator[GeneratorBatch]:
    for start in range(0, count, BATCH):
        yield data.draw(list(range(start, min(start + BATCH, count))))


@torch.no_grad()
def _generate(generator: AppearanceGenerator, batch: GeneratorBatch, accelerator: Accelerator) -> Tensor:
    device = next(generator.parameters()).device
    pictures = (batch.references, batch.non_lip, batch.landmark_image)
    with accelerator.autocast():
        made = generator(*(part[:, 0].to(device) for part in pictures))
    return made.frames.float()


@torch.no_grad()
def _distance(
    perceptual: PerceptualDistance, made: Tensor, truth: Tensor, accelerator: Accelerator
) -> list[float]:
    with accelerator.autocast():
        return perceptual(made, truth).float().tolist()
