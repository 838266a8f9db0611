"""A network that looks at a picture beside the person's usual face and tells what stands before it.

Where a cover has the face's own colours, as a hand has, a difference of colours hardly tells; the network
knows how hands and other things look before faces. `mytalk_training.covers.train` made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ...checkpoint.pretrained import BUNDLED
from ...face.alignment import UNITS
from .face_view import FaceView

SIDE = UNITS // 2  # samples of the whole square
# What it looks at, the lower face and what is about it: top, left, bottom and right in units, and as samples.
BOX = 96, 16, 256, 240
BELOW = slice(BOX[0] // 2, BOX[2] // 2), slice(BOX[1] // 2, BOX[3] // 2)
PICTURE, SPREAD = 7, 64.0  # channels that show pictures; levels of spread that count as one
INPUTS, WIDTHS = 10, (16, 32, 64, 64)
FINE, GROUP = 8, 8  # channels at the finest level; those that are normalised together


@dataclass(frozen=True)
class Comparison:
    """A picture and a person's usual face in its shape, at one sample in two units.

    picture: uint8 (128, 128, 3); usual: uint8 (128, 128, 4), colours in the usual light and how much they
    differ, 255 where the face is not known; gain: float32 (3,), how bright the picture's light is beside it;
    outlines: uint8 (128, 128, 3), the face, the lips and what is between them, 255 within.
    """

    picture: np.ndarray
    usual: np.ndarray
    gain: np.ndarray
    outlines: np.ndarray

    @staticmethod
    def of(view: FaceView, usual: np.ndarray) -> Comparison:
        """Of a picture and the usual face uint8 (256, 256, 4) in its shape."""
        layout = view.layout
        rings = layout.oval, layout.lips_outer, layout.lips_inner
        outlines = 255 * np.dstack([view.outline(ring) for ring in rings])
        return Comparison(halved(view.unit), halved(usual), view.gain, halved(outlines))


def halved(picture: np.ndarray) -> np.ndarray:
    """A picture uint8 (256, 256, ...) at one sample in two units."""
    return cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def network_inputs(
    picture: np.ndarray, expected: np.ndarray, spread: np.ndarray, outlines: np.ndarray
) -> np.ndarray:
    """What the network is given, float32 (10, 80, 112): a picture and the usual face in its light, 0 ... 255
    (128, 128, 3), the latter's spread (128, 128) and the outlines (128, 128, 3), in the part it looks at."""
    pictures = (np.dstack([one[BELOW] for one in (picture, expected)]) / 128).astype(np.float32) - 1
    rest = np.dstack([spread[BELOW] / SPREAD, outlines[BELOW] / 255]).astype(np.float32)
    return np.ascontiguousarray(np.dstack([pictures, rest]).transpose(2, 0, 1))


class CoverNetwork(nn.Module):
    """inputs (B, 10, 80, 112) of `network_inputs` -> logits (B, 80, 112) that something stands there before
    the face. A U-Net that begins at half of the samples; at all of them it only sees what is thin, and mends
    the edge."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        before = (INPUTS, *widths[:-1])
        self.thin = nn.Sequential(
            nn.Conv2d(INPUTS, FINE, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(FINE, FINE, 3, padding=1),
            nn.ReLU(inplace=True),
        )
        self.thin_side = nn.Conv2d(4 * FINE, widths[0], 1)
        self.down = nn.ModuleList(
            nn.Sequential(_layer(above, width, stride=2), _layer(width, width))
            for above, width in zip(before, widths, strict=True)
        )
        self.deep = _layer(widths[-1], widths[-1])
        self.side = nn.ModuleList(
            nn.Conv2d(below, width, 1) for width, below in zip(widths[:-1], widths[1:], strict=True)
        )
        self.up = nn.ModuleList(_layer(width, width) for width in widths[:-1])
        self.head = nn.Conv2d(widths[0], 4, 3, padding=1)
        self.fine = nn.Sequential(
            nn.Conv2d(1 + PICTURE + FINE, FINE, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(FINE, 1, 3, padding=1),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        thin = self.thin(inputs)
        x = self.down[0](inputs) + self.thin_side(F.pixel_unshuffle(thin, 2))
        levels = [x]
        for down in self.down[1:]:
            x = down(x)
            levels.append(x)
        x = self.deep(x)
        for level, side, up in reversed([*zip(levels[:-1], self.side, self.up, strict=True)]):
            x = up(level + F.interpolate(side(x), scale_factor=2))
        coarse = F.pixel_shuffle(self.head(x), 2)
        logits: Tensor = coarse + self.fine(torch.cat([coarse, inputs[:, :PICTURE], thin], 1))
        return logits[:, 0]

    @torch.no_grad()
    def likely(self, comparison: Comparison) -> np.ndarray:
        """How likely it is that something stands before the face, float32 (256, 256), 0 to 1."""
        usual, gain = comparison.usual, comparison.gain
        expected = np.clip(usual[..., :3] * gain, 0, 255)
        inputs = network_inputs(comparison.picture, expected, usual[..., 3], comparison.outlines)
        whole = np.zeros((SIDE, SIDE), np.float32)
        whole[BELOW] = self(torch.from_numpy(inputs)[None])[0].sigmoid().numpy()
        return cv2.resize(whole, (UNITS, UNITS), interpolation=cv2.INTER_LINEAR)


def _layer(above: int, width: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(above, width, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(width // GROUP, width), nn.ReLU(inplace=True))


@lru_cache(maxsize=1)
def load_cover_network() -> CoverNetwork:
    """The bundled network, on the CPU."""
    network = CoverNetwork()
    network.load_state_dict(load_file(BUNDLED / "cover" / "model.safetensors"))
    # A fifth quicker in this order of memory.
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval().requires_grad_(False)
