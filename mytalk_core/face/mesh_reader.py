"""Runs the mesh on regions of frames: by OpenCV on the CPU, as the plain module on every other device."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from .mesh import INPUT_PX, FaceMesh, region_matrix
from .mesh_opencv import trusted_opencv_mesh


class FaceMeshReader:
    """Runs the mesh on regions of frames, in batches."""

    def __init__(self, network: FaceMesh, device: torch.device | str = "cpu") -> None:
        is_cpu = torch.device(device).type == "cpu"
        # What CPUs read faster costs cuDNN more than a second for every number of pictures it has not met.
        self.layout = torch.channels_last if is_cpu else torch.contiguous_format
        # torch's own types leave this argument out.
        self.network = network.to(device, memory_format=self.layout).eval()  # type: ignore[call-overload]
        self.opencv = trusted_opencv_mesh(self.network) if is_cpu else None

    def read(self, frames: list[np.ndarray], regions: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Landmarks of one region in each frame.

        frames: B arrays (H,W,3) uint8 RGB; regions: B rows (centre x, centre y, side, angle).
        Returns landmarks (B,478,3) float32 in frame pixels, z in the same unit, and presence (B,) 0..1.
        """
        matrices = [region_matrix(region) for region in regions]
        crops = np.stack([cut_region(f, m) for f, m in zip(frames, matrices, strict=True)])
        with torch.inference_mode():
            device = next(self.network.parameters()).device
            opencv = self.opencv if device.type == "cpu" else None
            outputs, logits = opencv(crops) if opencv else self._run_network(crops, device)
            points, presence = outputs.float().cpu().numpy(), torch.sigmoid(logits.float()).cpu().numpy()
        landmarks = np.empty_like(points)
        for i, (matrix, region) in enumerate(zip(matrices, regions, strict=True)):
            inverse = cv2.invertAffineTransform(matrix)
            landmarks[i, :, :2] = points[i, :, :2] @ inverse[:, :2].T + inverse[:, 2]
            landmarks[i, :, 2] = points[i, :, 2] * (region[2] / INPUT_PX)
        return landmarks, presence

    def _run_network(self, crops: np.ndarray, device: torch.device) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(crops).to(device).permute(0, 3, 1, 2).float().div_(255.0)
        return self.network(images.contiguous(memory_format=self.layout))


def cut_region(frame: np.ndarray, matrix: np.ndarray, size: int = INPUT_PX) -> np.ndarray:
    """A frame (H,W,3) seen through a frame-to-crop affine (2,3): uint8 (size,size,3), black outside."""
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [size, 0], [0, size], [size, size]]) @ inverse[:, :2].T + inverse[:, 2]
    height, width = frame.shape[:2]
    # Bilinear samples reach one pixel further.
    left, top = np.clip(np.floor(corners.min(0)) - 1, 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)) + 2, 0, (width, height)).astype(int)
    if right <= left or bottom <= top:
        return np.zeros((size, size, 3), np.uint8)
    # Four bytes a pixel are sampled in half the time of three, conversions included.
    part = cv2.cvtColor(frame[top:bottom, left:right], cv2.COLOR_RGB2RGBA)
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ (left, top)
    crop = cv2.warpAffine(part, shifted, (size, size), flags=cv2.INTER_LINEAR)
    return cv2.cvtColor(crop, cv2.COLOR_RGBA2RGB)
