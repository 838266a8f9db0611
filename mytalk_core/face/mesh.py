"""The 478-point face mesh with irises on a 256-pixel square.

Source: Grishchenko et al., "Attention Mesh", 2020, and MediaPipe's FaceLandmarker v2, whose weights are used,
converted (Apache-2.0).
"""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from ..media.colour import Box

INPUT_PX = 256
POINTS = 478
REGION_SCALE = 1.5
# Of its side: one frame's region is seldom further from the next one's.
ROOM = 0.1
# The outer corners of the subject's right and left eye: they give the region's rotation.
EYE_CORNERS = (33, 263)


class Bottleneck(nn.Module):
    """1x1 down, depthwise 3x3, 1x1 up, added to the input, PReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.reduce = nn.Conv2d(channels, half, 1)
        self.act_inner = nn.PReLU(half)
        self.depthwise = nn.Conv2d(half, half, 3, padding=1, groups=half)
        self.expand = nn.Conv2d(half, channels, 1)
        self.act = nn.PReLU(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.expand(self.depthwise(self.act_inner(self.reduce(x)))))


class Downsample(nn.Module):
    """A 2x2 stride-2 bottleneck beside max pooling; channels grow by zero padding."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        half = channels_out // 2
        self.extra = channels_out - channels_in
        self.reduce = nn.Conv2d(channels_in, half, 2, 2)
        self.act_inner = nn.PReLU(half)
        self.depthwise = nn.Conv2d(half, half, 3, padding=1, groups=half)
        self.expand = nn.Conv2d(half, channels_out, 1)
        self.act = nn.PReLU(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.max_pool2d(x, 2)
        if self.extra:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.extra))
        return self.act(shortcut + self.expand(self.depthwise(self.act_inner(self.reduce(x)))))


class FaceMesh(nn.Module):
    """The mesh network.

    forward: images (B,3,256,256) in 0..1 -> points (B,478,3) in input pixels (z grows away from the camera,
    same scale), logits (B,) of a face being there.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 2), nn.PReLU(16)]
        channels = [16, 32, 64, 128, 128, 128, 128]
        for i, width in enumerate(channels):
            if i:
                layers.append(Downsample(channels[i - 1], width))
            layers += [Bottleneck(width) for _ in range(4)]
        self.body = nn.Sequential(*layers)
        self.points = nn.Conv2d(128, POINTS * 3, 2)
        self.presence = nn.Conv2d(128, 1, 2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # Stride 2 on an even side: the padding stands behind only.
        features = self.body(F.pad(images, (0, 1, 0, 1)))
        return self.points(features).view(-1, POINTS, 3), self.presence(features).view(-1)


def region_from_box(box: np.ndarray, right_eye: np.ndarray, left_eye: np.ndarray) -> np.ndarray:
    """The square the mesh looks at, (centre x, centre y, side, angle) in px and radians, eyes level."""
    dx, dy = left_eye - right_eye
    side = REGION_SCALE * max(box[2] - box[0], box[3] - box[1])
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, side, np.arctan2(dy, dx)])


def region_from_landmarks(landmarks: np.ndarray) -> np.ndarray:
    """The next frame's square from this frame's landmarks (N,2 or 3): their box along the eye line."""
    right, left = (landmarks[i, :2] for i in EYE_CORNERS)
    angle = np.arctan2(left[1] - right[1], left[0] - right[0])
    cos, sin = np.cos(angle), np.sin(angle)
    # Irises are left out as they are in the training of the network's own tracker: 468 surface points.
    points = landmarks[:468, :2] @ np.array([[cos, -sin], [sin, cos]])
    low, high = points.min(0), points.max(0)
    centre = np.array([[cos, -sin], [sin, cos]]) @ ((low + high) / 2)
    return np.array([centre[0], centre[1], REGION_SCALE * (high - low).max(), angle])


def region_box(region: np.ndarray, height: int, width: int, room: float = ROOM) -> Box:
    """Top, left, bottom, right of a region in a frame of that height and width, px, with the pixels that its
    samples reach to, and room, as a share of its side, for one that lies a little elsewhere."""
    x, y, side, angle = region
    reach = 2 + side * (0.5 + room) * (abs(np.cos(angle)) + abs(np.sin(angle)))
    # A region beside the frame reads none of it.
    left, top = np.clip(np.floor([x - reach, y - reach]), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil([x + reach, y + reach]), (left + 1, top + 1), (width, height)).astype(int)
    return int(top), int(left), int(bottom), int(right)


def region_matrix(region: np.ndarray) -> np.ndarray:
    """The similarity (2,3) from frame pixels to the region's 256-pixel square."""
    x, y, side, angle = region
    scale = INPUT_PX / side
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    matrix = np.array([[cos, sin, 0.0], [-sin, cos, 0.0]])
    matrix[:, 2] = INPUT_PX / 2 - matrix[:, :2] @ [x, y]
    return matrix
