"""Convert MediaPipe's face networks, given as plain graphs, to this project's modules.

    python -m mytalk_training.convert.face GRAPHS OUT

GRAPHS holds face_detection_short_range and face_landmarks_v2 as .json (operations in order) and .safetensors
(constants by tensor id). Both graphs list their convolutions in the order in which the modules apply them, so
weights are handed over in that order and every shape is checked. The mesh's body is written as ONNX too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.face.detector import BlazeFace
from mytalk_core.face.mesh import FaceMesh
from mytalk_core.face.mesh_opencv import BODY

from .mesh_onnx import body_graph


def graph_weights(graph: Path) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], list[torch.Tensor]]:
    """Convolutions (weight OIHW, bias) and PReLU slopes of a graph, in order of use."""
    operations = json.loads(graph.with_suffix(".json").read_text())["ops"]
    constants = load_file(graph.with_suffix(".safetensors"))
    convolutions, slopes = [], []
    for operation in operations:
        parts = [constants[str(i)].float() for i in operation["inputs"] if str(i) in constants]
        if operation["op"] == "CONV_2D":
            convolutions.append((parts[0].permute(0, 3, 1, 2), parts[1]))
        elif operation["op"] == "DEPTHWISE_CONV_2D":
            convolutions.append((parts[0].permute(3, 0, 1, 2), parts[1]))
        elif operation["op"] == "PRELU":
            slopes.append(parts[0].flatten())
    return convolutions, slopes


def fill(module: nn.Module, order: Sequence[nn.Module], graph: Path) -> None:
    """Give the convolutions and slopes of `graph` to `order`, the module's layers in order of use."""
    convolutions, slopes = graph_weights(graph)
    for layer in order:
        if isinstance(layer, nn.Conv2d):
            weight, bias = convolutions.pop(0)
            if weight.shape != layer.weight.shape:
                raise ValueError(f"{graph.name}: {tuple(weight.shape)} does not fit {layer}")
            layer.weight.data, layer.get_parameter("bias").data = weight.contiguous(), bias.contiguous()
        elif isinstance(layer, nn.PReLU):
            layer.weight.data = slopes.pop(0).contiguous()
    if convolutions or slopes:
        raise ValueError(f"{graph.name}: {len(convolutions)} convolutions and {len(slopes)} slopes left over")


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    parser.add_argument("graphs", type=Path, help="folder of the two graphs, each .json and .safetensors")
    parser.add_argument("out", type=Path, help="folder for detector.safetensors and mesh.safetensors")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    detector = BlazeFace()
    trunk = [m for m in detector.modules() if isinstance(m, nn.Conv2d)]
    fill(detector, trunk, args.graphs / "face_detection_short_range")
    save_file({k: v.half() for k, v in detector.state_dict().items()}, args.out / "detector.safetensors")

    mesh = FaceMesh()
    leaves = [m for m in mesh.body.modules() if isinstance(m, (nn.Conv2d, nn.PReLU))]
    # The graph's heads in order: the tongue flag (unused here), the face flag, the points.
    tongue = nn.Conv2d(128, 1, 2)
    fill(mesh, [*leaves, tongue, mesh.presence, mesh.points], args.graphs / "face_landmarks_v2")
    halves = {key: value.half() for key, value in mesh.state_dict().items()}
    save_file(halves, args.out / "mesh.safetensors")
    mesh.load_state_dict(halves)
    (args.out / BODY.name).write_bytes(body_graph(mesh))


if __name__ == "__main__":
    main()
