"""Networks that FID and FVD read features with, as the TorchScript files they are published in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import WeightsError

INCEPTION_PX = 299
VIDEO_PX, VIDEO_FRAMES = 224, 16


@dataclass(frozen=True)
class InceptionFeatures:
    """Inception v3 as FID was published with: (B,3,299,299) about [-1,1] -> (B,2048) of the last pooling."""

    network: torch.jit.ScriptModule
    device: torch.device

    @torch.inference_mode()
    def __call__(self, pictures: np.ndarray) -> np.ndarray:
        """Features (B,2048) float32 of pictures uint8 (B,S,S,3)."""
        x = torch.from_numpy(np.ascontiguousarray(pictures)).to(self.device).movedim(-1, 1).float()
        # The published network sees 0..255 as (x - 128) / 128.
        return self.network((enlarge(x, INCEPTION_PX) - 128) / 128).flatten(1).float().cpu().numpy()


@dataclass(frozen=True)
class VideoFeatures:
    """An I3D-like network for FVD: (B,3,16,224,224) in [-1,1] -> (B,D)."""

    network: torch.jit.ScriptModule
    device: torch.device

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """Features (1,D) of consecutive frames uint8 (16,S,S,3)."""
        x = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device).movedim(-1, 1).float()
        x = F.interpolate(x, (VIDEO_PX, VIDEO_PX), mode="bilinear", antialias=True) / 127.5 - 1
        return self.network(x.movedim(1, 0)[None]).flatten(1).float().cpu().numpy()


def enlarge(pictures: Tensor, size: int) -> Tensor:
    """Bilinear, (B,C,H,W) -> (B,C,size,size), pixel i read at i * H / size, as FID was published."""
    height, width = pictures.shape[2:]
    theta = torch.eye(2, 3, device=pictures.device)
    # Corners instead of centres: half a source pixel less half a target pixel further left and up.
    theta[0, 2], theta[1, 2] = 1 / width - 1 / size, 1 / height - 1 / size
    theta = theta.expand(len(pictures), 2, 3)
    grid = F.affine_grid(theta, [len(pictures), 3, size, size], align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def load_script(path: Path, device: torch.device | str) -> torch.jit.ScriptModule:
    """A TorchScript file on `device`, in evaluation mode. It runs in TorchScript's own interpreter: unlike a
    pickle it reaches neither files nor Python.

    Raises WeightsError if it is none.
    """
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path} is not a readable TorchScript file ({line}); get it again") from error
