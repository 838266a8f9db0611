"""Figures of the paper's appearance generator on frames of prepared clips, in the frames' own crops."""

from __future__ import annotations

import torch
from mytalk_training.generator.data import GeneratorBatch, GeneratorData

from mytalk_core.appearance.networks.generator import AppearanceGenerator
from mytalk_core.appearance.networks.picture_tensors import to_rgb
from mytalk_core.evaluation.metrics.frechet import Moments, frechet_distance
from mytalk_core.evaluation.metrics.pictures import psnr
from mytalk_core.evaluation.networks.lpips import perceptual_score
from mytalk_core.evaluation.networks.metric_networks import Networks

BATCH = 8


def judge(
    generator: AppearanceGenerator, data: GeneratorData, count: int, networks: Networks
) -> dict[str, list[float]]:
    """Scores of the first `count` windows: made anew inside the mask, the true picture outside of it.

    psnr (dB) and lpips (VGG16), of the pixels whose mask is above 0: one a frame; fid: one, of all the crops.
    What has no network in `networks` is left out.
    """
    scores: dict[str, list[float]] = {"psnr": []}
    made, real = Moments(), Moments()
    for start in range(0, count, BATCH):
        batch = data.draw(list(range(start, min(start + BATCH, count))))
        truth, guess = to_rgb(batch.truth[:, 0]), to_rgb(_pasted(generator, batch))
        for number in range(len(truth)):
            inside = (batch.mask[number, 0] > 0).numpy()
            scores["psnr"].append(psnr(truth[number], guess[number], inside))
            if networks.lpips_vgg:
                found = perceptual_score(networks.lpips_vgg, truth[number], guess[number], inside)
                scores.setdefault("lpips", []).append(found.inside)
        if networks.inception:
            made.add(networks.inception.read(guess))
            real.add(networks.inception.read(truth))
    if networks.inception:
        scores["fid"] = [frechet_distance(made, real)]
    return scores


@torch.no_grad()
def _pasted(generator: AppearanceGenerator, batch: GeneratorBatch) -> torch.Tensor:
    parts = (batch.references, batch.non_lip, batch.landmark_image)
    frames = generator(*(part[:, 0] for part in parts)).frames.clamp(-1, 1)
    mask, truth = batch.mask[:, 0, None], batch.truth[:, 0]
    return truth + mask * (frames - truth)
