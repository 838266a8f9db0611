"""A rigged hand, posed, turned and lit at random, with a forearm: pictures of hands as many as are wanted.

Read from a glTF binary whose skin has WebXR's 25 joints of a hand, each in the world's coordinates, such as
`dist/profiles/generic-hand/right.glb` of the package `@webxr-input-profiles/assets` (npm, MIT licence).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SIDE, FILLED = 160, 0.42  # of a picture, pixels; how far a hand reaches from its middle, of that
JOINTS, WRIST, KNUCKLE = 25, 0, 10  # of them all, and two on a line along the hand
THUMB, FINGERS = range(1, 5), [range(first, first + 5) for first in (5, 10, 15, 20)]
# By how much joints bend, from the palm to the tip, radians, where a hand is bent by 1.
THUMB_BEND, FINGER_BEND = (0.15, 0.5, 0.6, 0.0), (0.0, 1.2, 1.4, 0.9, 0.0)
# How bent a hand is by its gesture, and how often it is made.
GESTURES = {"flat": (0.1, 0.35), "fist": (0.8, 0.25), "pointing": (0.9, 0.15), "loose": (0.5, 0.25)}
# The forearm: rings and corners of each, metres from one to the next, half its width and height at the wrist
# and by how much they grow.
RINGS, CORNERS, APART = 10, 14, 0.03
ARM, GROWS = (0.026, 0.019), (0.012, 0.014)
FORMATS = {5121: np.uint8, 5123: np.uint16, 5126: np.float32}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True)
class DrawnHand:
    """A hand as it is laid over a picture.

    shade: float32 (160, 160), how bright it and a rim are, 1 in the middle; alpha: uint8 (160, 160), 255
    on it; arm: bool (160, 160), where it is the forearm.
    """

    shade: np.ndarray
    alpha: np.ndarray
    arm: np.ndarray

    @property
    def own(self) -> np.ndarray:
        """The pixels (x, y) of the hand without the forearm, int (P, 2)."""
        return np.argwhere((self.alpha > 0) & ~self.arm)[:, ::-1]


@dataclass(frozen=True)
class HandMesh:
    """A hand that can be bent at its joints and drawn.

    points, normals: float (V, 3), metres; faces: int (F, 3); skin: float (V, 25), the joints' weights;
    joints: float (25, 4, 4), where they are at rest; inverse: float (25, 4, 4), from there to each
    joint's own coordinates.
    """

    points: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    skin: np.ndarray
    joints: np.ndarray
    inverse: np.ndarray

    @staticmethod
    def open(path: Path) -> HandMesh:
        """Read a .glb. Raises ValueError where it is none, or has other joints."""
        content = path.read_bytes()
        if content[:4] != b"glTF":
            raise ValueError(f"{path}: a glTF binary (.glb) was required")
        length = struct.unpack_from("<I", content, 12)[0]
        scene, binary = json.loads(content[20 : 20 + length]), content[28 + length :]
        joints = scene["skins"][0]["joints"]
        if len(joints) != JOINTS:
            raise ValueError(f"{path}: a hand of {JOINTS} joints was required, this has {len(joints)}")

        def read(number: int) -> np.ndarray:
            accessor = scene["accessors"][number]
            view, width = scene["bufferViews"][accessor["bufferView"]], WIDTHS[accessor["type"]]
            start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
            kind, count = FORMATS[accessor["componentType"]], accessor["count"]
            return np.frombuffer(binary, kind, count * width, start).reshape(count, width)

        surface = scene["meshes"][0]["primitives"][0]
        names = surface["attributes"]
        numbers, weights = read(names["JOINTS_0"]), read(names["WEIGHTS_0"]).astype(float)
        skin = np.zeros((len(numbers), JOINTS))
        np.add.at(skin, (np.arange(len(numbers))[:, None], numbers), weights)
        inverse = read(scene["skins"][0]["inverseBindMatrices"]).reshape(-1, 4, 4).transpose(0, 2, 1)
        return HandMesh(
            read(names["POSITION"]).astype(float),
            read(names["NORMAL"]).astype(float),
            read(surface["indices"]).reshape(-1, 3).astype(int),
            skin / skin.sum(1, keepdims=True),
            np.stack([_placed(scene["nodes"][number]) for number in joints]),
            inverse.astype(float),
        )

    def drawn(self, rng: np.random.Generator) -> DrawnHand:
        """One hand, left or right, seen from anywhere in some light."""
        points, normals = self._posed(rng)
        (rings, outwards), tube = self._forearm(), _tube()
        arm = np.arange(len(self.faces) + len(tube)) >= len(self.faces)
        faces = np.concatenate([self.faces, tube + len(points)])
        middle = points.mean(0)
        turn = _rotation(rng.normal(size=3), rng.uniform(0, np.pi)) @ np.diag([rng.choice([-1, 1]), 1, 1])
        points = (np.concatenate([points, rings]) - middle) @ turn.T
        normals = np.concatenate([normals, outwards]) @ turn.T
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
        size = FILLED * SIDE / np.abs(points[: len(self.points), :2]).max()
        return _shaded(points, normals, faces, arm, size, rng)

    def _posed(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Points and normals (V, 3) of a gesture."""
        gesture = rng.choice([*GESTURES], p=[share for _, share in GESTURES.values()])
        moved = np.zeros((JOINTS, 4, 4))
        moved[WRIST] = self.joints[WRIST] @ self.inverse[WRIST]
        for finger, chain in enumerate((THUMB, *FINGERS)):
            bend = float(np.clip(GESTURES[gesture][0] + rng.normal(0, 0.25), -0.05, 1.1))
            if gesture == "pointing" and finger == 1:
                bend = rng.uniform(0, 0.15)
            bends, base = (THUMB_BEND, 0) if finger == 0 else (FINGER_BEND, 1)
            spread, so_far = rng.normal(0, 0.18 if finger == 0 else 0.12), np.eye(4)
            for place, joint in enumerate(chain):
                across, up, _, at = self.joints[joint][:3].T
                turn = _rotation(across, -bend * bends[place])
                if place == base:
                    turn = _rotation(up, spread) @ turn
                about = np.eye(4)
                about[:3, :3], about[:3, 3] = turn, at - turn @ at
                so_far = so_far @ about
                moved[joint] = so_far @ self.joints[joint] @ self.inverse[joint]
        each = np.einsum("vj,jab->vab", self.skin, moved)
        points = np.einsum("vab,vb->va", each[:, :3, :3], self.points) + each[:, :3, 3]
        return points, np.einsum("vab,vb->va", each[:, :3, :3], self.normals)

    def _forearm(self) -> tuple[np.ndarray, np.ndarray]:
        """Points and normals (RINGS * CORNERS, 3) of a tube from the wrist on."""
        wrist, up = self.joints[WRIST][:3, 3], self.joints[WRIST][:3, 1]
        along = wrist - self.joints[KNUCKLE][:3, 3]
        along /= np.linalg.norm(along)
        across = np.cross(along, up)
        away = np.arange(RINGS)[:, None, None]
        width, height = (
            start + more * np.minimum(away / 6, 1) for start, more in zip(ARM, GROWS, strict=True)
        )
        angle = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)[None, :, None]
        round_it = np.cos(angle) * width * across + np.sin(angle) * height * up
        outwards = np.cos(angle) / width * across + np.sin(angle) / height * up
        rings = wrist + along * (away * APART - 0.012) + round_it
        return rings.reshape(-1, 3), outwards.reshape(-1, 3)


def _placed(node: dict[str, Any]) -> np.ndarray:
    """A node's own coordinates to its parent's, float (4, 4)."""
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= node.get("scale", (1, 1, 1))
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def _rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    """By an angle in radians, float (3, 3)."""
    return cv2.Rodrigues(axis / np.linalg.norm(axis) * angle)[0]


def _tube() -> np.ndarray:
    """Triangles between the rings of a forearm, int (T, 3)."""
    ring, corner = np.mgrid[: RINGS - 1, :CORNERS].reshape(2, -1)
    here, beside = ring * CORNERS + corner, ring * CORNERS + (corner + 1) % CORNERS
    first, second = (here, beside, here + CORNERS), (beside, beside + CORNERS, here + CORNERS)
    return np.concatenate([np.stack(first, 1), np.stack(second, 1)])


def _shaded(
    points: np.ndarray,
    normals: np.ndarray,
    faces: np.ndarray,
    arm: np.ndarray,
    size: float,
    rng: np.random.Generator,
) -> DrawnHand:
    """Triangles (F, 3) of points (V, 3), the farthest drawn first, so many pixels a metre; arm: bool (F,)."""
    light, ambient = rng.normal(size=3), rng.uniform(0.45, 0.8)
    light[2] = abs(light[2]) + 0.6
    lit = ambient + (1 - ambient) * 1.3 * np.clip(normals @ light / np.linalg.norm(light), 0, 1)
    lit *= 0.75 + 0.25 * np.clip(normals[:, 2], 0, 1)  # Darker where it turns away.
    depth = points[faces, 2].mean(1)
    near = (depth - depth.min()) / (np.ptp(depth) + 1e-6)
    corners = np.round((points[:, :2] * size + SIDE / 2)[faces] * 16).astype(np.int32)
    shade, height = np.zeros((2, SIDE, SIDE), np.float32)
    alpha, on_arm = np.zeros((2, SIDE, SIDE), np.uint8)
    for face in np.argsort(depth):
        layers = (
            (shade, lit[faces[face]].mean()),
            (height, near[face]),
            (alpha, 255),
            (on_arm, int(arm[face])),
        )
        for layer, value in layers:
            cv2.fillConvexPoly(layer, corners[face], float(value), cv2.LINE_8, 4)
    # Where one finger lies over another it casts a dark line.
    over = cv2.dilate(height, np.ones((5, 5))) - height > 0.05
    line = cv2.GaussianBlur((over & (alpha > 0)).astype(np.float32), (0, 0), 1.5)
    shade *= 1 - 0.45 * line * (on_arm == 0)
    # It goes on beyond the edge, which will be soft.
    wider = cv2.blur(np.where(alpha > 0, shade, cv2.dilate(shade, np.ones((7, 7)))), (2, 2))
    return DrawnHand(wider / (np.median(wider[alpha > 0]) + 1e-6), alpha, on_arm > 0)
