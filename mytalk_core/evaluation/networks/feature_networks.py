"""TorchScript files, in which some networks of metrics are published: FVD's video network is run from one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ...errors import WeightsError

VIDEO_PX, VIDEO_FRAMES = 224, 16


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
