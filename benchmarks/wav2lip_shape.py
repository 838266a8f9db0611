"""Networks of Wav2Lip's shape with random weights: the arithmetic that it spends on a frame, nothing else.

Shapes after the papers: Prajwal et al., "A Lip Sync Expert Is All You Need", 2020, and Zhang et al., "S3FD:
Single Shot Scale-invariant Face Detector", 2017.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FACE_PX = 96
# Mel bands and steps of the 0.2 s of speech that a frame is given.
MEL = (80, 16)
VGG = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class S3FD(nn.Module):
    """VGG-16, two dilated layers, two coarser stages, and heads on six of them.

    forward: frames (B,3,H,W) -> scores and boxes of the six scales.
    """

    def __init__(self) -> None:
        super().__init__()
        stages, channels = [], 3
        for width, layers in VGG:
            stage: list[nn.Module] = [nn.MaxPool2d(2)] if stages else []
            for _ in range(layers):
                stage += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(True)]
                channels = width
            stages.append(nn.Sequential(*stage))
        dilated = [nn.MaxPool2d(2), nn.Conv2d(512, 1024, 3, padding=3, dilation=3), nn.ReLU(True)]
        stages.append(nn.Sequential(*dilated, nn.Conv2d(1024, 1024, 1), nn.ReLU(True)))
        for before, inside, behind in ((1024, 256, 512), (512, 128, 256)):
            narrow = [nn.Conv2d(before, inside, 1), nn.ReLU(True)]
            stages.append(nn.Sequential(*narrow, nn.Conv2d(inside, behind, 3, 2, 1), nn.ReLU(True)))
        self.stages = nn.ModuleList(stages)
        self.heads = nn.ModuleList(nn.Conv2d(w, 6, 3, padding=1) for w in (256, 512, 512, 1024, 512, 256))

    def forward(self, x: Tensor) -> list[Tensor]:
        found = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number >= 2:
                found.append(self.heads[number - 2](x))
        return found


def block(
    before: int, behind: int, kernel: int, stride: int | tuple[int, int] = 1, pad: int = 1
) -> nn.Module:
    """Convolution, batch norm, ReLU."""
    layers = nn.Conv2d(before, behind, kernel, stride, pad), nn.BatchNorm2d(behind), nn.ReLU(True)
    return nn.Sequential(*layers)


def stage(first: nn.Module, width: int, more: int) -> nn.Module:
    """A change of size, then `more` blocks that keep it."""
    return nn.Sequential(first, *(block(width, width, 3) for _ in range(more)))


def upwards(before: int, behind: int, more: int, grow: bool = True) -> nn.Module:
    """Twice the size; or from one pixel to three."""
    sizes = {"stride": 2, "padding": 1, "output_padding": 1} if grow else {}
    up = nn.ConvTranspose2d(before, behind, 3, **sizes)  # type: ignore[arg-type]
    return stage(nn.Sequential(up, nn.BatchNorm2d(behind), nn.ReLU(True)), behind, more)


class Generator(nn.Module):
    """Face and reference, and speech, each to one vector; from both a face, with the face's stages beside.

    forward: mel (B,1,80,16), faces (B,6,96,96) -> (B,3,96,96).
    """

    def __init__(self) -> None:
        super().__init__()
        halves = ((16, 32, 2), (32, 64, 3), (64, 128, 2), (128, 256, 2), (256, 512, 1))
        self.face = nn.ModuleList([block(6, 16, 7, 1, 3)])
        self.face.extend(stage(block(before, w, 3, 2), w, more) for before, w, more in halves)
        self.face.append(nn.Sequential(block(512, 512, 3, 1, 0), block(512, 512, 1, 1, 0)))
        self.speech = nn.Sequential(
            stage(block(1, 32, 3), 32, 2),
            stage(block(32, 64, 3, (3, 1)), 64, 2),
            stage(block(64, 128, 3, 3), 128, 2),
            stage(block(128, 256, 3, (3, 2)), 256, 1),
            block(256, 512, 3, 1, 0),
            block(512, 512, 1, 1, 0),
        )
        self.up = nn.ModuleList([block(512, 512, 1, 1, 0), upwards(1024, 512, 1, grow=False)])
        doubled = ((1024, 512, 2), (768, 384, 2), (512, 256, 2), (320, 128, 2), (160, 64, 2))
        self.up.extend(upwards(before, behind, more) for before, behind, more in doubled)
        self.out = nn.Sequential(block(80, 32, 3), nn.Conv2d(32, 3, 1), nn.Sigmoid())

    def forward(self, mel: Tensor, faces: Tensor) -> Tensor:
        beside, x = [], faces
        for layer in self.face:
            x = layer(x)
            beside.append(x)
        x = self.speech(mel)
        for layer in self.up:
            x = torch.cat([layer(x), beside.pop()], 1)
        return self.out(x)
