"""A hand of boxes with the joints that training programs want, as a .glb."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np

CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], np.float32)
SIDES = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6), (0, 2, 6)]
SIDES += [(0, 6, 4), (1, 5, 7), (1, 7, 3)]


def write_hand(path: Path, joints: int = 25) -> None:
    """Five fingers of boxes, each turned by its own joint; all joints look along -z, as the fingers do."""
    at = np.zeros((25, 3), np.float32)
    fingers = [range(1, 5), *(range(first, first + 5) for first in (5, 10, 15, 20))]
    for finger, chain in enumerate(fingers):
        for place, joint in enumerate(chain):
            at[joint] = 0.02 * (finger - 2), 0, -0.03 * (place + 1)
    at = at[:joints]
    box = CORNERS * (0.008, 0.006, 0.014)
    points = (at[:, None] + box).reshape(-1, 3).astype(np.float32)
    normals = np.tile(CORNERS / np.sqrt(3), (joints, 1)).astype(np.float32)
    faces = np.concatenate([np.array(SIDES) + 8 * joint for joint in range(joints)]).astype(np.uint16)
    owner = np.repeat(np.arange(joints), 8)
    numbers = np.pad(owner[:, None], ((0, 0), (0, 3))).astype(np.uint8)
    weights = np.pad(np.ones((len(owner), 1), np.float32), ((0, 0), (0, 3)))
    inverse = np.tile(np.eye(4, dtype=np.float32), (joints, 1, 1))
    inverse[:, :3, 3] = -at
    parts = {
        "POSITION": (points, "VEC3", 5126),
        "NORMAL": (normals, "VEC3", 5126),
        "JOINTS_0": (numbers, "VEC4", 5121),
        "WEIGHTS_0": (weights, "VEC4", 5126),
        "indices": (faces.reshape(-1), "SCALAR", 5123),
        "inverse": (inverse.transpose(0, 2, 1), "MAT4", 5126),
    }
    binary, views, accessors = b"", [], []
    for number, (values, kind, component) in enumerate(parts.values()):
        content = np.ascontiguousarray(values).tobytes()
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(content)})
        count = values.size if kind == "SCALAR" else len(values)
        accessors.append({"bufferView": number, "componentType": component, "count": count, "type": kind})
        binary += content + b"\0" * (-len(content) % 4)
    named = {name: number for number, name in enumerate(parts)}
    surface = {"indices": named.pop("indices"), "attributes": {n: i for n, i in named.items() if n.isupper()}}
    scene = {
        "accessors": accessors,
        "bufferViews": views,
        "meshes": [{"primitives": [surface]}],
        "skins": [{"joints": [*range(joints)], "inverseBindMatrices": named["inverse"]}],
        "nodes": [{"translation": place.tolist()} for place in at],
    }
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    header = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(binary))
    kinds = (text, b"JSON"), (binary, b"BIN\0")
    chunks = (struct.pack("<I4s", len(content), kind) + content for content, kind in kinds)
    path.write_bytes(header + b"".join(chunks))
