"""The mesh's body as an ONNX file for OpenCV's engine, which fuses convolution, sum and PReLU."""

from __future__ import annotations

from typing import Any

import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mytalk_core.face.mesh import Bottleneck, Downsample, FaceMesh
from mytalk_core.face.mesh_opencv import FEATURES, PLANES

IR_VERSION, OPERATOR_SET = 8, 13


def body_graph(network: FaceMesh) -> bytes:
    """`FaceMesh.body` as ONNX: planes (1,12,128,128) 0..255 -> features (1,128,2,2), float32."""
    graph = _Graph()
    layers: list[Any] = [*network.body]
    stem, act, *blocks = layers
    x = graph.prelu(graph.conv("images", _stem_on_planes(stem), stem.bias, pads=[0, 0, 1, 1]), act)
    for block in blocks:
        x = _block(graph, x, block)
    planes, features = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("images", PLANES), (x, FEATURES))
    )
    made = helper.make_graph(graph.nodes, "network", [planes], [features], graph.weights)
    opset = helper.make_opsetid("", OPERATOR_SET)
    return helper.make_model(made, ir_version=IR_VERSION, opset_imports=[opset]).SerializeToString()


class _Graph:
    """Operators added one after another; each method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, operator: str, inputs: list[str], **attributes: Any) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def conv(self, x: str, weight: Tensor, bias: Tensor, **attributes: int | list[int]) -> str:
        """weight (out,in/groups,k,k), bias (out,); attributes that are not given are ONNX's own."""
        inputs = [x, self._weight(weight), self._weight(bias)]
        # OpenCV asks for the kernel's size, which ONNX would read off the weight.
        return self.add("Conv", inputs, kernel_shape=[*weight.shape[2:]], **attributes)

    def prelu(self, x: str, act: nn.PReLU) -> str:
        return self.add("PRelu", [x, self._weight(act.weight.reshape(-1, 1, 1))])

    def _weight(self, tensor: Tensor) -> str:
        name = f"w{len(self.weights)}"
        array = tensor.detach().float().contiguous().numpy()
        self.weights.append(numpy_helper.from_array(array, name))
        return name


def _stem_on_planes(stem: nn.Conv2d) -> Tensor:
    """The 3x3 stride-2 kernel on 3 colours in 0..1 as a 2x2 kernel on 12 planes in 0..255.

    The engine rounds channels up to 8: three colours would cost it as much as eight.
    """
    taps = torch.zeros(16, 3, 4, 4)
    taps[:, :, :3, :3] = stem.weight.detach() / 255.0
    # (out, colour, tap y, row, tap x, column) -> (out, row, column, colour, tap y, tap x)
    return taps.view(16, 3, 2, 2, 2, 2).permute(0, 3, 5, 1, 2, 4).reshape(16, 12, 2, 2)


def _block(graph: _Graph, x: str, block: Bottleneck | Downsample) -> str:
    reduce, depthwise, expand = (
        (layer.weight, layer.get_parameter("bias")) for layer in (block.reduce, block.depthwise, block.expand)
    )
    inner = graph.prelu(graph.conv(x, *reduce, strides=[*block.reduce.stride]), block.act_inner)
    inner = graph.conv(inner, *depthwise, pads=[1, 1, 1, 1], group=block.depthwise.groups)
    if isinstance(block, Bottleneck):
        total = graph.add("Add", [x, graph.conv(inner, *expand)])
    else:
        shortcut = graph.add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
        if block.extra:
            # Zero padding of channels would be a pass of its own; beside the inner channels the shortcut goes
            # through the same convolution, with ones on the diagonal.
            weight, bias = expand
            identity = torch.eye(len(weight), len(weight) - block.extra)[:, :, None, None]
            both = graph.add("Concat", [shortcut, inner], axis=1)
            total = graph.conv(both, torch.cat([identity, weight], 1), bias)
        else:
            total = graph.add("Add", [shortcut, graph.conv(inner, *expand)])
    return graph.prelu(total, block.act)
