"""The mesh's body on OpenCV's engine, which fuses convolution, sum and PReLU.

On one CPU thread it takes 0.4 of PyTorch's time with OpenCV 5 and 0.7 with OpenCV 4.
"""

from __future__ import annotations

import warnings
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .mesh import INPUT_PX, POINTS, Bottleneck, Downsample, FaceMesh
from .onnx_graph import OnnxGraph

HALF_PX = INPUT_PX // 2
FEATURES = (1, 128, 2, 2)
# The engine's points may differ this much from the module's; rounding gives 0.001.
TOLERANCE_PX = 0.02


class OpenCVFaceMesh:
    """`FaceMesh` on the CPU, image by image: one fits the cache, a batch does not. One call at a time."""

    def __init__(self, network: FaceMesh) -> None:
        self._engine = cv2.dnn.readNetFromONNX(np.frombuffer(body_graph(network), np.uint8))
        self._planes = np.empty((1, 12, HALF_PX, HALF_PX), np.float32)
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
            self._planes.reshape(square.shape)[:] = np.ascontiguousarray(square)
            self._engine.setInput(self._planes)
            features[i] = self._engine.forward()[0]
        outputs = F.linear(torch.from_numpy(features).flatten(1), self._head_weight, self._head_bias)
        return outputs[:, :-1].reshape(-1, POINTS, 3), outputs[:, -1]


def trusted_opencv_mesh(network: FaceMesh) -> OpenCVFaceMesh | None:
    """The network on OpenCV's engine; None, with a warning, if this OpenCV build gives other points."""
    crop = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3), np.uint8).repeat(32, 1).repeat(32, 2)
    try:
        mesh = OpenCVFaceMesh(network)
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


def body_graph(network: FaceMesh) -> bytes:
    """`FaceMesh.body` as ONNX: planes (1,12,128,128) 0..255 -> features (1,128,2,2)."""
    graph = OnnxGraph((1, 12, HALF_PX, HALF_PX))
    layers: list[Any] = [*network.body]
    stem, act, *blocks = layers
    weight, bias = (_array(parameter) for parameter in (_stem_on_planes(stem), stem.bias))
    x = graph.prelu(graph.conv(graph.input, weight, bias, padding=(0, 1)), _array(act.weight))
    for block in blocks:
        x = _block(graph, x, block)
    return graph.model(x, FEATURES)


def _stem_on_planes(stem: nn.Conv2d) -> Tensor:
    """The 3x3 stride-2 kernel on 3 colours in 0..1 as a 2x2 kernel on 12 planes in 0..255.

    The engine rounds channels up to 8: three colours would cost it as much as eight.
    """
    taps = torch.zeros(16, 3, 4, 4)
    taps[:, :, :3, :3] = stem.weight.detach() / 255.0
    # (out, colour, tap y, row, tap x, column) -> (out, row, column, colour, tap y, tap x)
    return taps.view(16, 3, 2, 2, 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(16, 12, 2, 2)


def _block(graph: OnnxGraph, x: str, block: Bottleneck | Downsample) -> str:
    channels, half = block.expand.weight.shape[:2]
    stride = block.reduce.stride[0]
    inner = graph.conv(x, _array(block.reduce.weight), _array(block.reduce.get_parameter("bias")), stride)
    inner = graph.prelu(inner, _array(block.act_inner.weight))
    inner = graph.conv(
        inner,
        _array(block.depthwise.weight),
        _array(block.depthwise.get_parameter("bias")),
        padding=(1, 1),
        groups=half,
    )
    shortcut = graph.max_pool(x) if stride == 2 else x
    weight, bias = _array(block.expand.weight), _array(block.expand.get_parameter("bias"))
    if isinstance(block, Downsample) and block.extra:
        # Zero padding of channels would be a pass of its own; beside the inner channels the shortcut goes
        # through the same convolution, with ones on the diagonal.
        identity = np.eye(channels, channels - block.extra, dtype=np.float32)[:, :, None, None]
        total = graph.conv(graph.concat(shortcut, inner), np.concatenate([identity, weight], 1), bias)
    else:
        total = graph.add(shortcut, graph.conv(inner, weight, bias))
    return graph.prelu(total, _array(block.act.weight))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().contiguous().numpy()
