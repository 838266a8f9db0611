"""BlazeFace (short range): face boxes and six key points on a 128-pixel square.

Source: Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019;
the weights are MediaPipe's, converted (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_PX = 128
SCORE_THRESHOLD = 0.5
# Of a head that is turned more is wanted: it is looked for in four times as many pictures.
TURNED_SCORE = 0.7
OVERLAP_THRESHOLD = 0.3


@dataclass(frozen=True)
class Detection:
    """One face.

    box: (x0, y0, x1, y1) in frame pixels; key_points: (6, 2) in frame pixels, the subject's right eye, left
    eye, nose tip, mouth, right ear, left ear; score: 0..1.
    """

    box: np.ndarray
    key_points: np.ndarray
    score: float

    @property
    def size_px(self) -> float:
        """The longer side of the box in pixels."""
        return float(max(self.box[2] - self.box[0], self.box[3] - self.box[1]))


class BlazeBlock(nn.Module):
    """Depthwise 3x3, pointwise 1x1, added to the input (max-pooled, zero-padded in channels where needed)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.extra = channels_out - channels_in
        self.depthwise = nn.Conv2d(
            channels_in, channels_in, 3, stride, padding=1 if stride == 1 else 0, groups=channels_in
        )
        self.pointwise = nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if self.stride == 2:
            shortcut = F.max_pool2d(x, 2)
            x = F.pad(x, (0, 1, 0, 1))
        if self.extra:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.extra))
        return F.relu(shortcut + self.pointwise(self.depthwise(x)))


class BlazeFace(nn.Module):
    """The detector network.

    forward: images (B,3,128,128) in -1..1 -> regressors (B,896,16) in input pixels relative to the anchor,
    logits (B,896).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 5, 2)
        fine = [(24, 24, 1), (24, 28, 1), (28, 32, 2), (32, 36, 1), (36, 42, 1), (42, 48, 2)]
        fine += [(48, 56, 1), (56, 64, 1), (64, 72, 1), (72, 80, 1), (80, 88, 1)]
        coarse = [(88, 96, 2)] + [(96, 96, 1)] * 4
        self.fine = nn.Sequential(*(BlazeBlock(*block) for block in fine))
        self.coarse = nn.Sequential(*(BlazeBlock(*block) for block in coarse))
        self.score_fine, self.score_coarse = nn.Conv2d(88, 2, 1), nn.Conv2d(96, 6, 1)
        self.box_fine, self.box_coarse = nn.Conv2d(88, 32, 1), nn.Conv2d(96, 96, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        # Stride 2 on an even side needs one pixel less on the left: 1 before, 2 behind for a 5x5 kernel.
        fine = self.fine(F.relu(self.stem(F.pad(images, (1, 2, 1, 2)))))
        coarse = self.coarse(fine)

        def rows(x: Tensor, width: int) -> Tensor:
            return x.permute(0, 2, 3, 1).reshape(len(x), -1, width)

        boxes = torch.cat([rows(self.box_fine(fine), 16), rows(self.box_coarse(coarse), 16)], 1)
        logits = torch.cat([rows(self.score_fine(fine), 1), rows(self.score_coarse(coarse), 1)], 1)
        return boxes, logits[..., 0]


def anchor_centres() -> np.ndarray:
    """Anchor centres (896,2) in input pixels: a 16x16 grid twice, then an 8x8 grid six times."""
    rows = []
    for side, repeat in ((16, 2), (8, 6)):
        y, x = np.mgrid[0:side, 0:side]
        centres = (np.stack([x, y], -1).reshape(-1, 1, 2) + 0.5) * (INPUT_PX / side)
        rows.append(np.repeat(centres, repeat, 1).reshape(-1, 2))
    return np.concatenate(rows).astype(np.float32)


class FaceDetector:
    """Finds faces in frames of any size.

    A frame is looked at whole and, with `tiles`, also in overlapping squares of a half and a quarter of its
    longer side, so that faces down to about a twentieth of the frame's height are found.
    """

    def __init__(self, network: BlazeFace, device: torch.device | str = "cpu") -> None:
        self.network = network.to(device).eval()
        self.anchors = anchor_centres()

    def detect(self, frame: np.ndarray, tiles: bool = False) -> list[Detection]:
        """Faces in one frame (H,W,3) uint8 RGB of heads that are roughly upright, the largest first."""
        regions = [_whole(frame)]
        if tiles:
            regions += _tile_regions(*frame.shape[:2])
        boxes, logits = self._run(np.stack([_cut_square(frame, region) for region in regions]))
        rows = [self._decode(boxes[i], logits[i], region) for i, region in enumerate(regions)]
        return _by_size(_merge_overlapping(np.concatenate(rows)))

    def detect_turned(self, frame: np.ndarray) -> list[Detection]:
        """Faces of heads that lie on a side or upside down, in one frame as for `detect`."""
        left, top, side = _whole(frame)
        square = _cut_square(frame, (left, top, side))
        faces = []
        for turns, found in enumerate(self.detect_each(_quarter_turns(square)[1:]), 1):
            sure = [face for face in found if face.score >= TURNED_SCORE]
            faces += [_turned_back(face, turns, side / INPUT_PX, np.array([left, top])) for face in sure]
        return _by_size(faces)

    def detect_each(self, squares: list[np.ndarray]) -> list[list[Detection]]:
        """For each of some pictures (128,128,3) uint8 RGB its faces, in its own pixels."""
        boxes, logits = self._run(np.stack(squares))
        rows = (self._decode(b, s, (0, 0, INPUT_PX)) for b, s in zip(boxes, logits, strict=True))
        return [_by_size(_merge_overlapping(found)) for found in rows]

    def _run(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        device = next(self.network.parameters()).device
        images = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        with torch.inference_mode():
            boxes, logits = self.network(images)
        return boxes.float().cpu().numpy(), logits.float().cpu().numpy()

    def _decode(
        self, boxes: np.ndarray, logits: np.ndarray, region: tuple[float, float, float]
    ) -> np.ndarray:
        """Candidates above the threshold as rows (score, x0, y0, x1, y1, 6 x (x, y)) in frame pixels."""
        scores = 1.0 / (1.0 + np.exp(-np.clip(logits, -80, 80)))
        keep = scores > SCORE_THRESHOLD
        values, anchors = boxes[keep], self.anchors[keep]
        left, top, side = region
        scale, origin = side / INPUT_PX, np.array([left, top], np.float32)
        centre = (values[:, 0:2] + anchors) * scale + origin
        half = values[:, 2:4] * scale / 2
        points = (values[:, 4:].reshape(-1, 6, 2) + anchors[:, None]) * scale + origin
        return np.concatenate([scores[keep, None], centre - half, centre + half, points.reshape(-1, 12)], 1)


def _by_size(faces: list[Detection]) -> list[Detection]:
    return sorted(faces, key=lambda face: -face.size_px)


def _whole(frame: np.ndarray) -> tuple[float, float, float]:
    """The square (left, top, side) around a frame."""
    height, width = frame.shape[:2]
    side = max(height, width)
    return (width - side) / 2, (height - side) / 2, side


def _quarter_turns(square: np.ndarray) -> list[np.ndarray]:
    """A square picture, and it turned anticlockwise once, twice, three times."""
    return [np.ascontiguousarray(np.rot90(square, turns)) for turns in range(4)]


def _turned_back(face: Detection, turns: int, scale: float, origin: np.ndarray) -> Detection:
    """A face found in a square that was turned anticlockwise, in the frame that it was cut from."""
    corners = np.concatenate([face.box.reshape(2, 2), face.key_points])
    for _ in range(turns):
        # The turn took (x, y) to (y, side - x).
        corners = np.stack([INPUT_PX - corners[:, 1], corners[:, 0]], 1)
    corners = corners * scale + origin
    box = np.concatenate([corners[:2].min(0), corners[:2].max(0)])
    return Detection(box, corners[2:], face.score)


def _tile_regions(height: int, width: int) -> list[tuple[float, float, float]]:
    side = max(height, width) / 2
    lefts = np.linspace(0, width - side, 3) if width >= height else [width / 2 - side / 2] * 3
    tops = np.linspace(0, height - side, 3) if height > width else [height / 2 - side / 2] * 3
    centres = [(float(x), float(y), side) for x, y in zip(lefts, tops, strict=True)]
    return centres + [
        (width * fx - side / 4, height * fy - side / 4, side / 2)
        for fx in (0.25, 0.5, 0.75)
        for fy in (0.25, 0.5, 0.75)
    ]


def _cut_square(frame: np.ndarray, region: tuple[float, float, float]) -> np.ndarray:
    left, top, side = region
    scale = INPUT_PX / side
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    # Plain bilinear sampling, also when shrinking: the network was trained and is read by MediaPipe so.
    return cv2.warpAffine(frame, matrix, (INPUT_PX, INPUT_PX), flags=cv2.INTER_LINEAR)


def _merge_overlapping(rows: np.ndarray) -> list[Detection]:
    """Weighted non-maximum suppression: overlapping candidates are averaged by their scores."""
    faces = []
    rows = rows[np.argsort(-rows[:, 0])]
    while len(rows):
        overlap = _intersection_over_union(rows[0, 1:5], rows[:, 1:5])
        group = rows[overlap > OVERLAP_THRESHOLD]
        weights = group[:, :1] / group[:, 0].sum()
        mean = (group[:, 1:] * weights).sum(0)
        faces.append(Detection(mean[:4], mean[4:].reshape(6, 2), float(rows[0, 0])))
        rows = rows[overlap <= OVERLAP_THRESHOLD]
    return faces


def _intersection_over_union(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    inter = np.clip(high - low, 0, None).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    own = (box[2:] - box[:2]).prod()
    # A box always overlaps itself, also one of no area.
    return np.where((boxes == box).all(1), 1.0, inter / np.maximum(own + areas - inter, 1e-6))
