"""A convolutional network written as ONNX, the form OpenCV's engine reads, from arrays in memory.

Source: onnx.proto3 of github.com/onnx/onnx, operator set 13, whose field numbers stand here, and protobuf's
wire format.
"""

from __future__ import annotations

import numpy as np

IR_VERSION, OPERATOR_SET = 8, 13
FLOAT32 = 1


class OnnxGraph:
    """Operators added one after another; each method returns the name of its output."""

    def __init__(self, input_shape: tuple[int, ...]) -> None:
        self.input, self._input_shape = "images", input_shape
        self._nodes: list[bytes] = []
        self._weights: list[bytes] = []

    def conv(
        self,
        x: str,
        weight: np.ndarray,
        bias: np.ndarray,
        stride: int = 1,
        padding: tuple[int, int] = (0, 0),
        groups: int = 1,
    ) -> str:
        """Convolution: weight (out,in/groups,k,k), bias (out,); padding: pixels before and behind."""
        before, behind = padding
        return self._add(
            "Conv",
            [x, self._weight(weight), self._weight(bias)],
            kernel_shape=list(weight.shape[2:]),
            strides=[stride, stride],
            pads=[before, before, behind, behind],
            group=groups,
        )

    def prelu(self, x: str, slope: np.ndarray) -> str:
        """x where positive, slope (C,) times x elsewhere."""
        return self._add("PRelu", [x, self._weight(slope.reshape(-1, 1, 1))])

    def max_pool(self, x: str) -> str:
        """The largest of each 2x2 square."""
        return self._add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])

    def add(self, x: str, y: str) -> str:
        """The sum of two of one shape."""
        return self._add("Add", [x, y])

    def concat(self, x: str, y: str) -> str:
        """The channels of x, then those of y."""
        return self._add("Concat", [x, y], axis=1)

    def model(self, output: str, output_shape: tuple[int, ...]) -> bytes:
        """The file's bytes for the network that ends in `output`."""
        graph = b"".join(_bytes(1, node) for node in self._nodes) + _bytes(2, b"network")
        graph += b"".join(_bytes(5, weight) for weight in self._weights)
        graph += _bytes(11, _value(self.input, self._input_shape)) + _bytes(12, _value(output, output_shape))
        return _int(1, IR_VERSION) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _int(2, OPERATOR_SET))

    def _add(self, operator: str, inputs: list[str], **attributes: int | list[int]) -> str:
        output = f"n{len(self._nodes)}"
        node = b"".join(_bytes(1, name.encode()) for name in inputs)
        node += _bytes(2, output.encode()) + _bytes(3, output.encode()) + _bytes(4, operator.encode())
        node += b"".join(_bytes(5, _attribute(name, value)) for name, value in attributes.items())
        self._nodes.append(node)
        return output

    def _weight(self, array: np.ndarray) -> str:
        name = f"w{len(self._weights)}"
        tensor = b"".join(_int(1, size) for size in array.shape) + _int(2, FLOAT32) + _bytes(8, name.encode())
        self._weights.append(tensor + _bytes(9, np.ascontiguousarray(array, "<f4").tobytes()))
        return name


def _attribute(name: str, value: int | list[int]) -> bytes:
    if isinstance(value, int):
        return _bytes(1, name.encode()) + _int(3, value) + _int(20, 2)
    return _bytes(1, name.encode()) + b"".join(_int(8, v) for v in value) + _int(20, 7)


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    sides = b"".join(_bytes(1, _int(1, size)) for size in shape)
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _int(1, FLOAT32) + _bytes(2, sides)))


def _int(field: int, value: int) -> bytes:
    """A field of wire type 0."""
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    """A field of wire type 2: a string or a message."""
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])
