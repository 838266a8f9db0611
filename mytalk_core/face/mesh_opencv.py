"""The mesh's body on OpenCV's engine, which fuses convolution, sum and PReLU.

On one CPU thread it takes 0.4 of PyTorch's time with OpenCV 5 and 0.7 with OpenCV 4.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from threading import Lock

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .mesh import INPUT_PX, POINTS, FaceMesh

# `FaceMesh.body` with its weights as OpenCV reads it; `mytalk_training.convert.mesh_onnx` makes it.
BODY = Path(__file__).parents[1] / "weights" / "face" / "mesh_body.onnx"
HALF_PX = INPUT_PX // 2
PLANES, FEATURES = (1, 12, HALF_PX, HALF_PX), (1, 128, 2, 2)
# The engine's points may differ this much from the module's; rounding gives 0.001.
TOLERANCE_PX = 0.02


class OpenCVFaceMesh:
    """`FaceMesh` on the CPU, image by image: one fits the cache, a batch does not. Calls of
    other threads wait for each other.

    body: an ONNX file of the network's body, planes (1,12,128,128) 0..255 -> features (1,128,2,2).
    Raises FileNotFoundError without it, cv2.error where OpenCV cannot read it.
    """

    def __init__(self, network: FaceMesh, body: Path) -> None:
        # By its bytes: OpenCV opens no file whose path Windows spells with other letters.
        self._engine = cv2.dnn.readNetFromONNX(np.frombuffer(body.read_bytes(), np.uint8))
        self._planes = np.empty(PLANES, np.float32)
        # OpenCV's networks hold what they were given until they are asked for the rest.
        self._lock = Lock()
        # Both heads see the whole of the features: one matrix product for a batch, points then logit.
        heads = (network.points, network.presence)
        self._head_weight = torch.cat([head.weight.detach().contiguous().flatten(1) for head in heads])
        self._head_bias = torch.cat([head.get_parameter("bias").detach() for head in heads])

    @torch.inference_mode()
    def __call__(self, crops: np.ndarray) -> tuple[Tensor, Tensor]:
        """Crops (B,256,256,3) uint8 RGB -> points (B,478,3) and logits (B,) as `FaceMesh` gives them."""
        features = np.empty((len(crops), *FEATURES[1:]), np.float32)
        # (B, y, row, x, column and colour): each second row and column becomes planes of its own.
        squares = crops.reshape(-1, HALF_PX, 2, HALF_PX, 6).transpose(0, 2, 4, 1, 3)
        for i, square in enumerate(squares):
            # Moving bytes and then widening them is quicker than both at once.
            with self._lock:
                self._planes.reshape(square.shape)[:] = np.ascontiguousarray(square)
                self._engine.setInput(self._planes)
                features[i] = self._engine.forward()[0]
        outputs = F.linear(torch.from_numpy(features).flatten(1), self._head_weight, self._head_bias)
        return outputs[:, :-1].reshape(-1, POINTS, 3), outputs[:, -1]


def trusted_opencv_mesh(network: FaceMesh) -> OpenCVFaceMesh | None:
    """The network, with the bundled weights, on OpenCV's engine; None, with a warning, if this OpenCV build
    gives other points."""
    crop = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8).repeat(32, 1).repeat(32, 2)
    try:
        mesh = OpenCVFaceMesh(network, BODY)
        points, _ = mesh(crop)
    except cv2.error as error:
        _distrusted(str(error))
        return None
    with torch.inference_mode():
        expected, _ = network(torch.from_numpy(crop).permute(0, 3, 1, 2) / 255.0)
    # Negated so that NaN is caught too.
    if not (difference := float((points - expected).abs().max())) <= TOLERANCE_PX:
        _distrusted(f"its points are {difference:.3g} px off")
        return None
    return mesh


def _distrusted(reason: str) -> None:
    warnings.warn(
        f"OpenCV {cv2.__version__} cannot run the face mesh ({reason}); PyTorch does, more slowly. "
        "Another opencv-python helps",
        stacklevel=3,
    )
