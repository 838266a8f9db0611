"""SyncNet v2 (Chung & Zisserman 2016), whose distance and confidence papers print; weights from outside.

The layers are those of the public model, under its names, so its state dict loads as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from ...checkpoint.pretrained import PretrainedModel
from ...expert.scorer import SyncFigures
from ...face.track import FaceTrack
from ...media.clip import Clip
from .mfcc import mfcc

RATE_HZ = 25
FRAMES, CEPSTRA = 5, 20  # what one embedding sees: 0.2 s
INPUT_PX = 224
MAX_SHIFT = 15
BATCH = 16
# The public pipeline's crop around the detected face's box, in halves of its longer side.
SIDE, BELOW = 1.4, 1.8


@dataclass(frozen=True)
class SyncNetConfig:
    """Sizes of the network.

    width: channels of the sound's first layer (the public model's 64), the others in proportion; outputs:
    of both heads.
    """

    width: int = 64
    outputs: int = 1024


class SyncNet(PretrainedModel):
    """Sound (B,1,13,20) and lips (B,3,5,224,224) -> embeddings (B,E): 13,631,616 parameters."""

    config_class = SyncNetConfig

    def __init__(self, config: SyncNetConfig):
        super().__init__()
        self.config = config
        w = config.width
        self.netcnnaud = nn.Sequential(
            *_convolution(nn.Conv2d, 1, w, 3, padding=1),
            nn.MaxPool2d(1),
            *_convolution(nn.Conv2d, w, 3 * w, 3, padding=1),
            nn.MaxPool2d(3, (1, 2)),
            *_convolution(nn.Conv2d, 3 * w, 6 * w, 3, padding=1),
            *_convolution(nn.Conv2d, 6 * w, 4 * w, 3, padding=1),
            *_convolution(nn.Conv2d, 4 * w, 4 * w, 3, padding=1),
            nn.MaxPool2d(3, 2),
            *_convolution(nn.Conv2d, 4 * w, 8 * w, (5, 4)),
        )
        first = w * 3 // 2
        self.netcnnlip = nn.Sequential(
            *_convolution(nn.Conv3d, 3, first, (5, 7, 7), (1, 2, 2)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_convolution(nn.Conv3d, first, 4 * w, (1, 5, 5), (1, 2, 2), (0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1)),
            *_convolution(nn.Conv3d, 4 * w, 4 * w, (1, 3, 3), padding=(0, 1, 1)),
            *_convolution(nn.Conv3d, 4 * w, 4 * w, (1, 3, 3), padding=(0, 1, 1)),
            *_convolution(nn.Conv3d, 4 * w, 4 * w, (1, 3, 3), padding=(0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), (1, 2, 2)),
            *_convolution(nn.Conv3d, 4 * w, 8 * w, (1, 6, 6)),
        )
        self.netfcaud, self.netfclip = (_head(8 * w, config.outputs) for _ in range(2))

    def embed_speech(self, cepstra: Tensor) -> Tensor:
        """Cepstra (B,1,13,20) -> (B,E)."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))

    def embed_lips(self, frames: Tensor) -> Tensor:
        """Face crops (B,3,5,224,224), levels 0..255 in the order blue, green, red -> (B,E)."""
        return self.netfclip(self.netcnnlip(frames).flatten(1))

    @torch.inference_mode()
    def score(self, clip: Clip, track: FaceTrack, mono_16k: np.ndarray) -> SyncFigures | None:
        """Distance and confidence as the public `run_syncnet` prints them; None if shorter than 1.5 s.

        The video is read at 25 Hz, nearest frames; the face's box is the landmarks'.
        """
        seconds = min(clip.duration_s, len(mono_16k) / 16_000)
        windows = int(seconds * RATE_HZ) - FRAMES
        if windows <= 2 * MAX_SHIFT:
            return None
        device = next(self.parameters()).device
        lips = []
        for crops in _windows(clip, track, windows):
            lips.append(self.embed_lips(torch.from_numpy(crops).to(device).float()).cpu())
        sound = mfcc(mono_16k)
        speech = []
        for start in range(0, windows, BATCH):
            rows = range(start, min(start + BATCH, windows))
            # Four cepstra a video frame.
            parts = np.stack([sound[None, :, 4 * i : 4 * i + CEPSTRA] for i in rows])
            speech.append(self.embed_speech(torch.from_numpy(parts).to(device)).cpu())
        return shifted_distance(torch.cat(lips), torch.cat(speech))


def shifted_distance(lips: Tensor, speech: Tensor) -> SyncFigures:
    """Figures of embeddings (F,E), frame by frame: the mean Euclidean distance at the best of all shifts, and
    how far the median shift's lies above it. Beyond the ends speech counts as zeros, as in the original."""
    padded = nn.functional.pad(speech, (0, 0, MAX_SHIFT, MAX_SHIFT))
    means = torch.stack(
        [
            nn.functional.pairwise_distance(lips, padded[shift : shift + len(lips)]).mean()
            for shift in range(2 * MAX_SHIFT + 1)
        ]
    )
    best = int(means.argmin())
    confidence = (means.median() - means[best]).item()
    return SyncFigures(means[best].item(), confidence, abs(MAX_SHIFT - best) * 1000 / RATE_HZ)


def _windows(clip: Clip, track: FaceTrack, count: int) -> Iterator[np.ndarray]:
    """Batches (B,3,5,224,224) uint8 of the first `count` windows of five frames at 25 Hz."""
    times = np.arange(count + FRAMES - 1) / RATE_HZ
    numbers = np.searchsorted(clip.times_s, times - 0.5 / float(clip.fps)).clip(0, len(clip) - 1)
    boxes = _boxes(track, times)
    held: list[np.ndarray] = []
    batch: list[np.ndarray] = []
    for position, picture in enumerate(clip.pictures(numbers)):
        held.append(_crop(picture.rgb, boxes[position]))
        if len(held) < FRAMES:
            continue
        batch.append(np.stack(held, axis=1))
        del held[0]
        if len(batch) == BATCH or position == len(times) - 1:
            yield np.stack(batch)
            batch = []


def _boxes(track: FaceTrack, times_s: np.ndarray) -> np.ndarray:
    """Centre x, y and half of the longer side (F,3) px of the face's box, medians over 13 frames."""
    landmarks = track.at(times_s).landmarks[..., :2]
    low, high = landmarks.min(1), landmarks.max(1)
    boxes = np.column_stack([(low + high) / 2, (high - low).max(1) / 2])
    reach = 6
    padded = np.pad(boxes, ((reach, reach), (0, 0)), mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    return np.median(around, axis=-1)


def _crop(rgb: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Face uint8 (3,224,224), blue first: 1.4 half boxes to each side, one above and 1.8 below the centre."""
    x, y, half = box
    scale = INPUT_PX / (2 * SIDE * half)
    top = y + half * (BELOW - SIDE) - SIDE * half
    matrix = np.array([[scale, 0, -scale * (x - SIDE * half)], [0, scale, -scale * top]])
    # Linear, as the original resizes; what lies outside the frame is its gray.
    crop = cv2.warpAffine(rgb, matrix, (INPUT_PX, INPUT_PX), flags=cv2.INTER_LINEAR, borderValue=(110,) * 3)
    return crop[..., ::-1].transpose(2, 0, 1)


def _convolution(kind, inputs: int, outputs: int, kernel, stride=1, padding=0) -> list[nn.Module]:
    normalise = nn.BatchNorm2d if kind is nn.Conv2d else nn.BatchNorm3d
    return [kind(inputs, outputs, kernel, stride, padding), normalise(outputs), nn.ReLU()]


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, outputs))
