"""Write the landmark layouts `mesh478` and `dense669` from the canonical face mesh.

    python -m mytalk_training.convert.layouts face_model_with_iris.obj mytalk_core/face/layouts

`mesh478` is the MediaPipe Face Mesh topology. `dense669` has the paper's counts (Appendix B.1: 669 points,
411 compact and 258 remaining): the 478 points and 191 more at the middle of edges along lips, jaw, eyelids,
brows, irises and the rest of the face's outline.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np

from mytalk_core.arguments import DefaultsHelpFormatter, Parser
from mytalk_core.face.alignment import UNITS

# The frontal face is 160 canonical units wide, with room below the chin for an open mouth.
CANONICAL_PER_MESH_UNIT = 10.4
CENTRE_X, FOREHEAD_Y = UNITS / 2, 24.0

LIPS = [
    "61 146 91 181 84 17 314 405 321 375 291 409 270 269 267 0 37 39 40 185",
    "76 77 90 180 85 16 315 404 320 307 306 408 304 303 302 11 72 73 74 184",
    "62 96 89 179 86 15 316 403 319 325 292 407 272 271 268 12 38 41 42 183",
    "78 95 88 178 87 14 317 402 318 324 308 415 310 311 312 13 82 81 80 191",
]
OVAL = (
    "10 338 297 332 284 251 389 356 454 323 361 288 397 365 379 378 400 377 "
    "152 148 176 149 150 136 172 58 132 93 234 127 162 21 54 103 67 109"
)
JAW = "454 323 361 288 397 365 379 378 400 377 152 148 176 149 150 136 172 58 132 93 234"
EYES = [
    "33 7 163 144 145 153 154 155 133 173 157 158 159 160 161 246",
    "263 249 390 373 374 380 381 382 362 398 384 385 386 387 388 466",
]
BROWS = ["46 53 52 65 55", "70 63 105 66 107", "276 283 282 295 285", "300 293 334 296 336"]
IRISES = ["469 470 471 472", "474 475 476 477"]
NOSE = ["168 6 197 195 5 4 1 19 94 2", "98 97 2 326 327"]
# Points that speech hardly moves: eye corners, nose bridge, forehead, temples.
ANCHORS = "33 133 362 263 168 6 197 195 5 8 9 151 10 127 356 162 389 21 251"
NOSE_BASE = 2
TOP_OF_FACE = 10


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def read_mesh(path: Path) -> tuple[np.ndarray, list[list[int]]]:
    """Vertices (478,3) and triangles of a Wavefront file."""
    vertices, triangles = [], []
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] == ["v"]:
            vertices.append([float(word) for word in words[1:4]])
        elif words[:1] == ["f"]:
            triangles.append([int(word.split("/")[0]) - 1 for word in words[1:4]])
    return np.array(vertices), triangles


def to_canonical(vertices: np.ndarray) -> np.ndarray:
    """Mesh units (y up, z towards the camera) to canonical units (y down, z away from it)."""
    points = vertices * CANONICAL_PER_MESH_UNIT * [1, -1, -1]
    points[:, 0] += CENTRE_X
    points[:, 1] += FOREHEAD_Y - points[TOP_OF_FACE, 1]
    return points - [0, 0, points[:, 2].mean()]


def mirror_map(points: np.ndarray) -> list[int]:
    """For each point the point it falls on when the face is flipped left to right."""
    flipped = points * [-1, 1, 1] + [2 * CENTRE_X, 0, 0]
    distance = np.linalg.norm(flipped[:, None] - points[None], axis=-1)
    mirror = distance.argmin(1)
    if not (mirror[mirror] == np.arange(len(points))).all():
        raise ValueError("the mesh is not symmetric: its mirror map does not undo itself")
    return mirror.tolist()


def closed(ring: list[int]) -> list[tuple[int, int]]:
    return list(zip(ring, ring[1:] + ring[:1], strict=True))


def open_line(line: list[int]) -> list[tuple[int, int]]:
    return list(pairwise(line))


def mesh478(points: np.ndarray, triangles: list[list[int]]) -> dict:
    """The layout of the mesh itself."""
    lips, oval = [numbers(ring) for ring in LIPS], numbers(OVAL)
    lip_points = {i for ring in lips for i in ring}
    lower = {i for i in range(468) if points[i, 1] > points[NOSE_BASE, 1] or i in lip_points}
    contours = [*map(numbers, EYES), *map(numbers, BROWS), *map(numbers, NOSE), oval]
    compact = lower | {i for line in contours for i in line}
    draw = {"lips": [e for ring in (lips[0], lips[3]) for e in closed(ring)], "oval": closed(oval)}
    draw["eyes"] = [e for eye in EYES for e in closed(numbers(eye))]
    draw["brows"] = [e for brow in BROWS for e in open_line(numbers(brow))]
    draw["nose"] = [e for line in NOSE for e in open_line(numbers(line))]
    draw["irises"] = [e for iris in IRISES for e in closed(numbers(iris))]
    return {
        "name": "mesh478",
        "points": len(points),
        "template": points.round(3).tolist(),
        "lower": sorted(lower),
        "compact": sorted(compact),
        "lips_outer": lips[0],
        "lips_inner": lips[3],
        "lips": sorted(lip_points),
        "jaw": numbers(JAW),
        "oval": oval,
        "eyes": [numbers(eye) for eye in EYES],
        "anchors": numbers(ANCHORS),
        "mirror": mirror_map(points),
        "draw": draw,
        "triangles": triangles,
    }


def dense669(mesh: dict) -> dict:
    """The mesh with 191 points more, in the middle of edges; 411 of all are compact."""
    jaw, rings = mesh["jaw"], [numbers(ring) for ring in LIPS]
    edges = [e for ring in rings for e in closed(ring)] + open_line(jaw)
    edges += [e for eye in EYES for e in closed(numbers(eye))]
    edges += [e for line in BROWS + NOSE for e in open_line(numbers(line))]
    edges += [e for iris in IRISES for e in closed(numbers(iris))]
    edges += [e for e in closed(mesh["oval"]) if e not in open_line(jaw)]
    edges += [e for a, b in pairwise(rings) for e in zip(a, b, strict=True)]
    # Mirror images come together, so that the new points have a mirror map too.
    mirror = mesh["mirror"]
    chosen: dict[tuple[int, int], None] = {}
    for a, b in edges:
        for first, second in ((a, b), (mirror[a], mirror[b])):
            chosen.setdefault((min(first, second), max(first, second)), None)
    middles = balanced(list(chosen), mirror, 669 - mesh["points"])
    index = {edge: mesh["points"] + i for i, edge in enumerate(middles)}
    points = np.array(mesh["template"])
    template = np.concatenate([points, [(points[a] + points[b]) / 2 for a, b in middles]])
    lower_set = set(mesh["lower"])
    lower = sorted(lower_set | {index[a, b] for a, b in middles if a in lower_set and b in lower_set})
    wanted = [*lower, *(i for i in mesh["compact"] if i not in lower_set), *range(478, 669), *range(468)]
    compact = sorted(list(dict.fromkeys(wanted))[:411])
    layout = dict(mesh, name="dense669", points=669, template=template.round(3).tolist())
    layout |= {"lower": lower, "compact": compact, "source": "mesh478", "middles": middles}
    layout["lips"] = sorted(
        set(mesh["lips"]) | {index[a, b] for a, b in middles if {a, b} <= set(mesh["lips"])}
    )
    layout["mirror"] = mirror + [index[tuple(sorted((mirror[a], mirror[b])))] for a, b in middles]
    return layout


def balanced(edges: list[tuple[int, int]], mirror: list[int], count: int) -> list[tuple[int, int]]:
    """The first `count` edges such that the mirror image of each is among them."""
    chosen: list[tuple[int, int]] = []
    for edge in edges:
        first, second = mirror[edge[0]], mirror[edge[1]]
        pair = list(dict.fromkeys([edge, (min(first, second), max(first, second))]))
        if edge not in chosen and len(chosen) + len(pair) <= count:
            chosen += pair
    if len(chosen) != count:
        raise ValueError(f"{count} edges are needed, {len(chosen)} were found")
    return chosen


def main() -> None:
    parser = Parser(description=__doc__.splitlines()[0], formatter_class=DefaultsHelpFormatter)
    parser.add_argument("mesh", type=Path, help="face_model_with_iris.obj")
    parser.add_argument("out", type=Path, help="folder for the layouts' .json files")
    args = parser.parse_args()
    vertices, triangles = read_mesh(args.mesh)
    mesh = mesh478(to_canonical(vertices), triangles)
    for layout in (mesh, dense669(mesh)):
        text = json.dumps(layout, separators=(",", ":"))
        (args.out / f"{layout['name']}.json").write_text(text + "\n")
        print(layout["name"], {k: len(layout[k]) for k in ("lower", "compact", "lips", "mirror")})


if __name__ == "__main__":
    main()
